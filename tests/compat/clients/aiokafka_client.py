"""aiokafka: produce, consume, groups, admin, as applications do; contents compared exactly.

Usage: aiokafka_client.py BOOTSTRAP PREFIX. Prints one "RESULT {json}" line a test.
"""

import asyncio
import sys
import time
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import MessageSizeTooLargeError, OffsetOutOfRangeError, TopicAlreadyExistsError
from aiokafka.structs import OffsetAndMetadata

from cases import Cases

BOOTSTRAP, PREFIX = sys.argv[1:3]
CASES = Cases()
WAIT = 30


@asynccontextmanager
async def started(client):
    await client.start()
    try:
        yield client
    finally:
        await (client.close() if hasattr(client, "close") else client.stop())


def admin():
    return started(AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP))


async def create(name, partitions=1, configs=None):
    topic = f"{PREFIX}-{name}"
    async with admin() as client:
        new = NewTopic(topic, partitions, 1, topic_configs=configs or {})
        answer = await client.create_topics([new])
        assert [error for _, error, *_ in answer.topic_errors] == [0], answer
    return topic


def producer(**config):
    return started(AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **config))


def consumer(*topics, **config):
    base = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100}
    return started(AIOKafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, **{**base, **config}))


async def send(topic, records, **config):
    async with producer(**config) as client:
        waits = [await client.send(topic, **record) for record in records]
        done = await asyncio.wait_for(asyncio.gather(*waits), WAIT)
        return [(at.partition, at.offset) for at in done]


async def take(client, count, seconds=WAIT):
    got, end = [], time.monotonic() + seconds
    while len(got) < count and time.monotonic() < end:
        for batch in (await client.getmany(timeout_ms=200)).values():
            got += batch
    assert len(got) == count, f"{len(got)} of {count} records"
    return got


async def read(topic, count, **config):
    async with consumer(topic, **config) as client:
        got = await take(client, count)
        if config.get("group_id"):
            await client.commit()
        return got


async def until(what, condition, seconds=WAIT):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


def numbered(count, first=0):
    ids = range(first, first + count)
    return [{"key": b"k%d" % i, "value": b"v%d" % i, "partition": 0} for i in ids]


def values(records):
    return [record.value for record in records]


@CASES.case("produce: key, value, headers, timestamp, nulls come back exactly")
async def exact():
    topic = await create("exact")
    headers = [("h", b"1"), ("h", b"2"), ("empty", b""), ("null", None)]
    sent = [
        {"key": b"a", "value": b"one", "headers": headers, "timestamp_ms": 1600000000123},
        {"key": None, "value": bytes([0, 255, 128]), "timestamp_ms": 1600000000124},
        {"key": b"tombstone", "value": None, "timestamp_ms": 1600000000125},
        {"key": b"", "value": b"", "timestamp_ms": 1600000000126},
    ]
    assert await send(topic, sent) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    got = await read(topic, 4)
    assert [r.offset for r in got] == [0, 1, 2, 3]
    assert [r.key for r in got] == [r["key"] for r in sent]
    assert values(got) == [r["value"] for r in sent]
    assert [(r.timestamp, r.timestamp_type) for r in got] == [(r["timestamp_ms"], 0) for r in sent]
    assert list(got[0].headers) == headers, got[0].headers


@CASES.case("produce: every codec, and a batch of each in one topic")
async def codecs():
    topic = await create("codecs")
    names = [None, "gzip", "snappy", "lz4", "zstd"]
    for at, codec in enumerate(names):
        await send(topic, numbered(200, at * 200), compression_type=codec)
    got = await read(topic, 200 * len(names))
    assert values(got) == [b"v%d" % i for i in range(200 * len(names))]
    assert [r.offset for r in got] == list(range(200 * len(names)))


@CASES.case("produce: idempotent")
async def idempotent():
    topic = await create("idempotent")
    more = {"enable_idempotence": True, "max_batch_size": 1024}
    assert await send(topic, numbered(1000), **more) == [(0, i) for i in range(1000)]
    assert values(await read(topic, 1000)) == [b"v%d" % i for i in range(1000)]


@CASES.case("produce: acks 0 and 1")
async def acks():
    topic = await create("acks")
    await send(topic, numbered(10), acks=1)
    async with producer(acks=0) as client:
        for record in numbered(10, 10):
            await client.send(topic, **record)
        await client.flush()
    assert values(await read(topic, 20)) == [b"v%d" % i for i in range(20)]


