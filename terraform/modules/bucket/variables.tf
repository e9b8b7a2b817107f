variable "name" {
  description = "Name of the bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$", var.name))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, dots and dashes."
  }
}

variable "prefix" {
  description = "Prefix of the cluster's keys, without slashes at its ends."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*)?$", var.prefix))
    error_message = "A prefix has no slash at its ends, and letters, digits and _.=- between slashes."
  }
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the bucket; null: S3's own keys. Each PUT then costs a KMS request unless bucket keys help."
  type        = string
  default     = null
}

variable "versioning" {
  description = "Keep versions of deleted objects for noncurrent_days. Costs storage; protects against deletions by others."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days for which versions of deleted objects are kept, with versioning."
  type        = number
  default     = 7

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "At least a day."
  }
}

variable "require_conditional_writes" {
  description = "Let the bucket's policy refuse segments that are not written with If-None-Match."
  type        = bool
  default     = true
}

variable "vpc_endpoint_id" {
  description = "Refuse objects' traffic that does not come through this endpoint; null: do not."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete the bucket with all records in it."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
}
