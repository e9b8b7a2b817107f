# Everything: a VPC over three zones with a gateway endpoint, an EKS cluster, a bucket that only that endpoint
# reaches, Pod Identity, the chart, dashboards and rules.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
    helm = {
      source  = "hashicorp/helm"
      version = ">= 3.0"
    }
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = ">= 2.30"
    }
  }
}

provider "aws" {
  region = var.region
}

locals {
  cluster_access = {
    host                   = aws_eks_cluster.this.endpoint
    cluster_ca_certificate = base64decode(aws_eks_cluster.this.certificate_authority[0].data)
    exec = {
      api_version = "client.authentication.k8s.io/v1beta1"
      command     = "aws"
      args        = ["eks", "get-token", "--cluster-name", aws_eks_cluster.this.name, "--region", var.region]
    }
  }
}

provider "helm" {
  kubernetes = local.cluster_access
}

provider "kubernetes" {
  host                   = local.cluster_access.host
  cluster_ca_certificate = local.cluster_access.cluster_ca_certificate
  exec {
    api_version = local.cluster_access.exec.api_version
    command     = local.cluster_access.exec.command
    args        = local.cluster_access.exec.args
  }
}

module "endpoint" {
  source          = "../../modules/endpoint"
  vpc_id          = aws_vpc.this.id
  route_table_ids = [for table in aws_route_table.private : table.id]
}

module "bucket" {
  source          = "../../modules/bucket"
  name            = var.bucket
  prefix          = var.name
  vpc_endpoint_id = module.endpoint.id
}

module "identity" {
  source          = "../../modules/identity"
  name            = "${var.name}-bucket"
  access_policy   = module.bucket.access_policy
  cluster_name    = aws_eks_cluster.this.name
  namespace       = var.namespace
  service_account = "esker"
}

module "release" {
  source                      = "../../modules/release"
  name                        = var.name
  chart                       = var.chart
  chart_version               = var.chart_version
  image                       = var.image
  namespace                   = var.namespace
  replicas                    = 3
  bucket                      = module.bucket.name
  prefix                      = module.bucket.prefix
  region                      = var.region
  service_account_annotations = module.identity.service_account_annotations
  spread_over_zones           = true
  memory                      = "4Gi"
  depends_on                  = [module.identity, aws_eks_addon.this, aws_eks_node_group.this]
}

module "observability" {
  count     = var.monitoring_namespace == null ? 0 : 1
  source    = "../../modules/observability"
  namespace = var.monitoring_namespace
  chart     = var.chart_files
}

output "bootstrap" {
  description = "Bootstrap address inside the cluster."
  value       = module.release.bootstrap
}
