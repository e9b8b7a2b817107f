output "name" {
  description = "Name of the bucket, once its policy is in force."
  value       = aws_s3_bucket_policy.this.bucket
}

output "arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "prefix" {
  description = "Prefix of the cluster's keys."
  value       = var.prefix
}

output "access_policy" {
  description = "IAM policy (JSON) with what Esker needs, and no more."
  value       = module.access.policy
}
