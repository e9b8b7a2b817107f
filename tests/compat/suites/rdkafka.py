"""The rdkafka crate's own integration tests, built unmodified by .ci/bootstrap."""

import re

from harness.kit import CACHE, cached, run as run_program
from harness.report import Row

NAME = "rdkafka"
VERSION = "0.39.0"
CLIENT = f"crate rdkafka {VERSION} (librdkafka 2.12.1)"
ABOUT = (
    "The crate's own tests (`cargo test`), library and integration tests, against a node 0 on port"
    " 9092 with 3 partitions a topic: some insist."
)
SHORT = False
PORT = 9092  # some of its tests take no address
SERVER = ["--default-partitions", "3", "--node-id", "0", "--group-initial-rebalance-delay-ms", "0"]
SECONDS_MAX = 900
ENDED = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", re.M)
STATUS = {"ok": "pass", "FAILED": "fail", "ignored": "skip"}
WHY = re.compile(r"^---- (\S+) stdout ----\n(.*?)(?=^----|^failures:)", re.M | re.S)


def run(context):
    home = cached(f"rdkafka-{VERSION}/Cargo.toml", "rdkafka").parent
    env = {
        "CARGO_TARGET_DIR": str(CACHE / "rdkafka-target"),
        "KAFKA_HOST": context.bootstrap,
        "KAFKA_VERSION": "4.2.0",
    }
    command = ["cargo", "test", "--locked", "--tests", "--no-fail-fast", "--", "--test-threads=2"]
    ran = run_program(command, SECONDS_MAX, context.scratch / "rdkafka.log", env=env, cwd=home)
    why = {name: " ".join(text.split()) for name, text in WHY.findall(ran.out)}
    count = 0
    for name, word in ENDED.findall(ran.out):
        count += 1
        yield Row(NAME, name, STATUS[word], why.get(name, ""))
    if not count or ran.late:
        yield Row(NAME, "(run)", "fail", ran.tail())
