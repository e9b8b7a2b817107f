"""load.py BOOTSTRAP TOPIC STOP_FILE: numbered records through kcat until STOP_FILE exists, read by another kcat meanwhile.

Then the topic is read from its beginning: every number once, in order. Prints records, the longest time without a new
record at the reader, and fails when a record was refused, is lost, doubled or out of place.
"""

import json
import os
import subprocess
import sys
import threading
import time

bootstrap, topic, stop_file = sys.argv[1:]
RATE, LIMIT = 200, 300  # records a second; seconds after which it stops by itself
# -E: that no broker can be reached for a while is what is tested, and no reason to end.
KCAT = ["kcat", "-E", "-b", bootstrap, "-t", topic, "-p", "0", "-X", "reconnect.backoff.max.ms=500"]

# The first record makes the topic: a reader of none would end.
subprocess.run([*KCAT, "-P"], input="0\n", text=True, check=True, timeout=60)
producer = subprocess.Popen(
    [*KCAT, "-P", "-X", "enable.idempotence=true", "-X", "message.timeout.ms=120000", "-X", "linger.ms=5"],
    stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
)  # fmt: skip
reader = subprocess.Popen(
    [*KCAT, "-C", "-q", "-u", "-o", "beginning"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
)
arrivals = []


def read():
    for line in reader.stdout:
        arrivals.append((time.monotonic(), int(line)))


threading.Thread(target=read, daemon=True).start()
begun, number = time.monotonic(), 1
while not os.path.exists(stop_file) and time.monotonic() - begun < LIMIT:
    time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
    producer.stdin.write(f"{number}\n")
    producer.stdin.flush()
    number += 1
_, complaints = producer.communicate(timeout=150)
assert producer.returncode == 0, f"not every record was delivered:\n{complaints}"

limit = time.monotonic() + 30
while len(arrivals) < number and time.monotonic() < limit:
    time.sleep(0.1)
reader.kill()
assert [n for _, n in arrivals] == list(range(number)), "the reader saw something else"
done = subprocess.run([*KCAT, "-C", "-q", "-e", "-o", "beginning"], capture_output=True, text=True, timeout=120)
assert [int(line) for line in done.stdout.split()] == list(range(number)), "the topic holds something else"
gaps = [after - before for (before, _), (after, _) in zip(arrivals, arrivals[1:])]
print(json.dumps({"records": number, "lost": 0, "doubled": 0, "longest_gap_s": round(max(gaps), 1)}))
