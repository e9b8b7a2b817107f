# Mode distributed: roles in pods of their own, mutual TLS between them. Sourced by run.

partitions=32 # over four ingest pods: that one of them leads none is as good as impossible
distributed=(--set "mode=distributed,distributed.internalTls.existingSecret.name=esker-internal")

internal_certificate() {
  if kn get secret esker-internal >/dev/null 2>&1; then return; fi
  (
    cd "$RUN/pki"
    node_cert internal /CN=esker-internal "DNS:*.esker-metadata.$namespace.svc.cluster.local"
  )
  kn create secret generic esker-internal --from-file=tls.crt="$RUN/pki/internal.crt" \
    --from-file=tls.key="$RUN/pki/internal.key" --from-file=ca.crt="$RUN/pki/ca.crt"
}

of_role() { kn get pods -l "esker.io/role=$1" "${@:2}"; }
role_has() { [ "$(of_role "$1" -o name | wc -l)" = "$2" ]; }
rolled_out() { kn rollout status "$1" --timeout=180s; }
all_rolled_out() { rolled_out statefulset/esker-metadata && rolled_out deployment/esker-ingest && rolled_out deployment/esker-fetch; }
brokers() { client kcat -b "$address" -L -J -m 5 | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["brokers"]))'; }
brokers_are() { [ "$(brokers)" = "$1" ]; }
owner() { in_ns curl -sf --max-time 2 "http://$(ip_of "$1"):8080/livez" | python3 -c 'import json, sys; print(json.load(sys.stdin)["owner"] or "")'; }
metadata_leader() { # pod and leadership
  local pod it
  for pod in $(of_role metadata -o name); do
    it=$(owner "$pod" || true)
    if [ -n "$it" ]; then echo "${pod#pod/} $it"; fi
  done
}
one_metadata_leader() { [ "$(metadata_leader | wc -l)" = 1 ]; }
another_leadership() { one_metadata_leader && [ "$(metadata_leader | cut -d' ' -f2)" != "$1" ]; }

install_distributed() {
  h install esker helm/esker -n "$namespace" "${values[@]}" "${distributed[@]}" --set distributed.ingest.replicas=1 --wait --timeout 180s
  role_has metadata 2
  role_has ingest 1
  role_has fetch 2
  within 30 "clients are told three processes" brokers_are 3
  one_metadata_leader
}

count_of() { metrics_of "$1" | awk -v name="$2" '$1 ~ "^" name "([{]|$)" { sum += $2 } END { printf "%d\n", sum }'; } # count_of POD METRIC
every_pod_counted() { # every_pod_counted ROLE METRIC
  local pod
  for pod in $(of_role "$1" -o name); do [ "$(count_of "$pod" "$2")" -gt 0 ] || return 1; done
}
identity_of() { # of a role's pods: whoever was restarted or replaced has another
  of_role "$1" -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID}{"\n"}{end}' | sort
}
scale_ingest() {
  kn scale deployment/esker-ingest --replicas="$1"
  rolled_out deployment/esker-ingest
  within 90 "$1 ingest pods" role_has ingest "$1"
  within 30 "clients are told so" brokers_are "$(($1 + 2))"
}
one_four_one() {
  local before
  before="$(identity_of fetch) $(identity_of metadata)"
  scale_ingest 4
  within 30 "each of them leads partitions" every_pod_counted ingest esker_ingest_batches_total
  sleep 5
  scale_ingest 1
  [ "$before" = "$(identity_of fetch) $(identity_of metadata)" ] || { echo "others were touched"; return 1; }
}
figure_of() { metrics_of "$1" | awk -v row="$2" '$1 == row { print $2 + 0 }'; } # figure_of POD ROW
asked_and_given() { figure_of "$1" "esker_fleet_asked_total{whom=\"$2\",outcome=\"block\"}"; } # asked_and_given POD WHOM
blocks_come_from_others() { # each fetch pod: from who wrote them, and from the other fetch pod
  local pod whom given
  for pod in $(of_role fetch -o name); do
    for whom in writer owner; do
      given=$(asked_and_given "$pod" "$whom")
      echo "$pod was given $given blocks by the $whom"
      [ "$given" -gt 0 ]
    done
  done
}
readers_read_at_fetch() { every_pod_counted fetch esker_fetch_records_bytes_total; }

