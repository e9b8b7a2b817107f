"""Cases written in Python against a command-line tool."""

import time
import traceback

from harness.kit import Missing
from harness.report import Row

DETAIL_CHARS_MAX = 1500


class Cases:
    """Registered in order; each gets the tool and fails by an exception."""

    def __init__(self, suite):
        self.suite, self.cases = suite, []

    def case(self, name, short=False):
        """Decorator. `short`: also part of the bounded run."""

        def register(function):
            self.cases.append((name, function, short))
            return function

        return register

    def rows(self, tool):
        for name, function, short in self.cases:
            if tool.context.short and not short:
                continue
            started, status, reason = time.monotonic(), "pass", ""
            try:
                function(tool)
            except Missing:
                raise
            except Exception:
                status, reason = "fail", traceback.format_exc()[-DETAIL_CHARS_MAX:]
            yield Row(self.suite, name, status, reason, round(time.monotonic() - started, 3))
