"""prometheus.py config NAMESPACE RULES < RENDERED: Prometheus' settings that scrape what the rendered ServiceMonitor selects.
prometheus.py holds ADDRESS PODS: every pod is scraped, the rules work, and no alert fires."""

import json
import sys
import urllib.parse
import urllib.request

import yaml


def config(namespace: str, rules: str) -> None:
    rendered = [item for item in yaml.safe_load_all(sys.stdin) if item]
    [monitor] = [item for item in rendered if item["kind"] == "ServiceMonitor"]
    [endpoint] = monitor["spec"]["endpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    [service] = [item for item in rendered if item["kind"] == "Service" and wanted <= item["metadata"]["labels"].items()]
    [port] = [port["port"] for port in service["spec"]["ports"] if port["name"] == endpoint["port"]]
    name = service["metadata"]["name"]
    # Debian's build knows no Kubernetes; the names of a headless Service lead to each of its pods.
    pods = {"names": [f"{name}.{namespace}.svc.cluster.local"], "type": "A", "port": port, "refresh_interval": "2s"}
    labels = [{"target_label": label, "replacement": value} for label, value in [("namespace", namespace), ("job", name)]]
    scrape = {"job_name": "esker", "scrape_interval": "2s", "metrics_path": endpoint["path"]}
    scrape |= {"dns_sd_configs": [pods], "relabel_configs": labels}
    print(yaml.safe_dump({"global": {"evaluation_interval": "2s"}, "rule_files": [rules], "scrape_configs": [scrape]}))


def ask(address: str, path: str, **query: str):
    url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)["data"]


def holds(address: str, pods: str) -> None:
    up = ask(address, "query", query="up == 1")["result"]
    figures = ask(address, "query", query="sum by (instance) (esker_object_requests_total) > 0")["result"]
    rules = [rule for group in ask(address, "rules")["groups"] for rule in group["rules"]]
    assert len({sample["metric"]["instance"] for sample in up}) == len(up) == int(pods), up
    assert len(figures) == int(pods), figures
    assert rules and all(rule["health"] == "ok" for rule in rules), [rule for rule in rules if rule["health"] != "ok"]
    assert not [rule["name"] for rule in rules if rule["state"] == "firing"]
    print(f"{len(up)} pods scraped, {len(rules)} rules evaluated, none fires")


{"config": config, "holds": holds}[sys.argv[1]](*sys.argv[2:])
