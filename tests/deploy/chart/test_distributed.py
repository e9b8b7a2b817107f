"""Mode distributed: who runs what, who finds whom, who is let in, and what standalone has to do with it: nothing."""

import tomllib

import pytest
from conftest import CHART, MINIMAL, VARIANTS, helm, objects, one, template, workloads

DISTRIBUTED = [*MINIMAL, "--set", "mode=distributed"]
FULL = ["--values", CHART / "ci" / "distributed-values.yaml"]
SINGLE = ["--values", CHART / "ci" / "distributed-single-values.yaml"]
OF_DISTRIBUTED = [values for values in VARIANTS if values.stem.startswith("distributed")]
CLIENTS = {"rel-esker-ingest", "rel-esker-fetch"}


def settings(found: list[dict], release: str = "rel-esker") -> dict[str, dict]:
    """Each settings file, read."""
    files = one(found, "ConfigMap", release)["data"]
    return {name: tomllib.loads(text) for name, text in files.items()}


def labels(workload: dict) -> dict:
    return workload["spec"]["template"]["metadata"]["labels"]


def container(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]["containers"][0]


def selected(found: list[dict], wanted: dict) -> set[str]:
    """Whose pods have these labels; pods of the tests by their own name."""
    pods = {name: labels(workload) for name, workload in workloads(found).items()}
    pods |= {o["metadata"]["name"]: o["metadata"]["labels"] for o in found if o["kind"] == "Pod"}
    return {name for name, has in pods.items() if wanted.items() <= has.items()}


def argument(workload: dict, name: str) -> str | None:
    values = [a.split("=", 1)[1] for a in container(workload)["args"] if a.startswith(f"--{name}=")]
    return values[0] if values else None


def test_each_role_is_a_workload_of_its_own():
    found = objects(*DISTRIBUTED)

    kinds = {name: (o["kind"], o["spec"]["replicas"]) for name, o in workloads(found).items()}
    assert kinds == {
        "rel-esker-ingest": ("Deployment", 2),
        "rel-esker-fetch": ("Deployment", 2),
        "rel-esker-metadata": ("StatefulSet", 2),
    }
    assert {name: file["role"] for name, file in settings(found).items()} == {
        "ingest.toml": "ingest", "fetch.toml": "fetch", "metadata.toml": "metadata",
    }  # fmt: skip
    for workload in workloads(found).values():
        role = labels(workload)["esker.io/role"]
        assert argument(workload, "config") == f"/etc/esker/{role}.toml"


@pytest.mark.parametrize("replicas", [1, 2, 9])
def test_the_addresses_of_metadata_are_the_names_of_the_stateful_sets_pods(replicas):
    found = objects(*DISTRIBUTED, "--set", f"distributed.metadata.replicas={replicas}")
    metadata = one(found, "StatefulSet")
    service = one(found, "Service", metadata["spec"]["serviceName"])["spec"]
    ports = {port["name"]: port["containerPort"] for port in container(metadata)["ports"]}
    domain = f"{metadata['spec']['serviceName']}.ns.svc.cluster.local:{ports['internal']}"
    pods = [f"{metadata['metadata']['name']}-{number}" for number in range(metadata["spec"]["replicas"])]

    files = settings(found)
    for role in ("ingest", "fetch"):
        assert files[f"{role}.toml"]["metadata"].split(",") == [f"{pod}.{domain}" for pod in pods]
    assert len(pods) == replicas
    assert argument(metadata, "internal-advertise") == f"$(POD_NAME).{domain}"
    assert files["metadata.toml"]["internal-listen"] == f"0.0.0.0:{ports['internal']}"
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
    assert service["ports"][0]["targetPort"] == "internal" and service["ports"][0]["port"] == ports["internal"]
    assert selected(found, service["selector"]) == {"rel-esker-metadata"}


