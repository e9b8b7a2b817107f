variable "name" {
  description = "Name of the objects."
  type        = string
  default     = "esker"
}

variable "namespace" {
  description = "Namespace that Grafana's sidecar and Prometheus watch."
  type        = string
}

variable "chart" {
  description = "Directory of the chart, whose dashboards and rules are taken."
  type        = string
}

variable "rules" {
  description = "Make a PrometheusRule; needs the Prometheus operator."
  type        = bool
  default     = true
}

variable "rule_labels" {
  description = "Labels by which Prometheus finds the rules."
  type        = map(string)
  default     = {}
}

variable "dashboard_labels" {
  description = "Labels by which Grafana's sidecar finds the dashboards."
  type        = map(string)
  default     = { grafana_dashboard = "1" }
}

variable "dashboard_annotations" {
  description = "Annotations of the dashboards, such as their folder."
  type        = map(string)
  default     = {}
}
