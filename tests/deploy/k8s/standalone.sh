# Mode standalone: one pod leads, the others stand by. Sourced by run.

leader() { servers -o json | python3 -c '
import json, sys
pods = json.load(sys.stdin)["items"]
ready = lambda pod: any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
print(*[pod["metadata"]["name"] for pod in pods if ready(pod) and not pod["metadata"].get("deletionTimestamp")])'; }
one_leads() { [ "$(leader | wc -w)" = 1 ]; }
another_leads() { # another_leads POD: looked at once, between two looks it can be nobody
  local now
  now=$(leader)
  [ "$(wc -w <<<"$now")" = 1 ] && [ "$now" != "$1" ]
}
ready_deployment() { kn wait deployment/esker --for=jsonpath='{.status.readyReplicas}'=1 --timeout=120s; }

install_standalone() {
  h install esker helm/esker -n "$namespace" "${values[@]}"
  ready_deployment
}

standby_stands_by() {
  local standby
  pods_are 2
  standby=$(servers -o name | grep -v "$(leader)$")
  in_ns curl -s "http://$(ip_of "$standby"):8080/readyz" | grep 'standing by for'
}
standby_appears() { within 30 "a standby" standby_stands_by; }

kill_leader() { # its process; its pod starts another, which stands by
  local old restarts
  old=$(leader)
  restarts=$(restarts_of "$old")
  kill_9 "$old"
  within 60 "somebody leads, the process was started again" leads_again "$old" "$restarts"
}
leads_again() { one_leads && [ "$(restarts_of "$1")" -gt "$2" ]; }
delete_leader() { # at once, with its pod
  local old
  old=$(leader)
  kn delete pod "$old" --force --grace-period=0 --wait=false
  within 60 "another leader" another_leads "$old"
}
restart_standalone() {
  local old
  old=$(leader)
  kn rollout restart deployment/esker
  within 120 "another leader" another_leads "$old"
  within 90 "the old pods are gone" pods_are 2
}
upgrade_standalone() {
  local old
  old=$(leader)
  h upgrade esker helm/esker -n "$namespace" "${values[@]}" --set config.linger-ms=20,standalone.replicas=3
  within 120 "another leader" another_leads "$old"
  within 90 "three pods" pods_are 3
  within 60 "one leads" one_leads
}

one_may_go() { [ "$(kn get pdb esker -o 'jsonpath={.status.disruptionsAllowed}')" = 1 ]; }
evictions_wait_while_nobody_leads() {
  local old standby
  old=$(leader)
  within 30 "the budget counts" one_may_go
  standby=$(servers -o name | grep -v "$old$" | head -1)
  evict "$old"
  if evict "${standby#pod/}"; then echo "a standby was evicted beside the leader"; return 1; fi
  within 90 "another leader" another_leads "$old"
}

installed_again_the_records_are_there() {
  install_standalone
  # The Service refuses for a moment behind the first pod that is ready.
  within 30 "the thousand records" the_thousand_are_in from-a-pod
  uninstall
}

run_standalone() {
  step "helm install, until a pod leads" install_standalone
  step "the other pod stands by" standby_appears
  step "helm test: round trip and doctor" helm_test
  step "records there and back from other pods, and over HTTP" from_other_pods from-a-pod
  step "every metric of dashboard and rules is emitted" every_metric_is_emitted
  step "Prometheus finds and scrapes every pod, no alert fires" prometheus_scrapes_every_pod "${values[@]}"
  loaded "kill -9 of the leader under load" killed 6 kill_leader
  loaded "the leader's pod is deleted at once under load" deleted 6 delete_leader
  within 60 "two pods" pods_are 2
  loaded "rolling restart under load" restarted 6 restart_standalone
  loaded "helm upgrade under load: another setting, 3 pods" upgraded 6 upgrade_standalone
  step "evictions wait while nobody leads" evictions_wait_while_nobody_leads
  step "helm uninstall, nothing left" uninstall
  step "installed again, the records are there" installed_again_the_records_are_there
}
