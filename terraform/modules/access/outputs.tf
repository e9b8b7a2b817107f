output "policy" {
  description = "The policy, as JSON."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      merge(local.list, { for key, value in local.below_prefix : key => value if var.prefix != "" }),
      {
        Sid      = "Objects"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = ["${local.bucket}/${local.prefix}*"]
      },
    ]
  })
}
