variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "prefix" {
  description = "Prefix of the cluster's keys, without slashes at its ends; empty: the whole bucket."
  type        = string
  default     = ""
}

variable "partition" {
  description = "AWS partition of the ARNs: aws, aws-cn, aws-us-gov."
  type        = string
  default     = "aws"
}