@CASES.case("produce: a record too large is refused")
async def large():
    topic = await create("large", configs={"max.message.bytes": "100000"})
    await send(topic, [{"value": bytes(99000)}], max_request_size=1 << 22)
    try:
        await send(topic, [{"value": bytes(100001)}], max_request_size=1 << 22)
        raise AssertionError("taken")
    except MessageSizeTooLargeError:
        pass
    assert [len(v) for v in values(await read(topic, 1))] == [99000]


@CASES.case("produce: LogAppendTime stamps the records")
async def append_time():
    topic = await create("append", configs={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    await send(topic, [{"value": b"x", "timestamp_ms": 1}])
    record = (await read(topic, 1))[0]
    assert (
        record.timestamp_type == 1 and before - 1000 <= record.timestamp <= before + 60000
    ), record


@CASES.case("consume: assign, seek, pause, resume, offsets")
async def seek():
    topic = await create("seek")
    at = TopicPartition(topic, 0)
    await send(topic, numbered(50))
    async with consumer() as client:
        client.assign([at])
        assert values(await take(client, 50))[0] == b"v0"
        client.seek(at, 40)
        assert [r.offset for r in await take(client, 10)] == list(range(40, 50))
        assert await client.position(at) == 50
        assert await client.beginning_offsets([at]) == {at: 0}
        assert await client.end_offsets([at]) == {at: 50}
        client.pause(at)
        await send(topic, numbered(1, 50))
        assert await client.getmany(timeout_ms=1000) == {}
        client.resume(at)
        assert values(await take(client, 1)) == [b"v50"]


@CASES.case("consume: offsets by timestamp")
async def by_time():
    topic = await create("times")
    at = TopicPartition(topic, 0)
    await send(
        topic, [{"value": b"v", "partition": 0, "timestamp_ms": t} for t in (1000, 2000, 3000)]
    )
    async with consumer(topic) as client:
        assert (await client.offsets_for_times({at: 1500}))[at].offset == 1
        assert (await client.offsets_for_times({at: 3000}))[at].offset == 2
        assert (await client.offsets_for_times({at: 3001}))[at] is None


@CASES.case("consume: beyond the end without a reset policy is an error")
async def out_of_range():
    topic = await create("range")
    at = TopicPartition(topic, 0)
    await send(topic, numbered(3))
    async with consumer(auto_offset_reset="none") as client:
        client.assign([at])
        client.seek(at, 1000)
        try:
            await asyncio.wait_for(client.getone(), WAIT)
            raise AssertionError("read something")
        except OffsetOutOfRangeError as error:
            assert error.args[0] == {at: 1000}, error


@CASES.case("group: committed offsets and metadata survive")
async def resume():
    topic = await create("resume")
    group = f"{topic}-group"
    at = TopicPartition(topic, 0)
    await send(topic, numbered(10))
    await read(topic, 10, group_id=group)
    await send(topic, numbered(10, 10))
    assert values(await read(topic, 10, group_id=group)) == [b"v%d" % i for i in range(10, 20)]
    async with consumer(group_id=group) as client:
        client.assign([at])
        await client.commit({at: OffsetAndMetadata(7, "why")})
        assert await client.committed(at) == 7
    async with admin() as client:
        found = await client.list_consumer_group_offsets(group)
        assert found == {at: OffsetAndMetadata(7, "why")}, found


class Held(ConsumerRebalanceListener):
    """What a member was given last."""

    def __init__(self):
        self.partitions = set()

    async def on_partitions_revoked(self, revoked):
        self.partitions = set()

    async def on_partitions_assigned(self, assigned):
        self.partitions = {at.partition for at in assigned}


async def share(assignor):
    topic = await create(f"share-{assignor.name}", 4)
    more = {
        "group_id": f"{topic}-group",
        "partition_assignment_strategy": [assignor],
        "session_timeout_ms": 10000,
        "heartbeat_interval_ms": 300,
    }
    held = {"a": Held(), "b": Held()}
    async with consumer(**more) as a:
        a.subscribe([topic], listener=held["a"])
        await until("a holds all", lambda: held["a"].partitions == {0, 1, 2, 3})
        async with consumer(**more) as b:
            b.subscribe([topic], listener=held["b"])
            await until("2 and 2", lambda: [len(h.partitions) for h in held.values()] == [2, 2])
            assert held["a"].partitions | held["b"].partitions == {0, 1, 2, 3}
            records = [{"value": b"v%d" % i, "partition": i % 4} for i in range(40)]
            await send(topic, records)
            got = values(await take(a, 20)) + values(await take(b, 20))
            assert sorted(got) == sorted(r["value"] for r in records)
            await a.commit(), await b.commit()
        await until("a holds all again", lambda: held["a"].partitions == {0, 1, 2, 3})


for assignor in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor):
    name = f"group: two members share, the one left takes all ({assignor.name})"
    CASES.case(name)(lambda a=assignor: share(a))


@CASES.case("group: a static member comes back with the same partitions")
async def static():
    topic = await create("static", 2)
    group = f"{topic}-group"
    held = {"stays": Held(), "returns": Held()}

    def member(name):
        return consumer(group_id=group, group_instance_id=name, session_timeout_ms=30000)

    async with member("stays") as stays:
        stays.subscribe([topic], listener=held["stays"])
        async with member("returns") as returns:
            returns.subscribe([topic], listener=held["returns"])
            await until("1 and 1", lambda: [len(h.partitions) for h in held.values()] == [1, 1])
        before = held["returns"].partitions
        held["returns"] = Held()
        async with member("returns") as returns:
            returns.subscribe([topic], listener=held["returns"])
            await until("assigned again", lambda: held["returns"].partitions)
            assert held["returns"].partitions == before, (held["returns"].partitions, before)
            assert len(held["stays"].partitions) == 1


@CASES.case("admin: cluster, topics")
async def cluster():
    topic = await create("meta", 3)
    async with admin() as client:
        about = await client.describe_cluster()
        assert about["brokers"] and about["cluster_id"], about
        assert topic in await client.list_topics()
        (found,) = await client.describe_topics([topic])
        assert sorted(p["partition"] for p in found["partitions"]) == [0, 1, 2]
        answer = await client.create_topics([NewTopic(topic, 1, 1)])
        assert answer.topic_errors[0][1] == TopicAlreadyExistsError.errno, answer


@CASES.case("admin: create_partitions")
async def grow():
    topic = await create("grow")
    async with admin() as client:
        answer = await client.create_partitions({topic: NewPartitions(3)})
        assert [error for _, error, _ in answer.topic_errors] == [0], answer
        (found,) = await client.describe_topics([topic])
        assert len(found["partitions"]) == 3


@CASES.case("admin: describe_configs, alter_configs")
async def configs():
    topic = await create("configs", configs={"retention.ms": "3600000"})

    async def value(client, name):
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        ((error, _, _, _, entries),) = answer.resources
        assert error == 0
        return {entry[0]: entry[1] for entry in entries}[name]

    async with admin() as client:
        assert await value(client, "retention.ms") == "3600000"
        changed = ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "compact"})
        (answer,) = await client.alter_configs([changed])
        assert answer.resources[0][0] == 0, answer
        assert await value(client, "cleanup.policy") == "compact"
        assert await value(client, "retention.ms") == "604800000"


