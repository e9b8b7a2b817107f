# What every part of the run uses: steps, clients in pods, load, deaths. Sourced by run, behind node.sh.

namespace=esker
address=esker.$namespace.svc.cluster.local:9092
release=app.kubernetes.io/instance=esker
passed=0

step() { # step WHAT CMD...: in a subshell of its own, else `set -e` would not hold inside CMD
  local what=$1 begin=$EPOCHREALTIME status
  shift
  set +e
  (set -e; "$@") >"$RUN/log/step.log" 2>&1
  status=$?
  set -e
  if ((status != 0)); then
    say "FAILED: $what"
    cat "$RUN/log/step.log"
    look_around || true
    exit 1
  fi
  awk -v begin="$begin" -v now="$EPOCHREALTIME" -v what="$what" 'BEGIN { printf "%6.1f s  %s\n", now - begin, what }'
  passed=$((passed + 1))
}

look_around() { # what a failure leaves, before the node is taken away
  local pod
  k get pods -A -o wide
  kn get events --sort-by=.lastTimestamp | tail -30
  for pod in $(kn get pods -o name); do
    echo "--- $pod"
    kn logs "$pod" --tail=15
    kn logs "$pod" --previous --tail=15 2>/dev/null
  done
}

kn() { k -n "$namespace" "$@"; }
# A client outside any pod, with the cluster's names.
client() {
  # shellcheck disable=SC2016 # expanded inside
  in_ns unshare --mount --propagation private bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$RUN/resolv.conf" "$@"
}
servers() { kn get pods -l app.kubernetes.io/component=server "$@"; }
pods_are() { [ "$(servers -o name | wc -l)" = "$1" ]; }
ip_of() { kn get pod "${1#pod/}" -o 'jsonpath={.status.podIP}'; }
metrics_of() { in_ns curl -sf --max-time 5 "http://$(ip_of "$1"):8080/metrics"; }

has_ended() { case $(k -n clients get pod "$1" -o 'jsonpath={.status.phase}') in Succeeded | Failed) ;; *) return 1 ;; esac; }
outcome_of() { # outcome_of POD SECONDS: waits for its end, prints what it wrote, removes it
  local phase
  within "$2" "the end of the pod $1" has_ended "$1"
  phase=$(k -n clients get pod "$1" -o 'jsonpath={.status.phase}')
  k -n clients logs "$1"
  k -n clients delete pod "$1" --grace-period=1 >&2
  [ "$phase" = Succeeded ]
}
esker_pod() { # esker_pod NAME ARGS...: Esker's own client in a pod
  local name=$1
  shift
  k -n clients run "$name" --restart=Never --image="localhost/esker:$version" --image-pull-policy=Never \
    --env="ESKER_BOOTSTRAP=$address" -- "$@" >&2
  outcome_of "$name" 90
}

# A pod on the pods' network with the cluster's names, and with this machine's programs, which it may only read.
machine_pod() { # machine_pod NAME CMD...
  local name=$1
  shift
  mkdir -p "$RUN/clients/$name"
  python3 - "$name" "$deploy_src/k8s" "$RUN/clients/$name" "$@" <<'PY' | k apply -f - >&2
import json, sys
name, scripts, shared, *command = sys.argv[1:]
places = {"usr": ("/usr", "/usr"), "lib": ("/usr/lib", "/lib"), "lib64": ("/usr/lib64", "/lib64"),
          "scripts": (scripts, "/scripts"), "shared": (shared, "/shared")}
container = {"name": "client", "image": "localhost/pause:1", "imagePullPolicy": "Never", "command": command,
             "volumeMounts": [{"name": n, "mountPath": inside, "readOnly": True} for n, (_, inside) in places.items()]}
volumes = [{"name": n, "hostPath": {"path": outside, "type": "Directory"}} for n, (outside, _) in places.items()]
spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}
print(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "clients"}, "spec": spec}))
PY
}

load_has_begun() { k -n clients logs "load-$1" | grep -qx begun; }
load_begins() { # load_begins TOPIC PARTITIONS
  esker_pod "create-$1" topic create "$1" --partitions "$2"
  machine_pod "load-$1" /usr/bin/python3 /scripts/load.py "$address" "$1" /shared/stop
  within 60 "the load $1" load_has_begun "$1"
}
load_ends() { # load_ends TOPIC: in $RUN/load.json
  sleep 3
  touch "$RUN/clients/load-$1/stop"
  outcome_of "load-$1" 300 | tee "$RUN/load-$1.log" >&2
  tail -1 "$RUN/load-$1.log" >"$RUN/load.json"
}
under_load() { # under_load TOPIC PARTITIONS CMD...
  local topic=$1 partitions=$2
  shift 2
  load_begins "$topic" "$partitions"
  "$@"
  load_ends "$topic"
}
loaded() { # loaded WHAT TOPIC PARTITIONS CMD...: a step under load, and what the load saw
  local what=$1
  shift
  step "$what" under_load "$@"
  printf '          %s\n' "$(cat "$RUN/load.json")"
}

