"""franz-go's own tests of pkg/kgo, built unmodified by .ci/bootstrap."""

import re
import subprocess
from pathlib import Path

from harness.kit import HERE, cached, run as run_program
from harness.report import Row

NAME = "franz-go"
VERSION = "1.21.6"
CLIENT = f"github.com/twmb/franz-go {VERSION} (Go)"
ABOUT = (
    "Its own tests of `pkg/kgo`, 50 000 records, three runs in a row. A row for each test function that uses a broker"
    " and its subtests; those that need none are counted in one row. The last rows are the group"
    " tests in its chaos mode, which cuts connections every 0.5-1.5 s."
)
SHORT = False
SECONDS_MAX = 1500
RUNS = 3
# They would spin for ever without transactions: not run, reported as skipped.
NOT_RUN = {"TestTxnEtl": "transactions come later"}
LATER = {
    "848": "the new group protocol (KIP-848) comes later",
    "Share": "share groups (KIP-932) come later",
    "SCRAM": "security comes later",
}
ENDED = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)")
BROKER = re.compile(r"\b(tmpTopic\w*|newTestClient|adm\(\)|getSeedBrokers|testChainETL)\b")


def broker_tests():
    """Names of the test functions whose source reaches for a broker."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/twmb/franz-go"]
    found = subprocess.run(
        command, cwd=HERE / "franz-go", capture_output=True, text=True, check=True
    )
    names = set()
    for path in (Path(found.stdout.strip()) / "pkg/kgo").glob("*_test.go"):
        for body in re.split(r"\n(?=func )", path.read_text()):
            name = re.match(r"func (Test\w+)\(", body)
            if name and BROKER.search(body):
                names.add(name[1])
    return names


def environment(context, **more):
    base = {"KGO_SEEDS": context.bootstrap, "KGO_TEST_RF": "1", "KGO_TEST_RECORDS": "50000"}
    return {**base, "KGO_LOG_LEVEL": "none", **more}


def ended(ran):
    """(name, status, seconds, what was printed before) of each test."""
    said = []
    for line in ran.out.splitlines():
        match = ENDED.match(line)
        if match:
            yield match[2], match[1].lower(), float(match[3]), " ".join(said[-6:])
            said = []
        elif not line.startswith("=== "):
            said.append(line.strip())


def one_run(context, words, name, **more):
    """Each test of one run of the binary; a run that was cut short is a failure of its own."""
    log = context.scratch / f"{name}.log"
    ran = run_program(words, SECONDS_MAX + 30, log, env=environment(context, **more))
    found = {test: (status, seconds, said) for test, status, seconds, said in ended(ran)}
    if not ran.out.rstrip().endswith(("PASS", "FAIL")):
        found["(run)"] = ("fail", 0.0, ran.tail())
    return found


def worst(runs):
    """Over several runs: a test passes that passed in each."""
    for test in dict.fromkeys(test for found in runs for test in found):
        ends = [found.get(test, ("fail", 0.0, "did not end")) for found in runs]
        yield test, *next((end for end in ends if end[0] == "fail"), ends[0])


def row(test, status, seconds, said):
    if status == "skip":  # they look at the versions that the broker offers
        said = next((why for part, why in LATER.items() if part in test), said)
    return Row(NAME, test, status, "" if status == "pass" else said, seconds)


def run(context):
    binary = cached(f"bin/kgo-{VERSION}.test", "franz_go")
    brokers, local = broker_tests(), []
    for name, why in NOT_RUN.items():
        yield Row(NAME, name, "skip", why)
    command = [binary, "-test.v", "-test.count=1", f"-test.timeout={SECONDS_MAX}s"]
    words = [*command, "-test.skip", "|".join(f"^{name}$" for name in NOT_RUN)]
    runs = [one_run(context, words, f"kgo-{number}") for number in range(RUNS)]
    for test, status, seconds, said in worst(runs):
        if test.split("/")[0] in brokers or test == "(run)":
            yield row(test, status, seconds, said)
        elif "/" not in test:
            local.append((test, status))
    failed = " ".join(name for name, status in local if status == "fail")
    yield row(f"{len(local)} tests without a broker", "fail" if failed else "pass", 0.0, failed)
    words = [*command, "-test.run", "^TestGroupETL$"]
    for test, *end in worst([one_run(context, words, "kgo-chaos", KGO_TEST_CHAOS="1")]):
        yield row(f"chaos: {test}", *end)
