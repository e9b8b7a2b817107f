"""What .ci/bootstrap installed, and programs run to their end with a bound."""

import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = ROOT / "tests/compat"
CACHE = Path(os.environ.get("ESKER_CACHE") or Path.home() / ".cache/esker")
KAFKA_VERSION = "4.3.1"


class Missing(Exception):
    """A tool that is not there: its suite is skipped, loudly, and counted."""


def cached(name, part):
    """A file that `.ci/bootstrap PART` makes."""
    path = CACHE / name
    if not path.exists():
        raise Missing(f"{name} is missing: run .ci/bootstrap {part}")
    return path


def binary(name, variable):
    """A program of the project: where $VARIABLE says, else the debug build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")
    path = Path(os.environ.get(variable) or target / "debug" / name)
    if not path.exists():
        raise SystemExit(f"compat: there is no binary at {path}: run `make compat`")
    return path


def esker_binary():
    """Under test."""
    return binary("esker", "ESKER_BINARY")


def balancer_binary():
    """Of the black-box tests, built beside them."""
    return binary("esker-balancer", "ESKER_BALANCER")


class Ran:
    """A program that ended, or was ended at its limit."""

    def __init__(self, command, code, out, late):
        self.command, self.code, self.out, self.late = command, code, out, late

    @property
    def good(self):
        return self.code == 0 and not self.late

    def tail(self, chars=1500):
        why = "still ran at its limit" if self.late else f"exit code {self.code}"
        return f"{why}: {self.out[-chars:]}"


def end_group(process):
    """Ends a program and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def run(command, seconds, log=None, stdin="", env=None, cwd=None, errors=True):
    """Runs a program; its output is returned and, with `log`, kept in a file."""
    words = [str(word) for word in command]
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        start_new_session=True,
    )
    late = False
    try:
        out, _ = process.communicate(stdin.encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        late = True
        end_group(process)
        out, _ = process.communicate()
    text = out.decode(errors="replace")
    if log:
        log.write_text(" ".join(words) + "\n" + text)
    return Ran(words, process.returncode, text, late)
