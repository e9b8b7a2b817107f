output "role_arn" {
  description = "ARN of the role."
  value       = aws_iam_role.this.arn
}

output "service_account_annotations" {
  description = "Annotations that the ServiceAccount needs: none with pod-identity."
  value       = local.is_pod_identity ? {} : { "eks.amazonaws.com/role-arn" = aws_iam_role.this.arn }
}
