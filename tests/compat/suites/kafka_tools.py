"""Apache Kafka's command-line tools, as its distribution's scripts start them."""

import json
import re
import time

from harness.cases import Cases
from harness.kit import KAFKA_VERSION, run as run_program
from harness.server import node_ids, nodes
from suites.jvm import Jvm

NAME = "kafka-tools"
CLIENT = f"Apache Kafka {KAFKA_VERSION} (Maven)"
ABOUT = "`tests/compat/suites/kafka_tools.py`: one test a main class and use, outputs compared."
SHORT = True
SHORT_STORES = ("directory", "cluster")  # each use is a JVM
CASES = Cases(NAME)
CONSOLE = "consumer.ConsoleConsumer"
GROUP = "consumer.group.ConsumerGroupCommand"


def create(k, topic, *more, partitions=1):
    k("TopicCommand", "--create", "--topic", topic, "--partitions", str(partitions), *more)


def send(k, topic, lines, *more):
    k("ConsoleProducer", "--topic", topic, *more, stdin="".join(f"{line}\n" for line in lines))


def read(k, topic, count, *more):
    """What the console consumer prints: exactly `count` records, to the last."""
    words = ["--topic", topic, "--max-messages", str(count), "--timeout-ms", "20000", *more]
    return k(CONSOLE, *words, errors=False).splitlines()


def commit(k, topic, group, count):
    read(k, topic, count, "--from-beginning", "--group", group)


def until_empty(k, group):
    """A member that was cut off leaves by its session timeout."""
    end = time.monotonic() + 60
    while "no active members" not in k(GROUP, "--describe", "--group", group):
        assert time.monotonic() < end, f"{group} still has members"


def offsets(k, topic, *more):
    return sorted(k("GetOffsetShell", "--topic", topic, *more, errors=False).split())


@CASES.case("TopicCommand: create, list, describe, delete", short=True)
def topics(k):
    create(k, "tc", "--config", "retention.ms=3600000", partitions=3)
    assert "tc" in k("TopicCommand", "--list").split()
    out = k("TopicCommand", "--describe", "--topic", "tc")
    assert "PartitionCount: 3" in out and "retention.ms=3600000" in out, out
    assert len(re.findall(r"Partition: [012]\s+Leader: \d+", out)) == 3, out
    out = k("TopicCommand", "--create", "--topic", "tc", good=False)
    assert "TopicExistsException" in out and "exists" in out, out
    k("TopicCommand", "--delete", "--topic", "tc")
    assert "tc" not in k("TopicCommand", "--list").split()


@CASES.case("TopicCommand: under-replicated, unavailable, at-min-isr are empty")
def health(k):
    create(k, "health")
    for option in ("--under-replicated-partitions", "--unavailable-partitions"):
        assert k("TopicCommand", "--describe", option, errors=False).strip() == ""


@CASES.case("TopicCommand: alter --partitions", short=True)
def grow(k):
    create(k, "grow")
    k("TopicCommand", "--alter", "--topic", "grow", "--partitions", "4")
    assert "PartitionCount: 4" in k("TopicCommand", "--describe", "--topic", "grow")
    out = k("TopicCommand", "--alter", "--topic", "grow", "--partitions", "2", good=False)
    assert "InvalidPartitionsException" in out, out


@CASES.case("ConsoleProducer, ConsoleConsumer: keys, headers, timestamps, partitions", short=True)
def console(k):
    create(k, "console")
    shape = ["parse.key=true", "key.separator=|", "parse.headers=true"]
    send(
        k,
        "console",
        ["h:1\ta|one", "h:2\tb|two"],
        *sum((["--reader-property", s] for s in shape), []),
    )
    shown = ["print.key=true", "print.headers=true", "print.offset=true", "print.partition=true"]
    more = ["--from-beginning", *sum((["--formatter-property", s] for s in shown), [])]
    want = ["Partition:0\tOffset:0\th:1\ta\tone", "Partition:0\tOffset:1\th:2\tb\ttwo"]
    assert read(k, "console", 2, *more) == want


@CASES.case("ConsoleProducer: every codec")
def codecs(k):
    create(k, "codecs")
    names = ["gzip", "snappy", "lz4", "zstd"]
    for name in names:
        send(k, "codecs", [f"{name}-{i}" for i in range(50)], "--compression-codec", name)
    want = [f"{name}-{i}" for name in names for i in range(50)]
    assert read(k, "codecs", 200, "--from-beginning") == want


