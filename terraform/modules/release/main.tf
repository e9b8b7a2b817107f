# The chart, with values from typed inputs. One YAML document, never `set`, whose syntax differs between versions
# of the provider.

locals {
  values = {
    image = merge(
      { repository = var.image.repository },
      { for key, value in { tag = var.image.tag, digest = var.image.digest } : key => value if value != null },
      length(var.image.pull_secrets) == 0 ? {} : { pullSecrets = var.image.pull_secrets },
    )
    mode       = "standalone"
    standalone = { replicas = var.replicas }
    store = {
      type = "s3"
      s3 = merge(
        {
          bucket   = var.bucket
          prefix   = var.prefix
          region   = var.region
          endpoint = var.endpoint
        },
        var.existing_secret == "" ? {} : { existingSecret = { name = var.existing_secret } },
      )
    }
    config         = var.config
    serviceAccount = { name = var.service_account, annotations = var.service_account_annotations }
    defaults = {
      resources      = { memory = var.memory, cpu = var.cpu }
      topologySpread = { zone = var.spread_over_zones ? "DoNotSchedule" : "ScheduleAnyway" }
    }
    networkPolicy = { kafkaFrom = var.kafka_from, httpFrom = var.http_from }
    metrics = {
      serviceMonitor = { enabled = var.monitoring }
    }
  }
}

resource "helm_release" "this" {
  name             = var.name
  namespace        = var.namespace
  create_namespace = var.create_namespace
  chart            = var.chart
  version          = var.chart_version
  timeout          = var.timeout_seconds
  # Standbys are never ready, so there is nothing that Helm could wait for: `helm test` shows that it works.
  wait   = false
  values = concat([yamlencode(local.values)], var.extra_values)
}
