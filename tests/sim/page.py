#!/usr/bin/env python3
"""Writes docs/reliability-figures.md from the figures that the proofs print about themselves.

Usage: page.py RESULTS_DIRECTORY
The directory holds step.json, shell.json (`seeds --json`), step-planted.json, shell-planted.json
(`planted --json`), faults.json (`esker-faults --json`) and run.json (what ran, where, when); a file
that is not there is said to be missing, never guessed.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability-figures.md"
MISSING = "not in this run"
# What `esker verify` said of the bucket behind a run.
AUDITS = {"clean": "clean", "found": "names the damage", "not_due": "–"}


def load(folder, name):
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def whole(number):
    return f"{number:,.0f}".replace(",", " ")


def table(rows, head):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def simulations(step, shell):
    def cell(figures, *names):
        if figures is None:
            return MISSING
        found = next((figures[name] for name in names if name in figures), None)
        return whole(found) if isinstance(found, (int, float)) else "–"

    def hours(figures):
        return MISSING if figures is None else f"{figures['simulated_hours']:.1f}"

    def speed(figures):
        if figures is None:
            return MISSING
        wall = figures.get("wall_seconds")
        rate = figures.get("simulated_seconds_per_wall_second")
        return whole(rate if rate else figures["simulated_hours"] * 3600 / max(wall, 0.001))

    def events(figures):
        if figures is None or not figures.get("wall_seconds"):
            return "–"
        return whole(figures["events"] / figures["wall_seconds"])

    def anomalies(figures):
        if figures is None:
            return MISSING
        return len(figures.get("failed", figures.get("failed_seeds", [])))

    both = (step, shell)
    rows = [
        ["seeds", *(cell(one, "seeds") for one in both)],
        ["simulated hours", *map(hours, both)],
        ["simulated seconds a second", *map(speed, both)],
        ["events a second", *map(events, both)],
        ["operations checked", *(cell(one, "operations") for one in both)],
        ["batches acknowledged", *(cell(one, "acknowledged", "acknowledged_batches") for one in both)],
        ["take-overs", *(cell(one, "take_overs") for one in both)],
        ["zombies", *(cell(one, "zombies") for one in both)],
        ["sessions sealed", *(cell(one, "seals") for one in both)],
        ["void ranges", *(cell(one, "void_ranges") for one in both)],
        ["seeds that broke a promise", *map(anomalies, both)],
    ]
    rows = [row for row in rows if set(row[1:]) != {"–"}]
    return table(rows, ["", "step simulation", "shell simulation"])


def faults_struck(step, shell):
    kinds = sorted(set((step or {}).get("faults", {})) | set((shell or {}).get("faults", {})))
    count = lambda figures, kind: whole((figures or {}).get("faults", {}).get(kind, 0))
    rows = [[kind, count(step, kind), count(shell, kind)] for kind in kinds]
    return table(rows, ["fault", "step", "shell"])


def planted(name, figures):
    if figures is None:
        return [f"{name}: {MISSING} (`make sim-planted`).", ""]
    # `seeds` is the seed that shows the bug: the known one, or the first of those tried after it.
    caught = [one for one in figures["bugs"] if one["seeds"] is not None]
    lines = [f"{name}: {len(caught)} of {len(figures['bugs'])} caught.", ""]
    rows = [
        [f"`{one['bug']}`", one["says"], one["seeds"] or "SURVIVED", one["broke"] or "–"]
        for one in figures["bugs"]
    ]
    return lines + table(rows, ["bug", "what it does", "seed", "caught as"]) + [""]


def rows_of_faults(figures):
    if figures is None:
        return [f"Fault rows: {MISSING}."]
    by_row = {}
    for one in figures["results"]:
        by_row.setdefault((one["row"], one["name"]), []).append(one)
    rows = []
    for (number, name), runs in sorted(by_row.items()):
        passed = sum(one["verdict"] == "passed" for one in runs)
        recovery = [one["recovery_millis"] for one in runs if one["recovery_millis"] is not None]
        worst = f"{max(recovery) / 1000:.1f} s" if recovery else "–"
        stores = " ".join(sorted({one["store"] for one in runs}))
        operations = whole(sum(one["operations"] for one in runs))
        audits = sorted({AUDITS[one["audit"]] for one in runs})
        cells = [number, name, stores, f"{passed} of {len(runs)}", ", ".join(audits)]
        rows.append([*cells, operations, worst])
    head = ["row", "fault", "stores", "passed", "esker verify", "operations", "longest recovery"]
    return table(rows, head)


def main():
    folder = Path(sys.argv[1])
    step, shell = load(folder, "step"), load(folder, "shell")
    run = load(folder, "run") or {}
    about = [[name, str(value)] for name, value in run.items()]
    page = [
        "# What the proofs ran",
        "",
        "Generated by `make proof` from the figures of the runs themselves; do not edit. What they mean: `reliability.md`.",
        "",
        *table(about, ["", ""]),
        "",
        "## Simulations",
        "",
        *simulations(step, shell),
        "",
        "## Faults that struck",
        "",
        *faults_struck(step, shell),
        "",
        "## Planted bugs",
        "",
        *planted("Step simulation", load(folder, "step-planted")),
        *planted("Shell simulation", load(folder, "shell-planted")),
        "The models' own 49: `model.md`.",
        "",
        "## Real processes",
        "",
        *rows_of_faults(load(folder, "faults")),
    ]
    PAGE.write_text("\n".join(page) + "\n")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