@CASES.case("ConsoleConsumer: from an offset, a partition, read_committed")
def console_offset(k):
    create(k, "from")
    send(k, "from", range(10))
    assert read(k, "from", 3, "--partition", "0", "--offset", "7") == ["7", "8", "9"]
    got = read(k, "from", 10, "--from-beginning", "--isolation-level", "read_committed")
    assert got == [str(i) for i in range(10)]


@CASES.case("GetOffsetShell: latest, earliest, max-timestamp, by time, all topics")
def shell(k):
    create(k, "shell", partitions=2)
    send(k, "shell", range(6))
    first, last = offsets(k, "shell", "--time", "earliest"), offsets(k, "shell")
    assert first == ["shell:0:0", "shell:1:0"]
    assert sum(int(line.split(":")[2]) for line in last) == 6, last
    newest = offsets(k, "shell", "--time", "max-timestamp")  # empty partitions are left out
    assert len(newest) == sum(not line.endswith(":0") for line in last), (newest, last)
    assert offsets(k, "shell", "--time", "1000") and offsets(k, "shell", "--time", "earliest-local")
    assert "shell:0" in k("GetOffsetShell", errors=False)


@CASES.case("ConsumerGroupCommand: list, describe with lag, members, state", short=True)
def group(k):
    create(k, "g", partitions=1)
    send(k, "g", range(10))
    commit(k, "g", "g-group", 4)
    until_empty(k, "g-group")
    assert "g-group" in k(GROUP, "--list").split()
    assert re.search(r"g-group\s+Empty", k(GROUP, "--list", "--state"))
    out = k(GROUP, "--describe", "--group", "g-group")
    assert re.search(r"g-group\s+g\s+0\s+4\s+10\s+6\s", out), out
    out = k(GROUP, "--describe", "--group", "g-group", "--state")
    assert re.search(r"g-group\s.*Empty\s+0", out), out
    assert "g-group" in k(GROUP, "--describe", "--all-groups", "--members", "--verbose")
    out = k(GROUP, "--describe", "--group", "nobody")
    assert "does not exist" in out or "not found" in out, out


@CASES.case("ConsumerGroupCommand: reset-offsets to earliest, latest, shift, offset, datetime")
def reset(k):
    create(k, "r")
    send(k, "r", range(10))
    commit(k, "r", "r-group", 4)
    until_empty(k, "r-group")
    wants = [
        ("--to-earliest", 0),
        ("--to-latest", 10),
        ("--shift-by", -3, 7),
        ("--to-offset", 2, 2),
    ]
    wants.append(("--to-datetime", "2000-01-01T00:00:00.000", 0))
    for option, *value, want in wants:
        words = ["--reset-offsets", "--group", "r-group", "--topic", "r", option]
        out = k(GROUP, *words, *map(str, value), "--execute")
        assert re.search(rf"r-group\s+r\s+0\s+{want}\b", out), out
    assert read(k, "r", 10, "--group", "r-group") == [str(i) for i in range(10)]


@CASES.case("ConsumerGroupCommand: delete-offsets, delete, validate-regex")
def delete_group(k):
    create(k, "d")
    send(k, "d", range(3))
    commit(k, "d", "d-group", 3)
    until_empty(k, "d-group")
    out = k(GROUP, "--delete-offsets", "--group", "d-group", "--topic", "d")
    assert re.search(r"d\s+0\s+Successful", out), out
    commit(k, "d", "d-group", 3)
    until_empty(k, "d-group")
    out = k(GROUP, "--delete", "--group", "d-group")
    assert "successful" in out, out
    assert "d-group" not in k(GROUP, "--list").split()


@CASES.case("GroupsCommand: list, with types and protocols")
def groups(k):
    create(k, "gc")
    send(k, "gc", range(3))
    commit(k, "gc", "gc-group", 3)
    assert re.search(r"gc-group\s+Classic\s+consumer", k("GroupsCommand", "--list"))
    assert "gc-group" in k("GroupsCommand", "--list", "--consumer")


@CASES.case("DeleteRecordsCommand", short=True)
def delete_records(k):
    create(k, "dr")
    send(k, "dr", range(10))
    plan = k.context.scratch / "delete.json"
    body = {"partitions": [{"topic": "dr", "partition": 0, "offset": 4}], "version": 1}
    plan.write_text(json.dumps(body))
    assert "low_watermark: 4" in k("DeleteRecordsCommand", "--offset-json-file", str(plan))
    assert offsets(k, "dr", "--time", "earliest") == ["dr:0:4"]
    assert read(k, "dr", 6, "--from-beginning") == ["4", "5", "6", "7", "8", "9"]


