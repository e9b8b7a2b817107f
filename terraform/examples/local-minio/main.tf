# A bucket with a user of its own in a local MinIO, and Esker in a local cluster with that user's rights only.
# The bucket is made by a script (python3 with the PyPI package minio), so that no provider for MinIO is needed.

terraform {
  required_version = ">= 1.9"
  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = ">= 1.3"
    }
  }
}

module "access" {
  source = "../../modules/access"
  bucket = var.bucket
  prefix = var.prefix
}

resource "terraform_data" "bucket" {
  input = {
    store  = var.store
    bucket = var.bucket
    policy = module.access.policy
    script = abspath("${path.module}/bucket.py")
  }
  triggers_replace = [var.store, var.bucket, module.access.policy]

  provisioner "local-exec" {
    command = "python3 ${self.input.script} create"
    environment = {
      STORE       = self.input.store
      BUCKET      = self.input.bucket
      POLICY      = self.input.policy
      USER_SECRET = var.user_secret
    }
  }

  # Deletes the bucket with every record in it: this is an example on one machine.
  provisioner "local-exec" {
    when    = destroy
    command = "python3 ${self.output.script} delete"
    environment = {
      STORE  = self.output.store
      BUCKET = self.output.bucket
    }
  }
}

# The cluster comes from KUBE_CONFIG_PATH: the provider's block differs between its versions.
provider "helm" {}

module "release" {
  count           = var.release ? 1 : 0
  source          = "../../modules/release"
  chart           = var.chart
  image           = { repository = var.image, tag = var.image_tag }
  replicas        = var.replicas
  bucket          = terraform_data.bucket.output.bucket
  prefix          = var.prefix
  region          = "us-east-1"
  endpoint        = var.store_in_cluster == "" ? var.store : var.store_in_cluster
  existing_secret = "esker-store"
  memory          = "1Gi"
  cpu             = "250m"
  extra_values = [yamlencode({
    extraObjects = [{
      apiVersion = "v1"
      kind       = "Secret"
      metadata   = { name = "esker-store" }
      stringData = { "access-key-id" = var.bucket, "secret-access-key" = var.user_secret }
    }]
  })]
}
