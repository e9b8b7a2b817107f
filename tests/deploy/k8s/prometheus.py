"""prometheus.py config NAMESPACE RULES < RENDERED: Prometheus' settings that scrape what the rendered ServiceMonitor selects.
prometheus.py holds ADDRESS PODS: every pod is scraped, the rules work, and no alert fires."""

import json
import sys
import urllib.parse
import urllib.request

import yaml


def config(namespace: str, rules: str) -> None:
    [monitor] = [item for item in yaml.safe_load_all(sys.stdin) if item and item["kind"] == "ServiceMonitor"]
    [endpoint] = monitor["spec"]["endpoints"]
    wanted = {f"__meta_kubernetes_service_label_{key}": value for key, value in monitor["spec"]["selector"]["matchLabels"].items()}
    wanted = {"".join(c if c.isalnum() else "_" for c in name): value for name, value in wanted.items()}
    wanted["__meta_kubernetes_endpoint_port_name"] = endpoint["port"]
    keep = [{"source_labels": [name], "regex": value, "action": "keep"} for name, value in wanted.items()]
    labels = {"__meta_kubernetes_namespace": "namespace", "__meta_kubernetes_pod_name": "pod", "__meta_kubernetes_service_name": "job"}
    labels = [{"source_labels": [name], "target_label": target} for name, target in labels.items()]
    found = {"role": "endpoints", "kubeconfig_file": "kubeconfig", "namespaces": {"names": [namespace]}}
    scrape = {"job_name": "esker", "scrape_interval": "2s", "metrics_path": endpoint.get("path", "/metrics")}
    scrape |= {"kubernetes_sd_configs": [found], "relabel_configs": keep + labels}
    print(yaml.safe_dump({"global": {"evaluation_interval": "2s"}, "rule_files": [rules], "scrape_configs": [scrape]}))


def ask(address: str, path: str, **query: str):
    url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)["data"]


def holds(address: str, pods: str) -> None:
    up = ask(address, "query", query="up == 1")["result"]
    figures = ask(address, "query", query="sum by (pod) (esker_object_requests_total) > 0")["result"]
    rules = [rule for group in ask(address, "rules")["groups"] for rule in group["rules"]]
    assert len({sample["metric"]["pod"] for sample in up}) == len(up) == int(pods), up
    assert len(figures) == int(pods), figures
    assert rules and all(rule["health"] == "ok" for rule in rules), [rule for rule in rules if rule["health"] != "ok"]
    assert not [rule["name"] for rule in rules if rule["state"] == "firing"]
    print(f"{len(up)} pods scraped, {len(rules)} rules evaluated, none fires")


{"config": config, "holds": holds}[sys.argv[1]](*sys.argv[2:])
