# Dashboards and alerts, from the chart's own files, for namespaces that Grafana and Prometheus watch and the
# release is not in. Inside the release's namespace the chart's metrics.* values do the same.

resource "kubernetes_config_map_v1" "dashboards" {
  metadata {
    name        = "${var.name}-dashboards"
    namespace   = var.namespace
    labels      = var.dashboard_labels
    annotations = var.dashboard_annotations
  }
  data = { for file in fileset("${var.chart}/dashboards", "*.json") : file => file("${var.chart}/dashboards/${file}") }
}

resource "kubernetes_manifest" "rules" {
  count = var.rules ? 1 : 0
  manifest = {
    apiVersion = "monitoring.coreos.com/v1"
    kind       = "PrometheusRule"
    metadata   = { name = var.name, namespace = var.namespace, labels = var.rule_labels }
    spec       = yamldecode(file("${var.chart}/rules/esker.yaml"))
  }
}
