"""Kafka Streams: the quickstart's WordCountDemo, counted exactly."""

import random
import time
from collections import Counter

from harness.cases import Cases
from harness.kit import KAFKA_VERSION
from harness.server import program_until
from suites.jvm import Jvm

NAME = "kafka-streams"
CLIENT = f"Apache Kafka Streams {KAFKA_VERSION} (Maven)"
ABOUT = (
    "`WordCountDemo` of Kafka's examples, by its quickstart: every word's last count is compared."
)
SHORT = False
CASES = Cases(NAME)
DEMO = "org.apache.kafka.streams.examples.wordcount.WordCountDemo"
SOURCE, SINK = "streams-plaintext-input", "streams-wordcount-output"
LINES = 500
WAIT_SECONDS_MAX = 120


def text():
    chooser = random.Random(4)  # the same text in each run
    words = ["all", "streams", "lead", "to", "kafka", "hello", "join", "summit"]
    return [" ".join(chooser.choices(words, k=6)) for _ in range(LINES)]


def last_counts(tools):
    """The newest count of each word in the output topic, as the quickstart shows them."""
    words = ["--topic", SINK, "--from-beginning", "--timeout-ms", "5000"]
    for one in ("print.key=true", "key.separator=|"):
        words += ["--formatter-property", one]
    name = "org.apache.kafka.common.serialization.LongDeserializer"
    words += ["--formatter-property", f"value.deserializer={name}"]
    out = tools("consumer.ConsoleConsumer", *words, errors=False)
    return dict(line.split("|") for line in out.splitlines() if "|" in line)


@CASES.case("WordCountDemo: exact counts")
def word_count(kits):
    tools, streams = kits.tools, kits.streams
    tools("TopicCommand", "--create", "--topic", SOURCE, "--partitions", "1")
    tools("TopicCommand", "--create", "--topic", SINK, "--config", "cleanup.policy=compact")
    lines = text()
    want = {word: str(count) for word, count in Counter(" ".join(lines).split()).items()}
    settings = tools.context.scratch / "wordcount.properties"
    state = tools.context.scratch / "state"
    settings.write_text(f"bootstrap.servers={tools.bootstrap}\nstate.dir={state}\n")
    with program_until(streams.command(DEMO, settings), tools.context.scratch / "demo.log"):
        half = len(lines) // 2
        for part in (lines[:half], lines[half:]):
            tools("ConsoleProducer", "--topic", SOURCE, stdin="".join(f"{line}\n" for line in part))
        end = time.monotonic() + WAIT_SECONDS_MAX
        got = {}
        while got != want and time.monotonic() < end:
            got = last_counts(tools)
    assert got == want, f"got {got}, want {want}"


class Kits:
    def __init__(self, context):
        self.context = context
        self.tools, self.streams = Jvm(context), Jvm(context, "jvm-streams", "jvm_streams")


def run(context):
    yield from CASES.rows(Kits(context))
