output "dashboards" {
  description = "Name of the ConfigMap with the dashboards."
  value       = kubernetes_config_map_v1.dashboards.metadata[0].name
}
