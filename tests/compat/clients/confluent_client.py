"""confluent-kafka: produce, consume, groups, admin, as applications do; contents compared exactly.

Usage: confluent_client.py BOOTSTRAP PREFIX. Prints one "RESULT {json}" line a test.
"""

import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from cases import Cases, until

BOOTSTRAP, PREFIX = sys.argv[1:3]
CASES = Cases()
WAIT = 30


ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})


def admin():
    return ADMIN  # one for all: its futures die with it


def create(name, partitions=1, config=None):
    topic = f"{PREFIX}-{name}"
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
    admin().create_topics([new])[topic].result(WAIT)
    return topic


def send(topic, records, **config):
    """Records are keyword arguments of produce(). Returns what was acknowledged, in that order."""
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **config})
    acked = []

    def done(error, message):
        assert error is None, error
        acked.append((message.partition(), message.offset()))

    for record in records:
        producer.produce(topic, on_delivery=done, **record)
    assert producer.flush(WAIT) == 0
    assert len(acked) == len(records)
    return acked


def consumer(group, **config):
    base = {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 10000,
        "fetch.wait.max.ms": 100,
    }
    return Consumer({**base, **config})


def poll(member, count, seconds=WAIT):
    got, end = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < end:
        message = member.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        got.append(message)
    assert len(got) == count, f"{len(got)} of {count} records"
    return got


def read(topic, count, group=None, **config):
    member = consumer(group or f"{topic}-reader", **config)
    member.subscribe([topic])
    got = poll(member, count)
    assert member.poll(0.5) is None
    member.commit(asynchronous=False)
    member.close()
    return got


def numbered(count, first=0):
    return [{"key": f"k{i}", "value": f"v{i}", "partition": 0} for i in range(first, first + count)]


def values(messages):
    return [message.value() for message in messages]


@CASES.case("produce: key, value, headers, timestamp, nulls come back exactly")
def exact():
    topic = create("exact")
    headers = [("h", b"1"), ("h", b"2"), ("empty", b""), ("null", None)]
    sent = [
        {"key": b"a", "value": b"one", "headers": headers, "timestamp": 1600000000123},
        {"key": None, "value": bytes([0, 255, 128]), "timestamp": 1600000000124},
        {"key": b"tombstone", "value": None, "timestamp": 1600000000125},
        {"key": b"", "value": b"", "timestamp": 1600000000126},
    ]
    assert send(topic, sent) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    got = read(topic, 4)
    assert [m.key() for m in got] == [r["key"] for r in sent]
    assert values(got) == [r["value"] for r in sent]
    assert [m.timestamp() for m in got] == [(TIMESTAMP_CREATE_TIME, r["timestamp"]) for r in sent]
    assert got[0].headers() == headers, got[0].headers()


@CASES.case("produce: every codec, and a batch of each in one topic")
def codecs():
    topic = create("codecs")
    names = ["none", "gzip", "snappy", "lz4", "zstd"]
    for at, codec in enumerate(names):
        send(topic, numbered(200, at * 200), **{"compression.type": codec})
    got = read(topic, 200 * len(names))
    assert values(got) == [f"v{i}".encode() for i in range(200 * len(names))]
    assert [m.offset() for m in got] == list(range(200 * len(names)))


@CASES.case("produce: idempotent, five requests in flight")
def idempotent():
    topic = create("idempotent")
    more = {"enable.idempotence": True, "batch.num.messages": 50}
    assert send(topic, numbered(2000), **more) == [(0, i) for i in range(2000)]
    assert values(read(topic, 2000)) == [f"v{i}".encode() for i in range(2000)]


@CASES.case("produce: acks 0 and 1")
def acks():
    topic = create("acks")
    send(topic, numbered(10), acks="1")
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "acks": "0"})
    for record in numbered(10, 10):
        producer.produce(topic, **record)
    assert producer.flush(WAIT) == 0
    assert values(read(topic, 20)) == [f"v{i}".encode() for i in range(20)]


@CASES.case("produce: a record too large is refused, at the limit it is taken")
def large():
    topic = create("large", config={"max.message.bytes": "100000"})
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    errors = []
    producer.produce(topic, value=bytes(99000), on_delivery=lambda e, m: errors.append(e))
    producer.flush(WAIT)
    producer.produce(topic, value=bytes(100001), on_delivery=lambda e, m: errors.append(e))
    producer.flush(WAIT)
    assert errors[0] is None and errors[1].code() == KafkaError.MSG_SIZE_TOO_LARGE, errors
    assert len(read(topic, 1)[0].value()) == 99000


