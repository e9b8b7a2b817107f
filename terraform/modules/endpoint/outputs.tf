output "id" {
  description = "Id of the endpoint, for the bucket's policy."
  value       = aws_vpc_endpoint.s3.id
}
