variable "vpc_id" {
  description = "The VPC whose pods use the bucket."
  type        = string
}

variable "route_table_ids" {
  description = "Route tables of the subnets in which the pods run."
  type        = list(string)

  validation {
    condition     = length(var.route_table_ids) > 0
    error_message = "Without a route table nothing goes through the endpoint."
  }
}

variable "tags" {
  description = "Tags of the endpoint."
  type        = map(string)
  default     = {}
}