@CASES.case("ConfigCommand: topics, brokers; add, delete, describe", short=True)
def configs(k):
    create(k, "cc")

    def config(*words):
        words = ["--bootstrap-server", k.bootstrap, *words]
        return k.main("kafka.admin.ConfigCommand", *words)

    entity = ["--entity-type", "topics", "--entity-name", "cc"]
    config(
        "--alter", *entity, "--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]"
    )
    out = config("--describe", *entity)
    assert "retention.ms=7200000" in out and "cleanup.policy=compact,delete" in out, out
    config("--alter", *entity, "--delete-config", "retention.ms")
    assert "retention.ms" not in config("--describe", *entity)
    assert "retention.ms=604800000" in config("--describe", *entity, "--all")
    out = config("--describe", "--entity-type", "brokers", "--entity-name", str(node_ids(k.context.store)[0]), "--all")
    assert "num.partitions=4" in out or "log.retention" in out, out
    assert "cc" in config("--describe", "--entity-type", "topics")


@CASES.case("BrokerApiVersionsCommand: every range is printed")
def versions(k):
    out = k("BrokerApiVersionsCommand")
    for line in ("Produce(0): 0 to ", "Fetch(1): 4 to ", "Metadata(3): ", "ApiVersions(18): 0 to "):
        assert line in out, out[:3000]


@CASES.case("ClusterTool: cluster-id, list-endpoints")
def cluster(k):
    name = "org.apache.kafka.tools.ClusterTool"
    out = k.main(name, "cluster-id", "--bootstrap-server", k.bootstrap)
    assert re.search(r"Cluster ID: \S+", out), out
    out = k.main(name, "list-endpoints", "--bootstrap-server", k.bootstrap)
    assert "127.0.0.1" in out, out


@CASES.case("LogDirsCommand: sizes of topics")
def log_dirs(k):
    create(k, "ld")
    send(k, "ld", range(100))
    out = k("LogDirsCommand", "--describe", "--topic-list", "ld", errors=False)
    found = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    dirs = [one for broker in found["brokers"] for one in broker["logDirs"]]
    (partition,) = [one for directory in dirs for one in directory["partitions"]]
    assert partition["partition"] == "ld-0" and partition["size"] > 0, found


@CASES.case("LeaderElectionCommand: preferred")
def election(k):
    create(k, "le")
    words = ["--election-type", "preferred", "--topic", "le", "--partition", "0"]
    out = k("LeaderElectionCommand", *words)
    assert "Successfully" in out or "already" in out, out


@CASES.case("ReassignPartitionsCommand: list")
def reassignments(k):
    name = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
    out = k.main(name, "--bootstrap-server", k.bootstrap, "--list")
    assert "No partition reassignments found" in out, out


@CASES.case("MetadataQuorumCommand: describe --status")
def quorum(k):
    name = "org.apache.kafka.tools.MetadataQuorumCommand"
    out = k.main(name, "--bootstrap-server", k.bootstrap, "describe", "--status")
    leader = re.search(r"LeaderId:\s+(\d+)", out)
    assert leader and int(leader[1]) in node_ids(k.context.store), out


@CASES.case("FeatureCommand: describe")
def features(k):
    name = "org.apache.kafka.tools.FeatureCommand"
    k.main(name, "--bootstrap-server", k.bootstrap, "describe")


@CASES.case("ReplicaVerificationTool: no lag between replicas")
def replicas(k):
    create(k, "rv")
    send(k, "rv", range(10))
    name = "org.apache.kafka.tools.ReplicaVerificationTool"
    words = ["--broker-list", k.bootstrap, "--topics-include", "rv", "--report-interval-ms", "1000"]
    # It runs until it is stopped; what it printed until then is judged.
    out = run_program(k.command(name, *words), 15).out
    assert "max lag is 0" in out, out


@CASES.case("ProducerPerformance and ConsumerPerformance: 20 000 records")
def performance(k):
    create(k, "perf", partitions=3)
    words = ["--topic", "perf", "--num-records", "20000", "--record-size", "500"]
    words += ["--throughput", "-1", "--command-property", "acks=all", "linger.ms=20"]
    assert "20000 records sent" in k("ProducerPerformance", *words)
    words = ["--topic", "perf", "--num-records", "20000", "--hide-header"]
    fields = k("ConsumerPerformance", *words, errors=False).split(", ")
    assert fields[4] == "20000", fields


