"""A client script of ours: prints one "RESULT {json}" line a test; one that dies early fails."""

import json

from harness.kit import run
from harness.report import Row

SECONDS_MAX = 600


def results(suite, command, context, expected):
    """Runs it. `expected` is how many tests the script defines: fewer results are a failure."""
    log = context.scratch / f"{suite}.log"
    ran = run([*command, context.bootstrap, suite], SECONDS_MAX, log)
    count = 0
    for line in ran.out.splitlines():
        if line.startswith("RESULT "):
            one = json.loads(line.removeprefix("RESULT "))
            count += 1
            yield Row(suite, one["test"], one["status"], one["detail"], one["seconds"])
    if count != expected or not ran.good:
        yield Row(suite, "(script)", "fail", f"{count} of {expected} tests ended; {ran.tail()}")


def defined(path, marker):
    """How many tests a script defines."""
    return path.read_text().count(marker)
