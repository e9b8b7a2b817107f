# One Kubernetes node in a network namespace: API server, controllers, scheduler, kubelet, kube-proxy, DNS, and MinIO
# beside them. Sourced by run. It has no way out of its namespace, and `node_down` ends only what `node_up` started.
# Needs root. What is special about the machine of the tests (cgroup v1, few capabilities) stands in conf/.

RUN=$deploy_cache/node
NS=${ESKER_K8S_NS:-esker-k8s}
NODE=node-1 NODE_IP=10.77.0.1 POD_CIDR=10.78.0.0/24 SERVICE_CIDR=10.79.0.0/24 API_IP=10.79.0.1
STORE_KEY=esker-test STORE_SECRET=esker-test-secret
minio=${ESKER_CACHE:-$HOME/.cache/esker}/bin/minio
export KUBECONFIG=$RUN/kubeconfig

in_ns() { nsenter --net="/run/netns/$NS" -- "$@"; }
k() { in_ns kubectl "$@"; }
h() { in_ns helm "$@"; }
ctr_() { ctr --address "$RUN/containerd.sock" --namespace k8s.io "$@"; }

start() { # start NAME CMD...: inside the namespace; its pid and log are kept
  local name=$1
  shift
  nsenter --net="/run/netns/$NS" -- setsid "$@" >"$RUN/log/$name.log" 2>&1 </dev/null &
  echo $! >"$RUN/pid/$name"
}

within() { # within SECONDS WHAT CMD...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { say "not in time: $what"; return 1; }
    sleep 0.2
  done
}

node_network() {
  ip netns add "$NS"
  in_ns ip link set lo up
  in_ns ip link add node0 type veth peer name node0peer # both ends here: carrier, and no way out
  in_ns ip addr add "$NODE_IP/24" dev node0
  in_ns ip link set node0 up
  in_ns ip link set node0peer up
  in_ns ip route add default dev node0
  in_ns sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

node_cgroups() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup/$NS"
  else
    find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d -printf "%p/$NS\n"
  fi
}

node_make_cgroups() {
  local dir file
  for dir in $(node_cgroups); do
    mkdir -p "$dir"
    for file in cpuset.cpus cpuset.mems; do # v1: empty until they are set
      if [ -e "$dir/$file" ] && [ -z "$(cat "$dir/$file")" ]; then cat "${dir%/*}/$file" >"$dir/$file"; fi
    done
  done
}

node_cert() { # node_cert NAME SUBJECT [SAN]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out "$1.crt" \
    -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\n%s\n' "${3:+subjectAltName=$3}") 2>/dev/null
}

node_certificates() (
  cd "$RUN/pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt 2>/dev/null
  node_cert apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$NODE_IP,IP:$API_IP"
  node_cert kubelet "/CN=$NODE" "DNS:$NODE,IP:$NODE_IP"
  node_cert admin /O=system:masters/CN=admin
  openssl ecparam -name prime256v1 -genkey -noout -out sa.key
  openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
)

