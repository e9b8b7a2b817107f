"""Test cases of a client script: run in order, each reported as one "RESULT {json}" line."""

import asyncio
import faulthandler
import inspect
import json
import time
import traceback

CASE_SECONDS_MAX = 90
DETAIL_CHARS_MAX = 2000


def until(what, condition, seconds=30):
    """Waits for a condition, polled."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Cases:
    """The cases, in order."""

    def __init__(self):
        self.cases = []

    def case(self, name):
        """Decorator: registers a function, plain or async."""

        def register(function):
            self.cases.append((name, function))
            return function

        return register

    def run(self):
        """Runs them all; one that hangs ends the process with its stack, for the runner to see."""
        for name, function in self.cases:
            started = time.monotonic()
            status, detail = "pass", ""
            faulthandler.dump_traceback_later(CASE_SECONDS_MAX, exit=True)
            try:
                made = function()
                if inspect.isawaitable(made):
                    asyncio.run(made)
            except BaseException:
                status, detail = "fail", traceback.format_exc()[-DETAIL_CHARS_MAX:]
            faulthandler.cancel_dump_traceback_later()
            seconds = round(time.monotonic() - started, 3)
            found = {"test": name, "status": status, "detail": detail, "seconds": seconds}
            print("RESULT " + json.dumps(found), flush=True)
