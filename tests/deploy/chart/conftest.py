"""Renders the chart as Helm does, for every test."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[3]
CHART = CHECKOUT / "helm" / "esker"
VARIANTS = sorted(CHART.glob("ci/*-values.yaml"))
MINIMAL = ["--set", "store.s3.bucket=my-bucket"]


def helm(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["helm", *map(str, arguments)], capture_output=True, text=True)


def template(*arguments: str) -> subprocess.CompletedProcess:
    return helm("template", "rel", CHART, "--namespace", "ns", *arguments)


def objects(*arguments: str) -> list[dict]:
    """What a release with these arguments consists of."""
    done = template(*arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def one(found: list[dict], kind: str, name: str = "") -> dict:
    [match] = [o for o in found if o["kind"] == kind and name in ("", o["metadata"]["name"])]
    return match


def workloads(found: list[dict]) -> dict[str, dict]:
    """What makes the server's pods, by name."""
    return {o["metadata"]["name"]: o for o in found if o["kind"] in ("Deployment", "StatefulSet")}


def containers(found: list[dict]):
    """Each pod's spec and container, the tests' too."""
    pods = [item["spec"]["template"]["spec"] for item in workloads(found).values()]
    for pod in pods + [item["spec"] for item in found if item["kind"] == "Pod"]:
        for container in pod["containers"]:
            yield pod, container


@pytest.fixture(scope="session")
def schema() -> dict:
    return json.loads((CHART / "values.schema.json").read_text())


@pytest.fixture(scope="session")
def defaults() -> dict:
    return yaml.safe_load((CHART / "values.yaml").read_text())
