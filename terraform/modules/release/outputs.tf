output "bootstrap" {
  description = "Bootstrap address inside the cluster."
  value       = "${helm_release.this.name}.${helm_release.this.namespace}.svc.cluster.local:9092"
}

output "http" {
  description = "Address of the HTTP API inside the cluster."
  value       = "http://${helm_release.this.name}-http.${helm_release.this.namespace}.svc.cluster.local:8080"
}

output "values" {
  description = "The values that the chart was given, as YAML."
  value       = yamlencode(local.values)
}
