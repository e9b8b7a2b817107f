"""sarama: the program of the end-to-end tests, at its default and its highest protocol version."""

from harness.kit import cached, run as run_program
from harness.report import Row

NAME = "sarama"
CLIENT = "github.com/IBM/sarama 1.61.1 (Go)"
ABOUT = (
    "`tests/e2e/sarama`: creates a topic, produces with every codec and idempotently, reads by"
    " partition and in a group, checks each record. Its own functional suite wants five brokers"
    " with fixed ports behind Toxiproxy, and docker."
)
SHORT = True


def run(context):
    program = cached("bin/sarama-quickstart", "sarama")
    for version in ("default", "max"):
        command = [program, context.bootstrap, f"sarama-{version}", version, "500"]
        ran = run_program(command, 180, context.scratch / f"{version}.log")
        good = ran.good and "OK 2500 records" in ran.out
        yield Row(
            NAME,
            f"protocol version: {version}",
            "pass" if good else "fail",
            "" if good else ran.tail(),
        )
