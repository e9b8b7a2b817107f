#!/usr/bin/env python3
"""Runs unmodified Kafka clients of others against Esker and says how each test ended.

Usage: run.py [--short | --page] [--store directory|minio|cluster|single] [SUITE ...]
--page runs nothing: it judges the stored results again by reasons.toml and writes the page.
--short runs the bounded part that CI runs and leaves the committed results alone; otherwise
tests/compat/results.json and docs/compatibility.md are brought up to date. Logs stay below
~/.cache/esker/compat. A test listed in reasons.toml may fail, for the reason given there;
should it pass, the entry is out of date and that is a failure. An entry with a `store` counts there only.
"""

import argparse
import signal
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from harness import report
from harness.kit import CACHE, HERE, ROOT, Missing
from harness.report import Row
from harness.server import STORES, USUAL_STORES, esker
from suites import SUITES

RESULTS = HERE / "results.json"
PAGE = ROOT / "docs/compatibility.md"
SERVER = ["--default-partitions", "4", "--group-initial-rebalance-delay-ms", "0"]


@dataclass
class Context:
    """What a suite is given."""

    store: str
    bootstrap: str
    scratch: Path
    short: bool
    expected: set  # tests that have a written reason to fail


def reasons(store):
    text = (HERE / "reasons.toml").read_text()
    here = (one for one in tomllib.loads(text)["reason"] if one.get("store", store) == store)
    return {(one["suite"], one["test"]): one for one in here}


def judge(row, known):
    """A failure with a written reason is skipped; a written reason without failure is a failure."""
    entry = known.get((row.suite, row.test))
    if not entry:
        return row
    if row.status == "fail":
        row.status, row.reason = "skip", entry["why"]
    elif row.status == "skip":
        row.reason = entry["why"]
    elif row.status == "pass" and not entry.get("sometimes"):
        row.status, row.reason = "fail", "passes: take its entry out of reasons.toml"
    return row


def run_suite(suite, store, short, known):
    scratch = CACHE / "compat" / store / suite.NAME
    rows, started = [], time.monotonic()
    expected = {test for name, test in known if name == suite.NAME}
    try:
        more = getattr(suite, "SERVER", SERVER)
        with esker(store, scratch, more, getattr(suite, "PORT", None)) as kafka:
            for row in suite.run(Context(store, kafka, scratch, short, expected)):
                row = judge(row, known)
                rows.append(row)
                if row.status != "pass":
                    first = row.reason.strip().splitlines() or [""]
                    print(f"  {row.status:7} {row.test}: {first[-1][:160]}", flush=True)
    except Missing as error:
        rows.append(Row(suite.NAME, "(all)", "missing", str(error)))
        print(f"  MISSING {error}", flush=True)
    seconds = round(time.monotonic() - started)
    print(f"{suite.NAME} on {store}: {report.counts(rows)} in {seconds} s", flush=True)
    return rows


def judge_again():
    stored = report.load(RESULTS)
    for store, found in stored["stores"].items():
        known = reasons(store)
        for suite, rows in found.items():
            rows = [judge(Row(suite, **row), known) for row in rows]
            report.save(RESULTS, store, suite, rows)
    PAGE.write_text(report.page(report.load(RESULTS), SUITES))
    return 0


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended too
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--store", choices=sorted(STORES), action="append")
    parser.add_argument("suite", nargs="*", help=", ".join(s.NAME for s in SUITES))
    arguments = parser.parse_args()
    unknown = set(arguments.suite) - {s.NAME for s in SUITES}
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    if arguments.page:
        return judge_again()
    chosen = [s for s in SUITES if s.NAME in arguments.suite or not arguments.suite]
    chosen = [s for s in chosen if s.SHORT or not arguments.short]
    rows = []
    for store in arguments.store or USUAL_STORES:
        known = reasons(store)
        for suite in chosen:
            if arguments.short and store not in getattr(suite, "SHORT_STORES", STORES):
                continue
            got = run_suite(suite, store, arguments.short, known)
            rows += got
            if not arguments.short and not any(row.status == "missing" for row in got):
                report.save(RESULTS, store, suite.NAME, got)
                PAGE.write_text(report.page(report.load(RESULTS), SUITES))
    print(report.counts(rows))
    return 1 if any(row.status == "fail" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
