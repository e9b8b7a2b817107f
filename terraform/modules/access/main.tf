# The least that Esker needs of a bucket, as an IAM policy document. Pure: no provider, so that the same
# policy is given to AWS and to the MinIO of the tests, where Esker runs with it and nothing else.

locals {
  prefix = var.prefix == "" ? "" : "${var.prefix}/"
  bucket = "arn:${var.partition}:s3:::${var.bucket}"

  list = {
    Sid      = "List"
    Effect   = "Allow"
    Action   = ["s3:ListBucket"]
    Resource = [local.bucket]
  }

  below_prefix = {
    Condition = { StringLike = { "s3:prefix" = ["${local.prefix}*"] } }
  }
}