restart_each_role() {
  local workload
  for workload in deployment/esker-ingest deployment/esker-fetch statefulset/esker-metadata; do
    kn rollout restart "$workload"
    rolled_out "$workload"
    within 60 "one leads" one_metadata_leader
  done
  within 90 "the old pods are gone" pods_are 6
}

kill_one() { # kill_one POD: until it is back
  local restarts
  restarts=$(restarts_of "$1")
  kill_9 "$1"
  within 90 "$1 is back" is_back "$1" "$restarts"
}
kill_one_of() { kill_one "$(of_role "$1" -o 'jsonpath={.items[0].metadata.name}')"; }
kill_each_role() {
  local pod leadership
  kill_one_of ingest
  sleep 3
  kill_one_of fetch
  sleep 3
  read -r pod leadership < <(metadata_leader)
  kill_one "$pod"
  within 30 "another leadership" another_leadership "$leadership"
  within 30 "clients are told four processes" brokers_are 4
}

upgrade_distributed() { # --force-conflicts: `kubectl scale` owned the replicas
  h upgrade esker helm/esker -n "$namespace" "${values[@]}" "${distributed[@]}" --force-conflicts --wait --timeout 240s \
    --set config.linger-ms=20,distributed.fetch.replicas=3
  all_rolled_out
  within 90 "seven pods" pods_are 7
  within 30 "clients are told five processes" brokers_are 5
}

drain_node() { k drain "$NODE" --ignore-daemonsets --force --delete-emptydir-data --pod-selector="$release" --timeout=15s; }
drain_stops_at_the_budgets() { # nothing can come in the place of what goes: one of each role, and no more
  local role
  if drain_node >"$RUN/drain" 2>&1; then echo "everything was evicted"; return 1; fi
  cat "$RUN/drain"
  grep 'disruption budget' "$RUN/drain"
  for role in ingest fetch metadata; do
    [ "$(kn get pods -l "esker.io/role=$role" --field-selector=status.phase=Pending -o name | wc -l)" = 1 ]
  done
  within 60 "one leads" one_metadata_leader
  sleep 3
  k uncordon "$NODE"
  all_rolled_out
  within 30 "clients are told five processes" brokers_are 5
}

run_distributed() {
  step "a certificate for the roles" internal_certificate
  step "helm install --wait, distributed, with TLS inside" install_distributed
  if [[ " $parts " = *" standalone "* ]]; then step "records of the other mode are there" the_thousand_are_in from-a-pod; fi
  step "helm test: round trip and doctor" helm_test
  step "records there and back from other pods, and over HTTP" from_other_pods from-pods
  loaded "ingest from 1 to 4 to 1 under load, nobody else touched" scaled "$partitions" one_four_one
  step "readers were sent to fetch pods, to each of them" readers_read_at_fetch
  step "fetch pods were given blocks by who wrote them and by each other" blocks_come_from_others
  step "two ingest pods" scale_ingest 2
  step "every metric of dashboard and rules is emitted" every_metric_is_emitted
  step "Prometheus finds and scrapes every pod, no alert fires" prometheus_scrapes_every_pod "${values[@]}" "${distributed[@]}"
  loaded "kill -9 of ingest, fetch and the metadata leader under load" kills "$partitions" kill_each_role
  loaded "rolling restart of each role under load" rolled "$partitions" restart_each_role
  loaded "helm upgrade under load: another setting, 3 fetch pods" upgrades "$partitions" upgrade_distributed
  loaded "a drain stops at the budgets, under load" drained "$partitions" drain_stops_at_the_budgets
  step "helm uninstall, nothing left" uninstall
}

standalone_is_gone() { ! kn get deployment esker >/dev/null 2>&1 && pods_are 6; }
change_mode() { # to distributed, while the leader of standalone mode still serves
  h upgrade esker helm/esker -n "$namespace" "${values[@]}" "${distributed[@]}"
  all_rolled_out
  within 120 "the pods of standalone mode are gone" standalone_is_gone
  within 60 "one leads" one_metadata_leader
  within 30 "clients are told four processes" brokers_are 4
}
change_back() {
  h upgrade esker helm/esker -n "$namespace" "${values[@]}"
  within 180 "the pods of distributed mode are gone" pods_are 2
  ready_deployment
}
run_mode() {
  step "a certificate for the roles" internal_certificate
  step "helm install, standalone" install_standalone
  loaded "the release becomes distributed under load" distributed 8 change_mode
  loaded "and standalone again under load" standalone 8 change_back
  step "helm uninstall, nothing left" uninstall
}
