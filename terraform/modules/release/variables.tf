variable "name" {
  description = "Name of the release, and of its objects."
  type        = string
  default     = "esker"

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$", var.name)) && strcontains(var.name, "esker")
    error_message = "At most 52 lower-case letters, digits and dashes, with esker among them: it is the Service's name too."
  }
}

variable "namespace" {
  description = "Namespace of the release."
  type        = string
  default     = "esker"
}

variable "create_namespace" {
  description = "Make the namespace; `terraform destroy` leaves it."
  type        = bool
  default     = true
}

variable "chart" {
  description = "Path or OCI address of the chart."
  type        = string
}

variable "chart_version" {
  description = "Version of a chart in a registry; null for a path."
  type        = string
  default     = null
}

variable "image" {
  description = "The image."
  type = object({
    repository   = string
    tag          = optional(string)
    digest       = optional(string)
    pull_secrets = optional(list(string), [])
  })
}

variable "replicas" {
  description = "One leads, the others stand by."
  type        = number
  default     = 2

  validation {
    condition     = var.replicas >= 1 && var.replicas <= 9 && floor(var.replicas) == var.replicas
    error_message = "1 to 9."
  }
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "prefix" {
  description = "Prefix of the cluster's keys."
  type        = string
  default     = ""
}

variable "region" {
  description = "Region of the bucket; empty: AWS's own search."
  type        = string
  default     = ""
}

variable "endpoint" {
  description = "URL of a store other than AWS."
  type        = string
  default     = ""
}

variable "existing_secret" {
  description = "Secret with access-key-id and secret-access-key; empty: the ServiceAccount's identity."
  type        = string
  default     = ""
}

variable "config" {
  description = "Settings of `esker serve`, by name."
  type        = map(any)
  default     = { "log-format" = "json" }
}

variable "service_account" {
  description = "Name of the ServiceAccount that the release makes."
  type        = string
  default     = "esker"
}

variable "service_account_annotations" {
  description = "Output service_account_annotations of the module identity."
  type        = map(string)
  default     = {}
}

variable "memory" {
  description = "Memory of a pod, request and limit: MiB or GiB."
  type        = string
  default     = "2Gi"

  validation {
    condition     = can(regex("^[1-9][0-9]{0,6}(Mi|Gi)$", var.memory))
    error_message = "Such as 2Gi or 1536Mi."
  }
}

variable "cpu" {
  description = "CPU that a pod asks for."
  type        = string
  default     = "1"
}

variable "spread_over_zones" {
  description = "Rather do not schedule a pod than put it beside another in a zone."
  type        = bool
  default     = false
}

variable "kafka_from" {
  description = "Peers of the NetworkPolicy that may use Kafka; empty: everybody."
  type        = any
  default     = []
}

variable "http_from" {
  description = "Peers of the NetworkPolicy that may use HTTP; empty: everybody."
  type        = any
  default     = []
}

variable "monitoring" {
  description = "Make a ServiceMonitor; needs the Prometheus operator."
  type        = bool
  default     = false
}

variable "timeout_seconds" {
  description = "For each step of Helm's."
  type        = number
  default     = 300
}

variable "extra_values" {
  description = "YAML documents with further values, which beat the others."
  type        = list(string)
  default     = []
}
