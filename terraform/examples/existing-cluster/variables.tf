variable "chart" {
  description = "Path or OCI address of the chart."
  type        = string
  default     = "../../../helm/esker"
}

variable "chart_version" {
  description = "Version of a chart in a registry; null for a path."
  type        = string
  default     = null
}

variable "image" {
  description = "The image."
  type        = object({ repository = string, tag = optional(string), digest = optional(string) })
}

variable "namespace" {
  description = "Namespace of the release."
  type        = string
  default     = "esker"
}

variable "replicas" {
  description = "One leads, the others stand by."
  type        = number
  default     = 2
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
  description = "Region of the bucket."
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

variable "memory" {
  description = "Memory of a pod."
  type        = string
  default     = "2Gi"
}