node_kubeconfig() {
  cat >"$KUBECONFIG" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://$NODE_IP:6443", certificate-authority: $RUN/pki/ca.crt}}]
users: [{name: admin, user: {client-certificate: $RUN/pki/admin.crt, client-key: $RUN/pki/admin.key}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
YAML
}

node_api() {
  start etcd etcd --data-dir "$RUN/etcd" --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  start kube-apiserver kube-apiserver --advertise-address="$NODE_IP" --secure-port=6443 \
    --etcd-servers=http://127.0.0.1:2379 --client-ca-file="$RUN/pki/ca.crt" \
    --tls-cert-file="$RUN/pki/apiserver.crt" --tls-private-key-file="$RUN/pki/apiserver.key" \
    --service-account-key-file="$RUN/pki/sa.pub" --service-account-signing-key-file="$RUN/pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-cluster-ip-range="$SERVICE_CIDR" --authorization-mode=Node,RBAC --allow-privileged=true \
    --kubelet-preferred-address-types=InternalIP --kubelet-client-certificate="$RUN/pki/admin.crt" \
    --kubelet-client-key="$RUN/pki/admin.key"
  within 90 "API server" k get --raw /readyz
  start kube-controller-manager kube-controller-manager --kubeconfig="$KUBECONFIG" --leader-elect=false \
    --use-service-account-credentials=true --root-ca-file="$RUN/pki/ca.crt" \
    --service-account-private-key-file="$RUN/pki/sa.key"
  start kube-scheduler kube-scheduler --kubeconfig="$KUBECONFIG" --leader-elect=false
}

node_load() { # node_load ARCHIVE...: docker-archives into containerd; the pause image is never removed
  local archive
  for archive; do ctr_ images import "$archive" >/dev/null; done
  for archive in $(ctr_ images ls -q | grep /pause: || true); do
    ctr_ images label "$archive" io.cri-containerd.pinned=pinned >/dev/null
  done
}

node_is_ready() {
  k get node "$NODE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx True
}

node_up() {
  [ ! -e "$RUN" ] || node_down
  mkdir -p "$RUN"/{pki,log,pid,cni,etcd,kubelet,pod-logs,minio}
  # The kubelet sets these for the machine; they are put back.
  sysctl -e kernel.panic kernel.panic_on_oops vm.overcommit_memory vm.panic_on_oom kernel.keys.root_maxbytes \
    kernel.keys.root_maxkeys >"$RUN/sysctl.before"
  node_network
  node_make_cgroups
  node_certificates
  node_kubeconfig
  : >"$RUN/empty-resolv.conf"
  printf 'nameserver %s\n' "$NODE_IP" >"$RUN/resolv.conf"
  local file
  for file in containerd.toml kubelet.yaml kube-proxy.yaml Corefile cni.conflist; do
    sed -e "s#@RUN@#$RUN#g; s#@NODE_IP@#$NODE_IP#g; s#@POD_CIDR@#$POD_CIDR#g; s#@NS@#$NS#g" \
      "$deploy_src/k8s/conf/$file" >"$RUN/$file"
  done
  mv "$RUN/cni.conflist" "$RUN/cni/10-pods.conflist"
  start containerd containerd --config "$RUN/containerd.toml"
  start minio env MINIO_ROOT_USER="$STORE_KEY" MINIO_ROOT_PASSWORD="$STORE_SECRET" "$minio" server --quiet \
    --address "$NODE_IP:9000" --console-address 127.0.0.1:9001 "$RUN/minio"
  node_api
  within 20 containerd ctr_ version
  node_load "$@"
  start kubelet kubelet --config="$RUN/kubelet.yaml" --kubeconfig="$KUBECONFIG" --hostname-override="$NODE" \
    --node-ip="$NODE_IP" --root-dir="$RUN/kubelet" --cert-dir="$RUN/pki" --tls-cert-file="$RUN/pki/kubelet.crt" \
    --tls-private-key-file="$RUN/pki/kubelet.key" \
    --node-labels=topology.kubernetes.io/zone=zone-a,topology.kubernetes.io/region=local
  start kube-proxy kube-proxy --config="$RUN/kube-proxy.yaml"
  start coredns coredns -conf "$RUN/Corefile"
  within 90 "the node is ready" node_is_ready
  within 30 "the default service account" k -n default get serviceaccount default # the first pod needs it
  within 30 "MinIO" in_ns curl -sf "http://$NODE_IP:9000/minio/health/live"
}

node_alive() { grep -q '^State:.[^ZX]' "/proc/${1:-none}/status" 2>/dev/null; } # a zombie still takes signals

node_stop() { # node_stop NAME...: asked, and after a second made
  local name pid
  for name; do kill "$(cat "$RUN/pid/$name" 2>/dev/null)" 2>/dev/null || true; done
  for name; do
    pid=$(cat "$RUN/pid/$name" 2>/dev/null) || continue
    for _ in 1 2 3 4 5 6 7 8 9 10; do node_alive "$pid" || break; sleep 0.1; done
    if node_alive "$pid"; then kill -9 "$pid" || true; fi
  done
}

node_down() {
  [ -e "$RUN" ] || return 0
  node_stop prometheus kubelet kube-proxy coredns minio kube-scheduler kube-controller-manager
  local id path pid dir
  if [ -S "$RUN/containerd.sock" ]; then # pods outlive the kubelet
    for id in $(ctr_ tasks ls -q 2>/dev/null); do ctr_ tasks kill -s SIGKILL "$id" 2>/dev/null || true; done
    sleep 0.5
    for id in $(ctr_ containers ls -q 2>/dev/null); do
      ctr_ tasks rm -f "$id" >/dev/null 2>&1 || true
      ctr_ containers rm "$id" 2>/dev/null || true
    done
  fi
  node_stop kube-apiserver etcd containerd
  for path in $(grep -l -- "$RUN/containerd.sock" /proc/[0-9]*/cmdline 2>/dev/null || true); do # shims of ours
    pid=${path#/proc/}
    kill -9 "${pid%/cmdline}" 2>/dev/null || true
  done
  awk '{print $2}' /proc/mounts | grep -F -- "$RUN/" | sort -r | while read -r path; do umount -l "$path" 2>/dev/null || true; done
  ip netns del "$NS" 2>/dev/null || true
  for dir in $(node_cgroups); do find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  if [ -s "$RUN/sysctl.before" ]; then sysctl -q -p "$RUN/sysctl.before" 2>/dev/null || true; fi
  rm -rf "$RUN"
}
