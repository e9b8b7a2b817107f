# What the inputs become; the provider is mocked, no cluster is asked.
mock_provider "helm" {}

variables {
  chart  = "../../../helm/esker"
  bucket = "my-bucket"
  image  = { repository = "registry.example.com/esker", tag = "0.1.0" }
}

run "defaults" {
  command = apply
  assert {
    condition     = output.bootstrap == "esker.esker.svc.cluster.local:9092"
    error_message = "The Service has the release's name."
  }
  assert {
    condition     = yamldecode(output.values).store.s3.bucket == "my-bucket" && yamldecode(output.values).standalone.replicas == 2
    error_message = "Inputs are values."
  }
  assert {
    condition     = !can(yamldecode(output.values).store.s3.existingSecret) && !can(yamldecode(output.values).image.digest)
    error_message = "What is not given is the chart's default."
  }
  assert {
    condition     = helm_release.this.wait == false && length(helm_release.this.values) == 1
    error_message = "Nothing to wait for: standbys are never ready."
  }
}

run "everything_given" {
  command = apply
  variables {
    name              = "events-esker"
    replicas          = 3
    existing_secret   = "keys"
    spread_over_zones = true
    config            = { "linger-ms" = 50 }
    image             = { repository = "r", digest = "sha256:1", pull_secrets = ["p"] }
    extra_values      = ["defaults: {cacheMi: 64}"]
  }
  assert {
    condition     = output.http == "http://events-esker-http.esker.svc.cluster.local:8080"
    error_message = "HTTP has a Service of its own."
  }
  assert {
    condition = (
      yamldecode(output.values).store.s3.existingSecret.name == "keys" &&
      yamldecode(output.values).defaults.topologySpread.zone == "DoNotSchedule" &&
      yamldecode(output.values).config["linger-ms"] == 50 &&
      yamldecode(output.values).image.pullSecrets == ["p"]
    )
    error_message = "Each input has its value."
  }
  assert {
    condition     = helm_release.this.values[1] == "defaults: {cacheMi: 64}"
    error_message = "Further values come last, so they win."
  }
}

run "ten_replicas_are_refused" {
  command = plan
  variables {
    replicas = 10
  }
  expect_failures = [var.replicas]
}

run "memory_without_a_unit_is_refused" {
  command = plan
  variables {
    memory = "2"
  }
  expect_failures = [var.memory]
}

run "a_name_that_is_not_the_services_is_refused" {
  command = plan
  variables {
    name = "events"
  }
  expect_failures = [var.name]
}
