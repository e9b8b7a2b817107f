"""values.yaml, its schema and the settings of `esker serve` say the same; wrong values are refused, with a reason."""

import os
import re
import subprocess

import pytest
from conftest import CHECKOUT, MINIMAL, template

# Set by the chart from other values, or (secrets) from a Secret.
OWNED = {
    "store", "role", "kafka-listen", "http-listen", "advertise", "http-advertise", "cluster-id",
    "s3-endpoint", "s3-region", "s3-path-style", "s3-access-key-id", "s3-secret-access-key",
    "s3-session-token", "s3-checksum", "produce-buffer-bytes", "cache-bytes", "drain-timeout-ms",
    "exit-delay-ms",
    "metadata", "zone", "internal-listen", "internal-advertise",
    "internal-tls-cert", "internal-tls-key", "internal-tls-ca", "internal-tls-name",
}  # fmt: skip

REFUSED = [
    ("mode=both", "mode"),
    ("store.s3.bucket=", "store.s3.bucket is needed"),
    ("store.s3.bucket=No_Bucket", "bucket"),
    ("store.s3.prefix=/a/", "prefix"),
    ("store.s3.endpoint=minio:9000", "endpoint"),
    ("store.s3.checksum=md5", "checksum"),
    ("store.s3.acessKey=x", "acessKey"),
    ("store.type=directory", "standalone.replicas: 1 only"),
    ("standalone.replicas=0", "replicas"),
    ("standalone.replicas=10", "replicas"),
    ("replicas=2", "replicas"),
    ("config.linger=5", "linger"),
    ("config.linger-ms=often", "linger-ms"),
    ("config.linger-ms=10001", "linger-ms"),
    ("config.segment-bytes=65535", "segment-bytes"),
    ("config.segment-bytes=8388609", "segment-bytes"),
    ("config.segments-in-flight=65", "segments-in-flight"),
    ("config.kafka-connections=1000001", "kafka-connections"),
    ("config.kafka-idle-timeout-ms=999", "kafka-idle-timeout-ms"),
    ("config.default-partitions=10001", "default-partitions"),
    ("config.cache-bytes=1000", "cache-bytes"),
    ("config.drain-timeout-ms=1", "drain-timeout-ms"),
    ("clusterId=abc", "clusterId"),
    ("image.repository=", "repository"),
    ("image.digest=sha256:12", "digest"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("service.kafka.type=LoadBalancer", "needs advertise.host"),
    ("service.kafka.type=ExternalName", "type"),
    ("service.kafka.port=65536", "port"),
    ("defaults.resources.memory=1020Mi", "raise the memory"),
    ("defaults.resources.memory=512", "memory"),
    ("defaults.cacheMi=1025", "raise the memory"),
    ("defaults.produceBufferMi=2048", "raise the memory"),
    ("defaults.produceBufferMi=15", "produceBufferMi"),
    ("defaults.produceBufferMi=4096", "produceBufferMi"),
    (f"advertise.host={'h' * 254}", "host"),
    ("defaults.resources.limits.cpu=1", "limits"),
    ("defaults.topologySpread.zone=Never", "zone"),
    ("defaults.extraEnv[0].name=ESKER_STORE,defaults.extraEnv[0].value=x", "is set by the chart"),
    ("drainSeconds=0", "drainSeconds"),
    ("preStopSeconds=301", "preStopSeconds"),
    ("exitDelaySeconds=301", "exitDelaySeconds"),
    ("networkPolicy.kafkaFrom=all", "kafkaFrom"),
    ("metrics.serviceMonitor.interval=often", "interval"),
    ("listenAddress=127.0.0.1", "listenAddress"),
    ("serviceAccount.annotations.a.b=x", "annotations"),
    ("fullnameOverride=Big", "fullnameOverride"),
    ("mode=distributed,store.s3.bucket=", "store.s3.bucket is needed"),
    ("mode=distributed,store.type=directory", "works with mode: standalone only"),
    ("mode=distributed,standalone.replicas=1,store.type=directory", "works with mode: standalone only"),
    ("mode=distributed,config.node-id=7", "draws an id of its own"),
    ("mode=distributed,advertise.host=kafka.example.com", "need distributed.advertise: single"),
    ("mode=distributed,advertise.port=19092", "need distributed.advertise: single"),
    ("mode=distributed,distributed.advertise=single,service.kafka.type=NodePort", "needs advertise.host"),
    ("mode=distributed,distributed.advertise=single,config.clients-see=all", "clients see one broker"),
    ("mode=distributed,distributed.advertise=dns", "advertise"),
    (f"mode=distributed,fullnameOverride={'n' * 44}", "at most 43 characters"),
    ("mode=distributed,distributed.fetch.cacheMi=1025", "distributed.fetch: resources.memory is 2048 MiB"),
    ("mode=distributed,distributed.ingest.resources.memory=512Mi", "distributed.ingest: resources.memory is 512 MiB"),
    ("mode=distributed,distributed.ingest.resources.limits=1", "limits"),
    ("mode=distributed,distributed.ingest.extraEnv[0].name=ESKER_ZONE", "distributed.ingest: extraEnv: ESKER_ZONE"),
    ("mode=distributed,defaults.extraEnv[0].name=ESKER_METADATA", "ESKER_METADATA is set by the chart"),
    ("mode=distributed,defaults.extraEnv[0].name=ESKER_CLIENTS_SEE", "ESKER_CLIENTS_SEE is set by the chart"),
    ("mode=distributed,distributed.ingest.autoscaling.enabled=true,distributed.ingest.autoscaling.minReplicas=7",
     "minReplicas (7) is more than maxReplicas (6)"),
    ("mode=distributed,distributed.ingest.replicas=799", "up to 801 pods together"),
    ("mode=distributed,distributed.ingest.autoscaling.enabled=true,distributed.ingest.autoscaling.maxReplicas=799",
     "up to 801 pods together"),
    ("mode=distributed,distributed.ingest.pools[0].name=a,distributed.ingest.pools[1].name=a", "two have the name a"),
    ("mode=distributed,distributed.fetch.pools[0].zone=a", "name"),
    ("mode=distributed,distributed.fetch.pools[0].name=A", "name"),
    ("mode=distributed,distributed.fetch.pools[0].name=a,distributed.fetch.pools[0].pool=b", "'pool'"),
    ("distributed.ingest.zone=a\\,b", "zone"),
    ("distributed.ingest.zone=zürich", "zone"),
    ("distributed.ingest.replicas=0", "replicas"),
    ("distributed.ingest.replicas=null", "replicas"),
    ("distributed.metadata.replicas=10", "replicas"),
    ("distributed.metadata.autoscaling.enabled=true", "autoscaling"),
    ("distributed.metadata.zone=a", "zone"),
    ("distributed.compactor.replicas=1", "compactor"),
    ("distributed.fetch.pdb.maxUnavailable=0", "maxUnavailable"),
    ("distributed.fetch.pdb.maxUnavailable=0%", "maxUnavailable"),
    ("distributed.internalTls.existingSecret.certKey=x", "certKey"),
    ("distributed.internalTls.existingSecret.caKey=", "caKey"),
    ("distributed.internalTls.name=*.esker", "name"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "reason"), REFUSED, ids=[wrong for wrong, _ in REFUSED])
def test_a_wrong_value_is_refused_with_its_reason(wrong, reason):
    done = template(*MINIMAL, "--set", wrong)

    assert done.returncode != 0, "it was rendered"
    assert reason in done.stderr


def test_the_values_at_the_bounds_are_taken():
    for right in ["standalone.replicas=9", "defaults.cacheMi=1024", "config.segment-bytes=8388608",
                  "drainSeconds=600", "preStopSeconds=300", "exitDelaySeconds=300", "defaults.resources.memory=1024Mi",
                  f"mode=distributed,fullnameOverride={'n' * 43}", "mode=distributed,distributed.fetch.cacheMi=1024",
                  "mode=distributed,distributed.metadata.resources.memory=128Mi,distributed.metadata.replicas=9",
                  "mode=distributed,distributed.fetch.pdb.maxUnavailable=100%",
                  "mode=distributed,distributed.ingest.replicas=798",
                  "defaults.resources.memory=8Gi,defaults.produceBufferMi=4095", "defaults.produceBufferMi=16",
                  "mode=distributed,service.kafka.type=LoadBalancer"]:  # fmt: skip
        done = template(*MINIMAL, "--set", right)

        assert done.returncode == 0, done.stderr


def resolved(schema: dict, node: dict) -> dict:
    """What a reference points at."""
    while "$ref" in node:
        target = schema
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def walk(schema: dict, node: dict, path: tuple = ()):
    """Every value with its path; those of a pool too."""
    node = resolved(schema, node)
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from walk(schema, inner, (*path, name))
    if path[-1:] == ("pools",):
        yield from walk(schema, node["items"], (*path, "[]"))


def test_every_value_is_described_and_no_object_is_open(schema):
    for path, node in walk(schema, schema):
        if "extraEnv" in path and path[-1] == "name":
            continue
        assert node.get("description"), path
        if "properties" in node and "items" not in node:
            assert node.get("additionalProperties") is False, path


def test_the_schema_has_what_the_values_have(schema, defaults):
    def keys(values, node, path):
        node = resolved(schema, node)
        known = set(node.get("properties", {}))
        if not known or path == ("config",):
            return
        if not path:
            known -= {"global"}
        if path[:1] == ("distributed",) and len(path) == 2 and path != ("distributed", "internalTls"):
            assert set(defaults["defaults"]) <= known, "a role may have all of the defaults"
            known -= set(defaults["defaults"])
        assert set(values) == known, (path, set(values) ^ known)
        for name, inner in values.items():
            if isinstance(inner, dict):
                keys(inner, node["properties"][name], (*path, name))

    keys(defaults, schema, ())


def test_a_pool_takes_what_its_role_takes(schema):
    role, pool = (set(schema["$defs"][name]["properties"]) for name in ("role", "pool"))

    assert role - {"pools"} == pool - {"name"}


def test_every_setting_of_serve_is_a_value_or_is_the_charts(schema):
    table = (CHECKOUT / "services" / "esker" / "src" / "config" / "table.rs").read_text()
    settings = set(re.findall(r'pub\(crate\) const \w+: &str = "([a-z0-9-]+)";', table))
    assert len(settings) > 25

    assert set(schema["properties"]["config"]["properties"]) == settings - OWNED
    assert OWNED <= settings


def refusal(setting: str, value) -> str:
    """What the binary has against this value of a setting; nothing when it takes it."""
    command = [os.environ["ESKER_BIN"], "config", "show", f"--{setting}={value}"]
    done = subprocess.run(command, env={}, capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr
    return done.stderr


def test_the_schema_takes_what_the_binary_takes_and_no_more(schema):
    values = schema["properties"]
    pools, s3 = values["defaults"]["properties"], values["store"]["properties"]["s3"]["properties"]
    produce, cache = pools["produceBufferMi"], pools["cacheMi"]
    bounds = {
        "produce-buffer-bytes": (produce["minimum"] << 20, (produce["maximum"] << 20) + (1 << 20) - 1),
        "cache-bytes": (cache["minimum"] << 20, None),
    }
    words = {"s3-checksum": s3["checksum"]["enum"]}
    for name, node in values["config"]["properties"].items():
        if node["type"] == "integer":
            bounds[name] = (node["minimum"], node["maximum"])
        elif node["type"] == "boolean":
            words[name] = ["true", "false"]
        elif "enum" in node:
            words[name] = node["enum"]
    zone = schema["$defs"]["zone"]["maxLength"]

    assert len(bounds) > 12 and len(words) == 4
    for name, (low, high) in bounds.items():
        assert not refusal(name, low), name
        assert name in refusal(name, low - 1)
        if high is not None:
            assert not refusal(name, high), name
            assert name in refusal(name, high + 1)
    for name, known in words.items():
        assert not any(refusal(name, word) for word in known), name
        assert name in refusal(name, "another")
    assert not refusal("zone", "z" * zone) and "zone" in refusal("zone", "z" * (zone + 1))
    for seconds in (values["drainSeconds"]["minimum"], values["drainSeconds"]["maximum"]):
        assert not refusal("drain-timeout-ms", seconds * 1000)
    assert not refusal("exit-delay-ms", values["exitDelaySeconds"]["maximum"] * 1000)


def test_the_chart_knows_how_many_processes_a_cluster_knows():
    limits = (CHECKOUT / "services" / "metadata-api" / "src" / "limits.rs").read_text()
    check = (CHECKOUT / "helm" / "esker" / "templates" / "_check.tpl").read_text()

    [known] = map(int, re.findall(r"PODS_MAX: usize = (\d+);", limits))
    assert f"a cluster knows {known} processes" in check
    assert f"gt (int $pods) {known * 100 // 125}" in check