@CASES.case("admin: delete_records")
async def purge():
    topic = await create("purge")
    await send(topic, numbered(10))
    async with admin() as client:
        at = TopicPartition(topic, 0)
        assert await client.delete_records({at: RecordsToDelete(4)}) == {at: 4}
    assert [r.offset for r in await read(topic, 6)] == [4, 5, 6, 7, 8, 9]


@CASES.case("admin: groups listed, described")
async def groups():
    topic = await create("groups")
    group = f"{topic}-group"
    await send(topic, numbered(10))
    async with admin() as client:
        async with consumer(topic, group_id=group) as member:
            await take(member, 10)
            await member.commit()
            (answer,) = await client.describe_consumer_groups([group])
            error, name, state, kind, _, members, *_ = answer.groups[0]
            assert (error, name, state, kind, len(members)) == (0, group, "Stable", "consumer", 1)
        assert (group, "consumer") in [tuple(g[:2]) for g in await client.list_consumer_groups()]


@CASES.case("admin: delete_topics, and the name again from offset 0")
async def again():
    topic = await create("again")
    await send(topic, numbered(5))
    async with admin() as client:
        answer = await client.delete_topics([topic])
        assert [error for _, error in answer.topic_error_codes] == [0], answer
        assert topic not in await client.list_topics()
    await create("again")
    assert await send(topic, numbered(1)) == [(0, 0)]


CASES.run()
