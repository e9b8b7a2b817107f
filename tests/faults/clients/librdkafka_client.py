#!/usr/bin/env python3
"""A producer and a reader on librdkafka (confluent-kafka) for the fault matrix.

Tells `esker-faults` on standard output what it is about to do and what came of it, one JSON object a line, and
does a thing only when it was told to go on: so the history's order is that of one clock. Ends when its standard
input does.
"""

import json
import sys
import threading

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

bootstrap, topic, partitions, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
talking = threading.Lock()
stopping = threading.Event()
permits = {}


def say(line):
    with talking:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def ask(who, line):
    """Says what is about to be done and waits for the word."""
    permit = permits[who]
    permit.clear()
    say({"who": who, **line})
    permit.wait()


def listen():
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        permits[line.strip()].set()
    stopping.set()
    for permit in permits.values():
        permit.set()


def padded(text, size):
    """As the load's other producers fill their values."""
    mask = (1 << 64) - 1
    value = bytearray((text + ":").encode())
    state = 0x9E3779B97F4A7C15
    for byte in text.encode():
        state = ((state ^ byte) * 0x100000001B3) & mask
    while len(value) < size:
        state ^= (state << 13) & mask
        state ^= state >> 7
        state ^= (state << 17) & mask
        value += state.to_bytes(8, "big")
    return bytes(value[: max(size, len(text) + 1)])


def produce():
    producer = Producer({
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "delivery.timeout.ms": 120000,
        "request.timeout.ms": 3000,
        "socket.timeout.ms": 4000,
        "linger.ms": 5,
        "reconnect.backoff.max.ms": 500,
    })
    counts = [0] * partitions
    op = 0

    def told(op):
        def report(error, message):
            if error is None:
                say({"who": "producer", "end": op, "offset": message.offset()})
            else:
                say({"who": "producer", "end": op, "error": str(error)})
        return report

    while not stopping.is_set():
        partition = op % partitions
        record = counts[partition]
        counts[partition] += 1
        op += 1
        ask("producer", {"begin": op, "partition": partition, "record": record})
        while True:
            try:
                producer.produce(topic, padded(f"{number}:{record}", 100), partition=partition, on_delivery=told(op))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0.01)
    producer.flush(60)
    say({"who": "producer", "finished": True})


def read():
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "faults-librdkafka",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "socket.timeout.ms": 4000,
        "reconnect.backoff.max.ms": 500,
    })
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    op = 0
    while not stopping.is_set():
        op += 1
        ask("reader", {"begin": op})
        records, errors = [], []
        try:
            messages = consumer.consume(500, 0.3)
        except KafkaException as error:
            messages, errors = [], [str(error)]
        for message in messages:
            if message.error() is None:
                records.append([message.partition(), message.offset(), message.value().decode("latin-1")])
            else:
                errors.append(str(message.error()))
        say({"who": "reader", "end": op, "records": records, "error": "; ".join(errors) or None})
    consumer.close()
    say({"who": "reader", "finished": True})


for name in ("producer", "reader"):
    permits[name] = threading.Event()
threading.Thread(target=listen, daemon=True).start()
threads = [threading.Thread(target=produce), threading.Thread(target=read)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
