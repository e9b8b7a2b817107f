variable "name" {
  description = "Name of the release, the cluster and the prefix; esker is part of it."
  type        = string
  default     = "esker"
}

variable "region" {
  description = "AWS region."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket to make."
  type        = string
}

variable "image" {
  description = "The image."
  type        = object({ repository = string, tag = optional(string), digest = optional(string) })
}

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

variable "chart_files" {
  description = "Directory of the chart, whose dashboards and rules are taken."
  type        = string
  default     = "../../../helm/esker"
}

variable "namespace" {
  description = "Namespace of the release."
  type        = string
  default     = "esker"
}

variable "monitoring_namespace" {
  description = "Namespace for dashboards and rules; needs the Prometheus operator. null: none."
  type        = string
  default     = null
}

variable "kubernetes_version" {
  description = "Kubernetes version of the EKS cluster."
  type        = string
  default     = "1.33"
}

variable "instance_types" {
  description = "Instance types of the nodes. Network bandwidth matters most."
  type        = list(string)
  default     = ["m6in.large"]
}

variable "cidr" {
  description = "Addresses of the VPC."
  type        = string
  default     = "10.0.0.0/16"
}
