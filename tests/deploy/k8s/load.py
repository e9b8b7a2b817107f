"""load.py BOOTSTRAP TOPIC STOP_FILE: numbered records to all partitions of TOPIC until STOP_FILE exists, through kcat;
another kcat reads them meanwhile. Says `begun` when the reader has the first ones.

Then the topic is read from its beginning. Prints as JSON: records, those lost and doubled and out of place (at the reader
and in the topic), and the longest time without a record at the reader: of a partition, and of all. Fails with one of these.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter

bootstrap, topic, stop_file = sys.argv[1:]
RATE, KEYS, LIMIT = 200, 997, 900  # records a second; so many keys fall on all partitions; seconds after which it stops by itself
# -E: that no broker can be reached for a while is what is tested, and no reason to end. Who comes anew is heard of
# when metadata is read again, which clients do each 5 minutes unless they are told otherwise.
KCAT = ["/usr/bin/kcat", "-E", "-b", bootstrap, "-t", topic, "-X", "reconnect.backoff.max.ms=500"]
KCAT += ["-X", "topic.metadata.refresh.interval.ms=2000"]
READ = ["-C", "-q", "-o", "beginning", "-f", "%p %s\n"]


def record(line: str) -> tuple[int, int]:
    partition, number = line.split()
    return int(partition), int(number)


def faults(records: list[tuple[int, int]], wanted: int) -> dict[str, int]:
    """What is wrong with (partition, number) as they were read: each number once, rising within its partition."""
    seen, last, misplaced = Counter(number for _, number in records), {}, 0
    for partition, number in records:
        misplaced += number < last.get(partition, -1)
        last[partition] = max(number, last.get(partition, -1))
    lost = sum(number not in seen for number in range(wanted))
    return {"lost": lost, "doubled": len(records) - len(seen), "out_of_place": misplaced, "unknown": len(seen) + lost - wanted}


def longest_gap(times: list[float]) -> float:
    return round(max((after - before for before, after in zip(times, times[1:])), default=0.0), 1)


producer = subprocess.Popen(
    [*KCAT, "-P", "-K:", "-X", "enable.idempotence=true", "-X", "message.timeout.ms=120000", "-X", "linger.ms=5"],
    stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
)  # fmt: skip
reader = subprocess.Popen([*KCAT, *READ, "-u"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
arrivals: list[tuple[float, tuple[int, int]]] = []
complaints: list[str] = []


def read():
    for line in reader.stdout:
        arrivals.append((time.monotonic(), record(line)))


def hear():
    complaints.extend(producer.stderr)  # read all the time, else kcat would stand still behind a full pipe


readers = [threading.Thread(target=target, daemon=True) for target in (read, hear)]
for thread in readers:
    thread.start()
begun, number, is_told = time.monotonic(), 0, False
while not os.path.exists(stop_file) and time.monotonic() - begun < LIMIT:
    time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
    producer.stdin.write(f"{number % KEYS}:{number}\n")
    producer.stdin.flush()
    number += 1
    if not is_told and len(arrivals) >= RATE:
        is_told = True
        print("begun", flush=True)
producer.stdin.close()
status = producer.wait(timeout=150)
assert status == 0, "not every record was delivered:\n" + "".join(complaints[-50:])

limit = time.monotonic() + 30
while len(arrivals) < number and time.monotonic() < limit:
    time.sleep(0.1)
reader.kill()
readers[0].join(10)
done = subprocess.run([*KCAT, *READ, "-e"], capture_output=True, text=True, timeout=120)
kept = [record(line) for line in done.stdout.splitlines()]
by_partition: dict[int, list[float]] = {}
for at, (partition, _) in arrivals:
    by_partition.setdefault(partition, []).append(at)
told = {
    "records": number,
    "partitions": len(by_partition),
    "topic": faults(kept, number),
    "reader": faults([what for _, what in arrivals], number),
    "longest_gap_s": {"partition": max(map(longest_gap, by_partition.values())), "all": longest_gap([at for at, _ in arrivals])},
}
print(json.dumps(told))
assert not any(told["topic"].values()) and not any(told["reader"].values()), "records are lost, doubled or out of place"
