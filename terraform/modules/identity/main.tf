# An IAM role that the pods' ServiceAccount takes on: EKS Pod Identity, or IRSA where that is not to be had
# (Fargate, clusters of one's own).

locals {
  is_pod_identity = var.kind == "pod-identity"
  issuer          = var.oidc_issuer_url == null ? "" : trimprefix(var.oidc_issuer_url, "https://")
}

data "aws_iam_policy_document" "trust" {
  dynamic "statement" {
    for_each = local.is_pod_identity ? [1] : []
    content {
      actions = ["sts:AssumeRole", "sts:TagSession"] # the agent tags its sessions: refused without
      principals {
        type        = "Service"
        identifiers = ["pods.eks.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = local.is_pod_identity ? [] : [1]
    content {
      actions = ["sts:AssumeRoleWithWebIdentity"]
      principals {
        type        = "Federated"
        identifiers = [var.oidc_provider_arn]
      }
      condition {
        test     = "StringEquals"
        variable = "${local.issuer}:sub"
        values   = ["system:serviceaccount:${var.namespace}:${var.service_account}"]
      }
      condition {
        test     = "StringEquals"
        variable = "${local.issuer}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = local.is_pod_identity || (var.oidc_provider_arn != null && var.oidc_issuer_url != null)
      error_message = "kind = \"irsa\" needs oidc_provider_arn and oidc_issuer_url."
    }
    precondition {
      condition     = !local.is_pod_identity || var.cluster_name != null
      error_message = "kind = \"pod-identity\" needs cluster_name."
    }
  }
}

resource "aws_iam_role_policy" "bucket" {
  name   = "bucket"
  role   = aws_iam_role.this.id
  policy = var.access_policy
}

resource "aws_eks_pod_identity_association" "this" {
  count           = local.is_pod_identity ? 1 : 0
  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.this.arn
  tags            = var.tags
}
