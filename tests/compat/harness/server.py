"""Esker under test, on a directory or on MinIO, or roles in processes of their own on MinIO, told to clients one by one
or as one broker behind a balancer; everything below one scratch directory."""

import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack, contextmanager

from harness.kit import balancer_binary, cached, end_group, esker_binary

READY_SECONDS_MAX = 60
BUCKET = "esker-compat"
KEYS = ("compat-key", "compat-secret-key")


def free_port():
    """Below those that systems take for outgoing connections: it is free later, too."""
    for _ in range(100):
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def until_http(url, process, log):
    end = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{url} is not ready: {log.read_text()[-2000:]}")


@contextmanager
def program_until(command, log, env=None):
    """A program that lives as long as the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_group(process)


@contextmanager
def program(command, log, ready, env=None):
    """A server that is ready, and lives as long as the block."""
    with program_until(command, log, env) as process:
        until_http(ready, process, log)
        yield process


@contextmanager
def directory_store(scratch):
    yield ["--store", f"file://{scratch / 'bucket'}"]


@contextmanager
def minio_store(scratch):
    binary = cached("bin/minio", "minio")
    drive = scratch / "minio"
    (drive / BUCKET).mkdir(parents=True)  # on one drive a bucket is a directory
    address = f"127.0.0.1:{free_port()}"
    command = [binary, "server", "--quiet", "--address", address]
    command += ["--console-address", f"127.0.0.1:{free_port()}", drive]
    env = {"MINIO_ROOT_USER": KEYS[0], "MINIO_ROOT_PASSWORD": KEYS[1], "MINIO_UPDATE": "off"}
    ready = f"http://{address}/minio/health/ready"
    with program(command, scratch / "minio.log", ready, env):
        arguments = ["--store", f"s3://{BUCKET}/esker", "--s3-endpoint", f"http://{address}"]
        arguments += ["--s3-region", "us-east-1", "--s3-access-key-id", KEYS[0]]
        yield arguments + ["--s3-secret-access-key", KEYS[1]]


STORES = {"directory": directory_store, "minio": minio_store, "cluster": minio_store, "single": minio_store}
USUAL_STORES = ["directory", "minio"]
SHAPE = [("metadata", 2), ("ingest", 3), ("fetch", 2)]
CLIENT_PROCESSES = sum(count for role, count in SHAPE if role != "metadata")


def nodes(store):
    """How many brokers clients are told of."""
    return CLIENT_PROCESSES if store == "cluster" else 1


def node_ids(store):
    """Of the brokers that clients are told of."""
    return [0] if store == "single" else list(range(1, nodes(store) + 1))


def without_node_id(arguments):
    """A node id that a client insists on belongs to one process: what is left, and the two words about it."""
    if "--node-id" not in arguments:
        return arguments, []
    at = arguments.index("--node-id")
    return arguments[:at] + arguments[at + 2 :], arguments[at : at + 2]


@contextmanager
def cluster(where, scratch, more, listens):
    """Processes of one role each; those that take clients listen at `listens`."""
    more, named = without_node_id(list(more))
    inside = [f"127.0.0.1:{free_port()}" for _ in range(SHAPE[0][1])]
    node = 0
    with ExitStack() as running:
        for role, count in SHAPE:
            for number in range(count):
                http = f"127.0.0.1:{free_port()}"
                command = [esker_binary(), "serve", *where, "--role", role, "--http-listen", http]
                command += ["--log-format", "text", "--log-level", "info"]
                if role == "metadata":
                    command += ["--internal-listen", inside[number]]
                else:
                    command += named if named and node == 0 else ["--node-id", str(node + 1)]
                    command += ["--kafka-listen", listens[node], "--metadata", ",".join(inside)]
                    node += 1
                log = scratch / f"esker-{role}-{number + 1}.log"
                ready = f"http://{http}/readyz"
                running.enter_context(program([*command, *more], log, ready))
        yield


@contextmanager
def balancer(listen, targets, scratch):
    """A connection at `listen` goes to the next of `targets`."""
    log = scratch / "balancer.log"
    with program_until([balancer_binary(), listen, *targets], log) as process:
        end = time.monotonic() + READY_SECONDS_MAX
        while "listening at" not in log.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no balancer at {listen}: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield


@contextmanager
def esker(store, scratch, more=(), port=None):
    """Yields the Kafka address of a fresh Esker on a fresh store; `port` where a client insists."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    kafka, http = f"127.0.0.1:{port or free_port()}", f"127.0.0.1:{free_port()}"
    with STORES[store](scratch) as where:
        if store == "cluster":
            others = [f"127.0.0.1:{free_port()}" for _ in range(CLIENT_PROCESSES - 1)]
            with cluster(where, scratch, more, [kafka, *others]):
                yield kafka
            return
        if store == "single":
            behind = [f"127.0.0.1:{free_port()}" for _ in range(CLIENT_PROCESSES)]
            told = ["--clients-see", "single", "--advertise", kafka]
            # The balancer first, before others take its port; it dials when somebody comes.
            with balancer(kafka, behind, scratch), cluster(where, scratch, [*more, *told], behind):
                yield kafka
            return
        command = [esker_binary(), "serve", *where, "--kafka-listen", kafka]
        command += ["--http-listen", http, "--log-format", "text", "--log-level", "info"]
        with program([*command, *more], scratch / "esker.log", f"http://{http}/readyz"):
            yield kafka
