output "bootstrap" {
  description = "Bootstrap address inside the cluster; null without the release."
  value       = one(module.release[*].bootstrap)
}

output "policy" {
  description = "What the user may do."
  value       = module.access.policy
}
