variable "store" {
  description = "Endpoint of MinIO from here; STORE_KEY and STORE_SECRET are its administrator."
  type        = string
  default     = "http://127.0.0.1:9000"
}

variable "store_in_cluster" {
  description = "The same from inside the cluster; empty: as from here."
  type        = string
  default     = ""
}

variable "bucket" {
  description = "Bucket to make, and name of its user."
  type        = string
  default     = "esker-local"

  validation {
    condition     = can(regex("^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$", var.bucket))
    error_message = "A bucket name has 3 to 63 lower-case letters, digits, dots and dashes."
  }
}

variable "prefix" {
  description = "Prefix of the cluster's keys."
  type        = string
  default     = "one"
}

variable "user_secret" {
  description = "Secret key of the user; this one is for a store on one machine."
  type        = string
  default     = "esker-local-secret"
  sensitive   = true
}

variable "release" {
  description = "Install the chart too; needs KUBE_CONFIG_PATH."
  type        = bool
  default     = true
}

variable "chart" {
  description = "Path of the chart."
  type        = string
  default     = "../../../helm/esker"
}

variable "image" {
  description = "The image, in a place where the cluster finds it."
  type        = string
  default     = "localhost/esker"
}

variable "image_tag" {
  description = "Its tag."
  type        = string
  default     = "0.1.0"
}

variable "replicas" {
  description = "One leads, the others stand by."
  type        = number
  default     = 2
}