# From outside, while the pod stays: the kubelet starts the container again.
kill_9() { # kill_9 POD
  local id pid
  id=$(kn get pod "$1" -o 'jsonpath={.status.containerStatuses[0].containerID}')
  pid=$(ctr_ tasks ls | awk -v id="${id#containerd://}" '$1 == id { print $2 }')
  [ -n "$pid" ]
  kill -9 "$pid"
}
restarts_of() { kn get pod "$1" -o 'jsonpath={.status.containerStatuses[0].restartCount}'; }
is_back() { # is_back POD RESTARTS
  [ "$(restarts_of "$1")" -gt "$2" ] && [ "$(kn get pod "$1" -o 'jsonpath={.status.containerStatuses[0].ready}')" = true ]
}

evict() { # evict POD: the API's answer
  printf '{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "%s", "namespace": "%s"}}' "$1" "$namespace" |
    k create --raw "/api/v1/namespaces/$namespace/pods/$1/eviction" -f -
}

helm_test() {
  h test esker -n "$namespace" --logs
  kn delete pod -l app.kubernetes.io/component=test
}

from_other_pods() { # from_other_pods TOPIC: a thousand records there, and back, over Kafka and over HTTP
  seq 1000 | k -n clients run produce --rm -i --quiet --restart=Never --image="localhost/esker:$version" --image-pull-policy=Never \
    --env="ESKER_BOOTSTRAP=$address" -- produce "$1"
  the_thousand_are_in "$1"
  in_ns curl -sf "http://$(kn get service esker-http -o 'jsonpath={.spec.clusterIP}'):8080/api/v1/topics/$1/partitions/0/records?from=earliest" |
    grep -c records # not -q, which would leave before curl has written all
}
the_thousand_are_in() { esker_pod consume consume "$1" --from earliest --format '%v\n' | diff <(seq 1000) -; }

every_metric_is_emitted() { # by one of the pods
  local pod
  for pod in $(servers -o name); do metrics_of "$pod"; done >"$RUN/metrics"
  python3 - helm/esker "$RUN/metrics" <<'PY'
import json, pathlib, re, sys, yaml
chart, scraped = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text()
panels = [panel for path in chart.glob("dashboards/*.json") for panel in json.loads(path.read_text())["panels"]]
groups = [group for path in chart.glob("rules/*.yaml") for group in yaml.safe_load(path.read_text())["groups"]]
used = [target["expr"] for panel in panels for target in panel.get("targets", [])]
used += [rule["expr"] for group in groups for rule in group["rules"]]
names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\besker_[a-z0-9_]+", " ".join(used))}
missing = names - set(re.findall(r"^# TYPE (\w+)", scraped, re.M))
assert len(names) > 25 and not missing, missing
PY
}

prometheus_scrapes_every_pod() { # prometheus_scrapes_every_pod HELM_ARGUMENTS...: what the ServiceMonitor selects
  h template esker helm/esker -n "$namespace" "$@" --set metrics.serviceMonitor.enabled=true |
    python3 "$deploy_src/k8s/prometheus.py" config "$namespace" "$checkout/helm/esker/rules/esker.yaml" >"$RUN/prometheus.yaml"
  # shellcheck disable=SC2016 # expanded inside
  start prometheus unshare --mount --propagation private bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$RUN/resolv.conf" \
    prometheus --config.file="$RUN/prometheus.yaml" --storage.tsdb.path="$RUN/prometheus" --web.listen-address=127.0.0.1:9990
  within 40 "Prometheus sees every pod" in_ns python3 "$deploy_src/k8s/prometheus.py" holds 127.0.0.1:9990 "$(servers -o name | wc -l)"
  in_ns python3 "$deploy_src/k8s/prometheus.py" holds 127.0.0.1:9990 "$(servers -o name | wc -l)"
  node_stop prometheus
  rm -rf "$RUN/prometheus"
}

uninstall() {
  h uninstall esker -n "$namespace" --wait --timeout 120s
  kn delete pod -l app.kubernetes.io/component=test --ignore-not-found
  within 120 "nothing left" nothing_left
}
nothing_left() { [ -z "$(kn get all,pdb,hpa,networkpolicy,configmap,serviceaccount,secret -l "$release" -o name)" ]; }