@CASES.case("EndToEndLatency: 200 records")
def latency(k):
    create(k, "e2e")
    words = ["--topic", "e2e", "--num-records", "200", "--producer-acks", "all"]
    out = k("EndToEndLatency", *words, "--record-size", "256")
    assert re.search(r"Percentiles: 50th = \d+", out), out


@CASES.case(
    "VerifiableProducer and VerifiableConsumer: 2 000 records, none lost or twice", short=True
)
def verifiable(k):
    create(k, "ver", partitions=3)
    words = ["--topic", "ver", "--max-messages", "2000", "--throughput", "-1", "--acks", "-1"]
    out = k("VerifiableProducer", *words, errors=False)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    sent = [(e["partition"], e["offset"]) for e in events if e["name"] == "producer_send_success"]
    assert len(sent) == 2000 and len(set(sent)) == 2000
    words = ["--topic", "ver", "--group-id", "ver-group", "--max-messages", "2000"]
    out = k("VerifiableConsumer", *words, "--reset-policy", "earliest", "--verbose", errors=False)
    events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    data = [e for e in events if e["name"] == "record_data"]
    assert sorted((e["partition"], e["offset"]) for e in data) == sorted(sent)
    assert sorted(int(e["value"]) for e in data) == list(range(2000))
    done = [e for e in events if e["name"] == "offsets_committed"]
    assert done and all(e["success"] for e in done), done[-1:]


@CASES.case("ClientCompatibilityTest: what a full broker supports")
def compatibility(k):
    yes = ["offsets-for-times", "cluster-id", "create-topics", "describe-acls", "describe-configs"]
    words = ["--topic", "cc-test", "--num-cluster-nodes", str(nodes(k.context.store))]
    for name in [*yes, "idempotent-producer"]:
        words += [f"--{name}-supported", "true"]
    out = k("ClientCompatibilityTest", *words, "--expect-record-too-large-exception", "false")
    assert "SUCCESS." in out, out


@CASES.case("StreamsResetter: resets the offsets of an application")
def resetter(k):
    create(k, "sr-in")
    send(k, "sr-in", range(5))
    commit(k, "sr-in", "sr-app", 5)
    until_empty(k, "sr-app")
    out = k("StreamsResetter", "--application-id", "sr-app", "--input-topics", "sr-in")
    assert "Topic: sr-in Partition: 0 Offset: 0" in out, out


def later(name):
    """A tool of a feature that is not built yet: run all the same, its entry says why it fails."""
    return CASES.case(name)


@later("TransactionsCommand: list")
def transactions(k):
    name = "org.apache.kafka.tools.TransactionsCommand"
    k.main(name, "--bootstrap-server", k.bootstrap, "list")


@later("AclCommand: list without an authorizer says so")
def acls(k):
    name = "org.apache.kafka.tools.AclCommand"
    out = k.main(name, "--bootstrap-server", k.bootstrap, "--list", good=False)
    assert "SecurityDisabledException" in out, out


@later("LogCompactionTester: the latest value of each key is read")
def compaction(k):
    k("LogCompactionTester", "--messages", "1000", "--topics", "1", "--sleep", "5", seconds=60)


@later("ConsoleShareConsumer: reads")
def share(k):
    create(k, "share")
    send(k, "share", range(3))
    words = ["--topic", "share", "--max-messages", "3", "--timeout-ms", "10000"]
    assert len(k("consumer.ConsoleShareConsumer", *words, errors=False).split()) == 3


@later("ConsoleConsumer: group.protocol=consumer")
def next_protocol(k):
    create(k, "next")
    send(k, "next", range(3))
    more = ["--from-beginning", "--command-property", "group.protocol=consumer"]
    assert read(k, "next", 3, *more) == ["0", "1", "2"]


@later("TransactionalMessageCopier: copies exactly once")
def copier(k):
    create(k, "tmc-in")
    create(k, "tmc-out")
    send(k, "tmc-in", range(10))
    name = "org.apache.kafka.tools.TransactionalMessageCopier"
    words = ["--broker-list", k.bootstrap, "--input-topic", "tmc-in", "--input-partition", "0"]
    words += ["--output-topic", "tmc-out", "--consumer-group", "tmc", "--transactional-id", "tmc"]
    k.main(name, *words, "--transaction-size", "5", "--max-messages", "10", seconds=60)
    assert read(k, "tmc-out", 10, "--from-beginning") == [str(i) for i in range(10)]


def run(context):
    yield from CASES.rows(Jvm(context))