@CASES.case("produce: LogAppendTime stamps the records")
def append_time():
    topic = create("append", config={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    send(topic, [{"value": b"x", "timestamp": 1}])
    kind, stamp = read(topic, 1)[0].timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME, kind
    assert before - 1000 <= stamp <= before + 60000, stamp


@CASES.case("consume: assign, seek, pause, resume, position, watermarks")
def seek():
    topic = create("seek")
    send(topic, numbered(50))
    member = consumer("unused")
    member.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert values(poll(member, 50))[0] == b"v0"
    member.seek(TopicPartition(topic, 0, 40))
    assert [m.offset() for m in poll(member, 10)] == list(range(40, 50))
    assert member.position([TopicPartition(topic, 0)])[0].offset == 50
    assert member.get_watermark_offsets(TopicPartition(topic, 0), timeout=WAIT) == (0, 50)
    member.pause([TopicPartition(topic, 0)])
    send(topic, numbered(1, 50))
    assert member.poll(1.0) is None
    member.resume([TopicPartition(topic, 0)])
    assert values(poll(member, 1)) == [b"v50"]
    member.close()


@CASES.case("consume: offsets by timestamp")
def by_time():
    topic = create("times", 2)
    send(topic, [{"value": b"v", "partition": 0, "timestamp": t} for t in (1000, 2000, 3000)])
    member = consumer("unused")
    asked = [TopicPartition(topic, 0, 1500), TopicPartition(topic, 0, 3000)]
    assert [member.offsets_for_times([at], timeout=WAIT)[0].offset for at in asked] == [1, 2]
    assert member.offsets_for_times([TopicPartition(topic, 0, 3001)], timeout=WAIT)[0].offset == -1
    member.close()


@CASES.case("consume: below the log start the reset policy rules")
def reset():
    topic = create("reset")
    send(topic, numbered(10))
    admin().delete_records([TopicPartition(topic, 0, 5)])[TopicPartition(topic, 0)].result(WAIT)
    member = consumer("unused")
    member.assign([TopicPartition(topic, 0, 2)])
    assert [m.offset() for m in poll(member, 5)] == [5, 6, 7, 8, 9]
    member.close()


@CASES.case("group: committed offsets and metadata survive")
def resume():
    topic = create("resume")
    group = f"{topic}-group"
    send(topic, numbered(10))
    read(topic, 10, group)
    send(topic, numbered(10, 10))
    assert values(read(topic, 10, group)) == [f"v{i}".encode() for i in range(10, 20)]
    member = consumer(group)
    at = TopicPartition(topic, 0, 7, "why")
    member.assign([TopicPartition(topic, 0)])
    member.commit(offsets=[at], asynchronous=False)
    got = member.committed([TopicPartition(topic, 0)], timeout=WAIT)[0]
    assert (got.offset, got.metadata) == (7, "why"), got
    member.close()


def share(strategy):
    topic = create(f"share-{strategy}", 4)
    group = f"{topic}-group"
    members, held = {}, {}
    for name in "ab":
        members[name] = consumer(group, **{"partition.assignment.strategy": strategy})
        members[name].subscribe([topic])

    def settled(sizes):
        for name, member in members.items():
            member.poll(0.05)
            held[name] = {p.partition for p in member.assignment()}
        return sorted(len(held[n]) for n in members) == sizes

    until("2 and 2", lambda: settled([2, 2]))
    assert held["a"] | held["b"] == {0, 1, 2, 3}
    members.pop("a").close()
    until("b holds all", lambda: settled([4]))
    members.pop("b").close()


for name in ("range", "roundrobin", "cooperative-sticky"):
    CASES.case(f"group: two members share, the one left takes all ({name})")(
        lambda n=name: share(n)
    )


@CASES.case("group: a static member comes back without a rebalance")
def static():
    topic = create("static", 2)
    group = f"{topic}-group"
    events = []
    stays = consumer(group, **{"group.instance.id": "stays", "session.timeout.ms": 30000})
    stays.subscribe([topic], on_assign=lambda c, p: events.append(len(p)))
    returns = consumer(group, **{"group.instance.id": "returns", "session.timeout.ms": 30000})
    returns.subscribe([topic])

    def both():
        stays.poll(0.05), returns.poll(0.05)
        return len(stays.assignment()) == len(returns.assignment()) == 1

    until("1 and 1", both)
    held, count = returns.assignment(), len(events)
    returns.close()
    returns = consumer(group, **{"group.instance.id": "returns", "session.timeout.ms": 30000})
    returns.subscribe([topic])
    until("assigned again", both)
    assert returns.assignment() == held and len(events) == count, (events, held)
    returns.close(), stays.close()


@CASES.case("admin: cluster, topics")
def cluster():
    topic = create("meta", 3)
    about = admin().describe_cluster(request_timeout=WAIT).result()
    assert about.nodes and about.cluster_id
    found = admin().describe_topics(TopicCollection([topic]), request_timeout=WAIT)[topic].result()
    assert [p.id for p in found.partitions] == [0, 1, 2] and not found.is_internal
    assert topic in admin().list_topics(timeout=WAIT).topics
    try:
        create("meta")
        raise AssertionError("created twice")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS


@CASES.case("admin: create_partitions")
def grow():
    topic = create("grow")
    admin().create_partitions([NewPartitions(topic, 3)])[topic].result(WAIT)
    until(
        "3 partitions",
        lambda: len(admin().list_topics(topic, timeout=WAIT).topics[topic].partitions) == 3,
    )
    try:
        admin().create_partitions([NewPartitions(topic, 2)])[topic].result(WAIT)
        raise AssertionError("shrunk")
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.INVALID_PARTITIONS, error


@CASES.case("admin: describe_configs, incremental_alter_configs")
def configs():
    topic = create("configs", config={"retention.ms": "3600000"})

    def value(name):
        about = ConfigResource(ResourceType.TOPIC, topic)
        return admin().describe_configs([about])[about].result(WAIT)[name].value

    def alter(name, to, operation):
        entry = ConfigEntry(name, to, incremental_operation=operation)
        about = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        return admin().incremental_alter_configs([about])[about].result(WAIT)

    assert value("retention.ms") == "3600000"
    alter("retention.ms", "7200000", AlterConfigOpType.SET)
    assert value("retention.ms") == "7200000"
    alter("cleanup.policy", "compact", AlterConfigOpType.APPEND)
    assert sorted(value("cleanup.policy").split(",")) == ["compact", "delete"]
    alter("cleanup.policy", "delete", AlterConfigOpType.SUBTRACT)
    assert value("cleanup.policy") == "compact"
    alter("retention.ms", None, AlterConfigOpType.DELETE)
    assert value("retention.ms") == "604800000"
    try:
        alter("no.such", "1", AlterConfigOpType.SET)
        raise AssertionError("an unknown name was taken")
    except KafkaException as error:
        assert error.args[0].code() in (KafkaError.INVALID_CONFIG, KafkaError._INVALID_ARG), error


@CASES.case("admin: list_offsets earliest, latest, max timestamp, by time")
def offsets():
    topic = create("offsets")
    send(topic, [{"value": b"v", "timestamp": t} for t in (1000, 3000, 2000)])
    at = TopicPartition(topic, 0)

    def ask(spec):
        answer = admin().list_offsets({at: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return answer[at].result(WAIT).offset

    assert [ask(OffsetSpec.earliest()), ask(OffsetSpec.latest())] == [0, 3]
    assert [ask(OffsetSpec.max_timestamp()), ask(OffsetSpec.for_timestamp(1001))] == [1, 1]


@CASES.case("admin: delete_records")
def purge():
    topic = create("purge")
    send(topic, numbered(10))
    at = TopicPartition(topic, 0, 4)
    assert admin().delete_records([at])[TopicPartition(topic, 0)].result(WAIT).low_watermark == 4
    assert [m.offset() for m in read(topic, 6)] == [4, 5, 6, 7, 8, 9]


@CASES.case("admin: groups listed, described, offsets altered, deleted")
def groups():
    topic = create("groups")
    group = f"{topic}-group"
    send(topic, numbered(10))
    member = consumer(group)
    member.subscribe([topic])
    poll(member, 10)
    member.commit(asynchronous=False)
    about = admin().describe_consumer_groups([group])[group].result(WAIT)
    assert (about.state.name, len(about.members)) == ("STABLE", 1), about.state
    assert about.members[0].assignment.topic_partitions == [TopicPartition(topic, 0)]
    listed = admin().list_consumer_groups().result(WAIT)
    assert group in [g.group_id for g in listed.valid] and not listed.errors
    member.close()
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3)])
    admin().alter_consumer_group_offsets([asked])[group].result(WAIT)
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    found = admin().list_consumer_group_offsets([asked])[group].result(WAIT)
    assert [p.offset for p in found.topic_partitions] == [3]
    assert [m.offset() for m in read(topic, 7, group)] == list(range(3, 10))
    admin().delete_consumer_groups([group])[group].result(WAIT)
    assert group not in [g.group_id for g in admin().list_consumer_groups().result(WAIT).valid]


@CASES.case("admin: delete_topics, and the name again from offset 0")
def again():
    topic = create("again")
    send(topic, numbered(5))
    admin().delete_topics([topic])[topic].result(WAIT)
    until("gone", lambda: topic not in admin().list_topics(timeout=WAIT).topics)
    create("again")
    assert send(topic, numbered(1)) == [(0, 0)]


CASES.run()
