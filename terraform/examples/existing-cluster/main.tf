# Esker in a cluster that is there, on a bucket that is there, with credentials from a secret that is there.

terraform {
  required_version = ">= 1.9"
  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = ">= 1.3"
    }
  }
}

provider "helm" {} # the cluster comes from KUBE_CONFIG_PATH

module "release" {
  source          = "../../modules/release"
  chart           = var.chart
  chart_version   = var.chart_version
  image           = var.image
  namespace       = var.namespace
  replicas        = var.replicas
  bucket          = var.bucket
  prefix          = var.prefix
  region          = var.region
  endpoint        = var.endpoint
  existing_secret = var.existing_secret
  memory          = var.memory
  kafka_from      = [{ namespaceSelector = { matchLabels = { "kafka-client" = "true" } } }]
}

output "bootstrap" {
  description = "Bootstrap address inside the cluster."
  value       = module.release.bootstrap
}
