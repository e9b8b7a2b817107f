"""Rules and dashboards: well-formed, fired by the right figures, and about metrics that Esker has."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import CHART, CHECKOUT, MINIMAL, objects, one

RULES = CHART / "rules" / "esker.yaml"
DASHBOARDS = sorted(CHART.glob("dashboards/*.json"))
HERE = Path(__file__).parent


def emitted() -> set[str]:
    """Names of the metrics in the code: constants of the metrics.rs files, which tidy holds to be all."""
    names = set()
    for path in [*CHECKOUT.glob("services/*/src/**/metrics.rs"), *CHECKOUT.glob("storage/*/src/**/metrics.rs")]:
        names |= set(re.findall(r'const \w+: &str =\s+"(esker_\w+)";', path.read_text()))
    assert len(names) > 60
    return names


def named(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\besker_[a-z0-9_]+", text)}


def expressions() -> list[str]:
    panels = [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_every_metric_in_a_rule_or_dashboard_is_one_of_ours():
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    used = named("\n".join([*expressions(), *(rule["expr"] for rule in rules)]))

    assert len(used) > 25
    assert used <= emitted(), used - emitted()


def test_promtool_takes_the_rules():
    subprocess.run(["promtool", "check", "rules", RULES], check=True, capture_output=True)


def test_every_alert_fires_at_its_figures_and_not_before(tmp_path):
    tests = yaml.safe_load((HERE / "rules_test.yaml").read_text())
    tests["rule_files"] = [str(RULES)]
    path = tmp_path / "rules_test.yaml"
    path.write_text(yaml.safe_dump(tests))

    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    alerts = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def test_every_expression_of_a_dashboard_is_promql(tmp_path):
    filled = [e.replace("$__rate_interval", "1m").replace("$namespace", "n").replace("$job", "j") for e in expressions()]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(filled)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_has_ids_of_its_own_and_panels_that_do_not_overlap(path):
    panels = json.loads(path.read_text())["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


def test_the_release_carries_both_unchanged():
    found = objects("--values", CHART / "ci" / "eks-values.yaml")

    assert one(found, "PrometheusRule")["spec"] == yaml.safe_load(RULES.read_text())
    carried = one(found, "ConfigMap", "events-dashboards")["data"]
    assert {name: json.loads(text) for name, text in carried.items()} == {
        path.name: json.loads(path.read_text()) for path in DASHBOARDS
    }


def test_the_monitor_finds_exactly_the_service_of_all_pods():
    found = objects("--values", CHART / "ci" / "eks-values.yaml")
    wanted = one(found, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    services = [o for o in found if o["kind"] == "Service" and wanted <= o["metadata"]["labels"].items()]

    assert [service["metadata"]["name"] for service in services] == ["events-pods"]
    assert one(found, "ServiceMonitor")["spec"]["endpoints"][0]["port"] == services[0]["spec"]["ports"][0]["name"]


def test_without_the_operator_nothing_of_it_is_asked_for():
    assert not [o for o in objects(*MINIMAL) if o["apiVersion"].startswith("monitoring.coreos.com")]
