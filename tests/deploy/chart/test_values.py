"""values.yaml, its schema and the settings of `esker serve` say the same; wrong values are refused, with a reason."""

import re

import pytest
from conftest import CHECKOUT, MINIMAL, template

# Set by the chart from other values, or (secrets) from a Secret.
OWNED = {
    "store", "role", "kafka-listen", "http-listen", "advertise", "http-advertise", "cluster-id",
    "s3-endpoint", "s3-region", "s3-path-style", "s3-access-key-id", "s3-secret-access-key",
    "s3-session-token", "s3-checksum", "produce-buffer-bytes", "cache-bytes", "drain-timeout-ms",
}  # fmt: skip

REFUSED = [
    ("mode=distributed", "mode: distributed is not available"),
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
    ("config.segment-bytes=8388609", "segment-bytes"),
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
    ("defaults.resources.limits.cpu=1", "limits"),
    ("defaults.topologySpread.zone=Never", "zone"),
    ("defaults.extraEnv[0].name=ESKER_STORE,defaults.extraEnv[0].value=x", "is set by the chart"),
    ("drainSeconds=0", "drainSeconds"),
    ("preStopSeconds=301", "preStopSeconds"),
    ("networkPolicy.kafkaFrom=all", "kafkaFrom"),
    ("metrics.serviceMonitor.interval=often", "interval"),
    ("listenAddress=127.0.0.1", "listenAddress"),
    ("serviceAccount.annotations.a.b=x", "annotations"),
    ("fullnameOverride=Big", "fullnameOverride"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "reason"), REFUSED, ids=[wrong for wrong, _ in REFUSED])
def test_a_wrong_value_is_refused_with_its_reason(wrong, reason):
    done = template(*MINIMAL, "--set", wrong)

    assert done.returncode != 0, "it was rendered"
    assert reason in done.stderr


def test_the_values_at_the_bounds_are_taken():
    for right in ["standalone.replicas=9", "defaults.cacheMi=1024", "config.segment-bytes=8388608",
                  "drainSeconds=600", "preStopSeconds=300", "defaults.resources.memory=1024Mi"]:  # fmt: skip
        done = template(*MINIMAL, "--set", right)

        assert done.returncode == 0, done.stderr


def walk(schema: dict, path: tuple = ()):
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, (*path, name))


def test_every_value_is_described_and_no_object_is_open(schema):
    for path, node in walk(schema):
        if "extraEnv" in path and path[-1] == "name":
            continue
        assert node.get("description"), path
        if "properties" in node and "items" not in node:
            assert node.get("additionalProperties") is False, path


def test_the_schema_has_what_the_values_have(schema, defaults):
    def keys(values, node, path):
        known = node.get("properties")
        if known is None or path == ("config",):
            return
        missing = set(values) ^ (set(known) - ({"global"} if not path else set()))
        assert not missing, (path, missing)
        for name, inner in values.items():
            if isinstance(inner, dict):
                keys(inner, known[name], (*path, name))

    keys(defaults, schema, ())


def test_every_setting_of_serve_is_a_value_or_is_the_charts(schema):
    table = (CHECKOUT / "services" / "esker" / "src" / "config" / "table.rs").read_text()
    settings = set(re.findall(r'pub\(crate\) const \w+: &str = "([a-z0-9-]+)";', table))
    assert len(settings) > 25

    assert set(schema["properties"]["config"]["properties"]) == settings - OWNED
    assert OWNED <= settings