def test_services_route_to_the_roles_that_they_are_for():
    found = objects(*DISTRIBUTED)
    services = {o["metadata"]["name"]: o["spec"] for o in found if o["kind"] == "Service"}

    assert {name: selected(found, spec["selector"]) for name, spec in services.items()} == {
        "rel-esker": CLIENTS,
        "rel-esker-http": CLIENTS,
        "rel-esker-ingest": {"rel-esker-ingest"},
        "rel-esker-fetch": {"rel-esker-fetch"},
        "rel-esker-metadata": {"rel-esker-metadata"},
        "rel-esker-pods": CLIENTS | {"rel-esker-metadata"},
    }
    for spec in services.values():
        for name in selected(found, spec["selector"]):
            served = {port["name"] for port in container(workloads(found)[name])["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= served


@pytest.mark.parametrize("values", OF_DISTRIBUTED, ids=lambda path: path.stem)
def test_no_pod_belongs_to_two_workloads_or_to_two_budgets(values):
    found = objects("--values", values)

    budgets = [o["spec"]["selector"]["matchLabels"] for o in found if o["kind"] == "PodDisruptionBudget"]
    for name, workload in workloads(found).items():
        assert selected(found, workload["spec"]["selector"]["matchLabels"]) == {name}
        spread = workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert all(selected(found, one["labelSelector"]["matchLabels"]) == {name} for one in spread)
        assert sum(name in selected(found, wanted) for wanted in budgets) == 1
    assert len(budgets) == len(workloads(found))


@pytest.mark.parametrize("values", OF_DISTRIBUTED, ids=lambda path: path.stem)
def test_with_autoscaling_there_are_no_replicas_and_without_it_there_are(values):
    found = objects("--values", values)
    scaled = {o["spec"]["scaleTargetRef"]["name"]: o["spec"] for o in found if o["kind"] == "HorizontalPodAutoscaler"}

    assert scaled.keys() <= workloads(found).keys()
    for name, workload in workloads(found).items():
        assert ("replicas" in workload["spec"]) == (name not in scaled), name
    assert bool(scaled) == (values.stem == "distributed-values")


def test_an_autoscaler_has_the_bounds_of_its_pool():
    found = objects(*FULL)

    bounds = {
        o["metadata"]["name"]: (
            o["spec"]["minReplicas"],
            o["spec"]["maxReplicas"],
            o["spec"]["metrics"][0]["containerResource"]["target"]["averageUtilization"],
        )
        for o in found
        if o["kind"] == "HorizontalPodAutoscaler"
    }
    assert bounds == {"logs-ingest-a": (2, 8, 60), "logs-ingest-b": (2, 4, 50)}


def test_a_pool_has_its_own_values_over_its_roles_over_the_defaults():
    found = objects(*FULL)
    made, files = workloads(found), settings(found, "logs")

    assert set(made) == {"logs-ingest-a", "logs-ingest-b", "logs-fetch", "logs-metadata"}
    pods = {name: workload["spec"]["template"]["spec"] for name, workload in made.items()}
    assert pods["logs-ingest-b"]["nodeSelector"] == {
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": "eu-central-1b",
    }
    assert pods["logs-fetch"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    memory = {name: container(workload)["resources"]["limits"]["memory"] for name, workload in made.items()}
    assert memory == {"logs-ingest-a": "4Gi", "logs-ingest-b": "4Gi", "logs-fetch": "16Gi", "logs-metadata": "1Gi"}
    zones = {name: file["zone"] for name, file in files.items() if "zone" in file}
    assert zones == {"ingest-a.toml": "euc1-az1", "ingest-b.toml": "euc1-az2"}
    assert files["ingest-a.toml"]["cache-bytes"] == 1024 << 20 and files["fetch.toml"]["cache-bytes"] == 12288 << 20


def test_nothing_and_false_win_over_a_default(tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text("""
      defaults: {priorityClassName: high, cacheMi: 300, tolerations: [{key: a, operator: Exists}]}
      distributed:
        fetch:
          zone: z
          pdb: {enabled: false}
          autoscaling: {enabled: true}
          pools:
            - {name: x, zone: "", priorityClassName: "", cacheMi: null, tolerations: [], autoscaling: {enabled: false}}
    """)
    found = objects(*DISTRIBUTED, "--values", values)
    fetch = workloads(found)["rel-esker-fetch-x"]["spec"]
    pod, file = fetch["template"]["spec"], settings(found)["fetch-x.toml"]

    assert fetch["replicas"] == 2
    assert "tolerations" not in pod and "priorityClassName" not in pod
    assert "zone" not in file and file["cache-bytes"] == 512 << 20
    names = {(o["kind"], o["metadata"]["name"]) for o in found}
    assert ("PodDisruptionBudget", "rel-esker-fetch-x") not in names
    assert workloads(found)["rel-esker-ingest"]["spec"]["template"]["spec"]["priorityClassName"] == "high"


def test_clients_are_told_the_pod_or_the_one_address():
    pods, single = objects(*DISTRIBUTED), objects(*SINGLE)

    for name, workload in workloads(pods).items():
        assert argument(workload, "advertise") == ("[$(POD_IP)]:9092" if name in CLIENTS else None)
    assert not any("advertise" in file for file in settings(pods).values())
    assert not any(argument(workload, "advertise") for workload in workloads(single).values())
    told = {name: file.get("advertise") for name, file in settings(single).items()}
    address = "kafka.example.com:19092"
    assert told == {"ingest.toml": address, "fetch.toml": address, "metadata.toml": None}
    seen = {name: file.get("clients-see") for name, file in settings(single).items()}
    assert seen == {"ingest.toml": "single", "fetch.toml": "single", "metadata.toml": None}


def test_a_change_rolls_the_pods_that_it_is_about():
    def checksums(*arguments):
        made = workloads(objects(*DISTRIBUTED, *arguments))
        return {n: o["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for n, o in made.items()}

    def rolled(*arguments):
        before, after = checksums(), checksums(*arguments)
        return {name for name in before if before[name] != after[name]}

    assert rolled("--set", "distributed.fetch.cacheMi=700") == {"rel-esker-fetch"}
    assert rolled("--set", "distributed.ingest.replicas=5") == set()
    assert rolled("--set", "distributed.metadata.replicas=3") == CLIENTS
    assert rolled("--set", "config.linger-ms=7") == CLIENTS | {"rel-esker-metadata"}


def test_the_internal_port_is_for_the_releases_servers_only():
    for arguments in (DISTRIBUTED, FULL):
        found = objects(*arguments)
        policy = one(found, "NetworkPolicy")["spec"]

        [rule] = [rule for rule in policy["ingress"] if rule["ports"][0]["port"] == "internal"]
        [peer] = rule["from"]
        assert selected(found, peer["podSelector"]["matchLabels"]) == set(workloads(found))
        assert selected(found, policy["podSelector"]["matchLabels"]) == set(workloads(found))
    [inside] = [rule for rule in policy["egress"] if {"port": "internal", "protocol": "TCP"} in rule["ports"]]
    assert selected(found, inside["to"][0]["podSelector"]["matchLabels"]) == set(workloads(found))


def test_certificates_are_where_the_settings_look_for_them():
    found = objects(*SINGLE)

    for name, workload in workloads(found).items():
        pod = workload["spec"]["template"]["spec"]
        [mount] = [m["mountPath"] for m in container(workload)["volumeMounts"] if m["name"] == "internal-tls"]
        [secret] = [v["secret"] for v in pod["volumes"] if v["name"] == "internal-tls"]
        file = settings(found)[argument(workload, "config").rsplit("/", 1)[1]]
        assert secret == {"secretName": "internal"}, name
        files = [file[f"internal-tls-{part}"] for part in ("cert", "key", "ca")]
        assert files == [f"{mount}/cert.pem", f"{mount}/key.pem", f"{mount}/ca.pem"]
        assert file["internal-tls-name"] == "esker.internal"
    assert "internal-tls" not in template(*DISTRIBUTED).stdout


def test_every_role_asks_for_a_name_that_the_certificate_of_metadatas_pods_has():
    files = settings(objects(*DISTRIBUTED, "--set", "distributed.internalTls.existingSecret.name=internal"))

    first = files["fetch.toml"]["metadata"].split(",")[0].removesuffix(":9094")
    assert {file["internal-tls-name"] for file in files.values()} == {first}


@pytest.mark.parametrize("arguments", [DISTRIBUTED, SINGLE, FULL], ids=["minimal", "single", "full"])
def test_ingest_and_fetch_give_each_other_blocks_at_their_own_addresses(arguments):
    found = objects(*arguments)
    address = "[::]" if arguments is SINGLE else "0.0.0.0"

    for name, workload in workloads(found).items():
        ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
        assert ports["internal"] == 9094, name
        if labels(workload)["esker.io/role"] != "metadata":
            assert argument(workload, "internal-advertise") == "[$(POD_IP)]:9094"
    for file in settings(found, one(found, "ServiceAccount")["metadata"]["name"]).values():
        assert file["internal-listen"] == f"{address}:9094"


def test_standalone_has_nothing_inside():
    assert "internal" not in template(*MINIMAL).stdout


def test_the_monitor_finds_every_pod_once():
    found = objects(*FULL)
    wanted = one(found, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    services = [o for o in found if o["kind"] == "Service" and wanted <= o["metadata"]["labels"].items()]

    assert [service["metadata"]["name"] for service in services] == ["logs-pods"]
    assert selected(found, services[0]["spec"]["selector"]) == set(workloads(found))


@pytest.mark.parametrize("values", OF_DISTRIBUTED, ids=lambda path: path.stem)
def test_the_tests_have_files_and_addresses_of_the_release(values):
    found = objects("--values", values)
    pods = {o["spec"]["containers"][0]["name"]: o["spec"]["containers"][0] for o in found if o["kind"] == "Pod"}
    arguments = dict(a.removeprefix("--").split("=", 1) for a in pods["doctor"]["args"] if "=" in a)
    services = {o["metadata"]["name"]: o for o in found if o["kind"] == "Service"}

    assert arguments["config"].rsplit("/", 1)[1] in settings(found, arguments["http"].split("-http")[0])
    assert arguments["http"].split(".")[0] in services
    assert f"--bootstrap={arguments['bootstrap']}" in pods["round-trip"]["args"]
    host = arguments["bootstrap"].split(".")[0]
    assert host in services or arguments["bootstrap"] == "kafka.example.com:19092"


@pytest.mark.parametrize("values", OF_DISTRIBUTED, ids=lambda path: path.stem)
def test_every_pod_ends_as_late_as_in_standalone_mode(values):
    [pod] = [o["spec"]["template"]["spec"] for o in workloads(objects(*MINIMAL)).values()]

    for workload in workloads(objects("--values", values)).values():
        other = workload["spec"]["template"]["spec"]
        assert other["terminationGracePeriodSeconds"] == pod["terminationGracePeriodSeconds"]
        assert container(workload)["lifecycle"] == pod["containers"][0]["lifecycle"]


def test_the_longest_name_fits_every_object_and_label():
    pool = "distributed.ingest.pools[0].name=" + "p" * 20
    found = objects(*DISTRIBUTED, "--set", f"fullnameOverride={'n' * 43},{pool}")

    for item in found:
        limit = 63 if item["kind"] in ("Service", "Pod") else 253
        assert len(item["metadata"]["name"]) <= limit, item["metadata"]["name"]
    for name, workload in workloads(found).items():
        assert all(len(value) <= 63 for value in labels(workload).values())
        if workload["kind"] == "StatefulSet":
            assert len(f"{name}-0123456789") <= 63, "controller-revision-hash is a label"


def test_each_mode_ignores_the_values_of_the_other():
    assert template(*MINIMAL).stdout == template(*MINIMAL, "--set", "distributed.metadata.replicas=5").stdout
    assert template(*DISTRIBUTED).stdout == template(*DISTRIBUTED, "--set", "standalone.replicas=5").stdout


def test_the_notes_warn_of_what_was_chosen():
    def notes(*arguments):
        done = helm("install", "rel", CHART, "--namespace", "ns", "--dry-run=client", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("NOTES:")[2]

    assert "WARNING: distributed.advertise is single" in notes(*SINGLE)
    assert "no TLS (distributed.internalTls)" not in notes(*SINGLE)
    plain = notes(*DISTRIBUTED, "--set", "distributed.metadata.replicas=1")
    assert "WARNING" not in plain and "no TLS (distributed.internalTls)" in plain
    assert "rel-esker-ingest, 2 pod(s)" in plain and "nobody stands by" in plain
    assert "logs-ingest-b, 2 to 4 pods, zone euc1-az2" in notes(*FULL)
    assert "one pod leads, 1 stand(s) by" in notes(*MINIMAL) and "distributed" not in notes(*MINIMAL)
