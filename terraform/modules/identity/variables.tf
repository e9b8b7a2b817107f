variable "name" {
  description = "Name of the role."
  type        = string
}

variable "kind" {
  description = "pod-identity (the EKS add-on eks-pod-identity-agent must be there), or irsa."
  type        = string
  default     = "pod-identity"

  validation {
    condition     = contains(["pod-identity", "irsa"], var.kind)
    error_message = "pod-identity or irsa."
  }
}

variable "access_policy" {
  description = "IAM policy (JSON) of the role: output access_policy of the module bucket."
  type        = string
}

variable "namespace" {
  description = "Namespace of the release."
  type        = string
}

variable "service_account" {
  description = "ServiceAccount of the pods."
  type        = string
}

variable "cluster_name" {
  description = "Name of the EKS cluster, for pod-identity."
  type        = string
  default     = null
}

variable "oidc_provider_arn" {
  description = "ARN of the cluster's IAM OIDC provider, for irsa."
  type        = string
  default     = null
}

variable "oidc_issuer_url" {
  description = "URL of the cluster's OIDC issuer, for irsa."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the role."
  type        = map(string)
  default     = {}
}
