"""What the chart renders, for every variant in helm/esker/ci: valid, as expected, unchanged."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import CHART, MINIMAL, VARIANTS, containers, helm, objects, one, template, workloads

KUBERNETES = ["1.30", "1.33", "1.35"]
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("values", VARIANTS, ids=lambda path: path.stem)
def test_helm_lint_finds_nothing(values):
    done = helm("lint", "--strict", CHART, "--values", values)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VARIANTS, ids=lambda path: path.stem)
def test_every_object_fits_the_schemas_of_kubernetes_strictly(values, version, tmp_path):
    rendered = tmp_path / "all.yaml"
    rendered.write_text(template("--values", values, "--kube-version", version).stdout)

    done = subprocess.run(
        ["kubernetes-validate", "--kubernetes-version", version, "--strict", rendered],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    unknown = {line for line in (done.stdout + done.stderr).splitlines() if "find schema" in line}
    assert all("monitoring.coreos.com" in line for line in unknown), unknown


def test_the_strict_check_finds_a_misspelt_field(tmp_path):
    rendered = tmp_path / "all.yaml"
    text = template(*MINIMAL).stdout
    rendered.write_text(text.replace("terminationGracePeriodSeconds", "terminationGracePeriod"))

    done = subprocess.run(
        ["kubernetes-validate", "-k", "1.35", "--strict", rendered], capture_output=True, text=True
    )

    assert done.returncode != 0


def test_an_old_cluster_is_refused():
    done = template(*MINIMAL, "--kube-version", "1.29")

    assert done.returncode != 0 and "1.30" in done.stderr


@pytest.mark.parametrize("values", VARIANTS, ids=lambda path: path.stem)
def test_the_render_is_the_stored_one(values):
    golden = GOLDEN / f"{values.stem}.yaml"
    text = template("--values", values).stdout
    if os.environ.get("ESKER_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)

    assert text == golden.read_text(), "take it over with ESKER_UPDATE_GOLDEN=1"


@pytest.mark.parametrize("values", VARIANTS, ids=lambda path: path.stem)
def test_pods_keep_to_the_restricted_standard(values):
    for pod, container in containers(objects("--values", values)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert set(limits) == {"memory"}, "no limit of CPU"
        if container["name"] != "doctor":
            assert limits["memory"] == requests["memory"]


def test_doctor_has_the_memory_that_it_compares_the_budgets_with():
    pods = {container["name"]: container["resources"] for _, container in containers(objects(*MINIMAL))}

    assert pods["doctor"]["limits"] == pods["esker"]["limits"]
    assert pods["doctor"]["requests"]["memory"] == "256Mi"


def settings(*arguments: str) -> dict:
    return tomllib.loads(one(objects(*arguments), "ConfigMap", "rel-esker")["data"]["esker.toml"])


def test_values_become_settings():
    found = settings("--values", CHART / "ci" / "minio-values.yaml")

    assert found["store"] == "s3://esker/trial/one"
    assert found["s3-endpoint"] == "http://minio.store.svc.cluster.local:9000"
    assert found["s3-path-style"] is True and found["s3-checksum"] == "sha256"
    assert found["cluster-id"] == "0123456789abcdef0123456789abcdef"
    assert found["linger-ms"] == 50 and found["auto-create-topics"] is False
    assert found["log-level"] == "info,esker_kafka=debug" and found["log-format"] == "json"
    assert found["advertise"] == "rel-esker.ns.svc.cluster.local:9092"


@pytest.mark.parametrize("values", VARIANTS, ids=lambda path: path.stem)
def test_esker_takes_the_settings_and_the_arguments_of_the_pod(values, tmp_path):
    found = objects("--values", values)
    [files] = [o["data"] for o in found if o["kind"] == "ConfigMap" and any(".toml" in name for name in o["data"])]
    for name, workload in workloads(found).items():
        container = workload["spec"]["template"]["spec"]["containers"][0]
        known = {"$(POD_IP)": "fd00::7", "$(POD_NAME)": f"{name}-0"}
        given = [re.sub(r"\$\(\w+\)", lambda match: known[match[0]], a) for a in container["args"] if a != "serve"]
        [file] = [tmp_path / Path(a).name for a in given if a.startswith("--config=")]
        file.write_text(files[file.name])
        given = [f"--config={file}" if a.startswith("--config=") else a for a in given]

        command = [os.environ["ESKER_BIN"], "config", "show", *given]
        done = subprocess.run(command, env={}, capture_output=True, text=True)

        assert done.returncode == 0, done.stderr
        origins = {line.split()[0]: line for line in done.stdout.splitlines()}
        assert str(file) in origins["store"] and str(file) in origins["role"]
        assert origins["http-advertise"].endswith("flag")
        assert "advertise" in origins or "role = \"metadata\"" in file.read_text()


def test_the_largest_numbers_stay_whole():
    found = settings(*MINIMAL, "--set", "config.node-id=2147483647,config.segment-bytes=8388608")

    assert (found["node-id"], found["segment-bytes"]) == (2147483647, 8388608)


@pytest.mark.parametrize(
    ("memory", "produce", "cache"),
    [("1Gi", 256, 256), ("2Gi", 512, 512), ("1536Mi", 384, 384), ("64Gi", 4095, 16384)],
)
def test_budgets_are_quarters_of_the_memory_as_far_as_the_binary_takes_them(memory, produce, cache):
    found = settings(*MINIMAL, "--set", f"defaults.resources.memory={memory}")

    assert found["produce-buffer-bytes"] == produce << 20
    assert found["cache-bytes"] == cache << 20


def test_the_grace_period_covers_pre_stop_both_parts_of_the_drain_and_the_delay_of_the_exit():
    for drain, pre_stop, delay in [(25, 10, 6), (60, 0, 0), (1, 300, 300)]:
        given = f"drainSeconds={drain},preStopSeconds={pre_stop},exitDelaySeconds={delay}"
        found = objects(*MINIMAL, "--set", given)
        pod = one(found, "Deployment")["spec"]["template"]["spec"]

        assert pod["terminationGracePeriodSeconds"] > pre_stop + 2 * (drain + 5) + delay
        assert ("lifecycle" in pod["containers"][0]) == (pre_stop > 0)
        file = one(found, "ConfigMap")["data"]["esker.toml"]
        assert f"drain-timeout-ms = {drain * 1000}\n" in file and f"exit-delay-ms = {delay * 1000}\n" in file


def test_credentials_come_from_the_secret_or_are_not_mentioned():
    def names(*arguments):
        for _, container in containers(objects(*arguments)):
            if container["name"] in ("esker", "doctor"):
                yield {e["name"]: e.get("valueFrom", {}).get("secretKeyRef") for e in container["env"] or []}

    secret = ["--set", "store.s3.existingSecret.name=s,store.s3.existingSecret.sessionTokenKey=t"]
    for env in names(*MINIMAL, *secret):
        assert env["ESKER_S3_ACCESS_KEY_ID"] == {"name": "s", "key": "access-key-id"}
        assert env["ESKER_S3_SECRET_ACCESS_KEY"] == {"name": "s", "key": "secret-access-key"}
        assert env["ESKER_S3_SESSION_TOKEN"] == {"name": "s", "key": "t"}
    assert [set(env) & {"ESKER_S3_ACCESS_KEY_ID"} for env in names(*MINIMAL)] == [set(), set()]


def test_services_route_by_readiness_and_scraping_does_not():
    found = objects(*MINIMAL)
    labels = one(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
    services = {o["metadata"]["name"]: o["spec"] for o in found if o["kind"] == "Service"}

    assert set(services) == {"rel-esker", "rel-esker-http", "rel-esker-pods"}
    for spec in services.values():
        assert spec["selector"].items() <= labels.items()
    assert "publishNotReadyAddresses" not in services["rel-esker"]
    assert "publishNotReadyAddresses" not in services["rel-esker-http"]
    assert services["rel-esker-pods"]["publishNotReadyAddresses"] is True
    container = one(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_a_changed_setting_rolls_the_pods_and_nothing_else_does():
    def checksum(*arguments):
        pod = one(objects(*MINIMAL, *arguments), "Deployment")["spec"]["template"]
        return pod["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum("--set", "standalone.replicas=3")
    assert checksum() != checksum("--set", "config.linger-ms=7")


def test_a_trial_on_a_volume_keeps_it_and_never_runs_twice():
    found = objects("--values", CHART / "ci" / "trial-values.yaml")

    assert one(found, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    claim = one(found, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    existing = ["--set", "store.directory.existingClaim=mine"]
    found = objects("--values", CHART / "ci" / "trial-values.yaml", *existing)
    assert not [o for o in found if o["kind"] == "PersistentVolumeClaim"]


def test_named_peers_never_shut_out_the_release_itself():
    found = objects("--values", CHART / "ci" / "eks-values.yaml")
    policy = one(found, "NetworkPolicy")["spec"]
    own = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "esker", "app.kubernetes.io/instance": "rel"}}}

    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == ["http", "kafka"]
    assert all(own in rule["from"] and len(rule["from"]) == 2 for rule in policy["ingress"])
    for item in found:
        if item["kind"] in ("Pod", "Deployment"):
            meta = item["metadata"] if item["kind"] == "Pod" else item["spec"]["template"]["metadata"]
            assert own["podSelector"]["matchLabels"].items() <= meta["labels"].items()
