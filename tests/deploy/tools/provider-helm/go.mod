module esker.invalid/deploy/provider-helm

go 1.25.0

require github.com/hashicorp/terraform-provider-helm v1.3.2

tool github.com/hashicorp/terraform-provider-helm

// A dependency's own replace does not count, so it is repeated here.
replace github.com/Azure/go-autorest => github.com/Azure/go-autorest v13.3.3+incompatible

// An old dependency whose domain is gone; the same code under its author's other path.
replace vbom.ml/util => github.com/fvbommel/util v0.0.0-20180919145318-efcd4e0f9787
