{{/* What the schema cannot see, because it is in two places. */}}
{{- define "esker.check" -}}
{{- $values := .Values -}}
{{- $isDistributed := eq $values.mode "distributed" -}}
{{- if and (eq $values.store.type "s3") (not $values.store.s3.bucket) -}}
{{- fail "store.s3.bucket is needed: the bucket is Esker's only state (or store.type: directory, for a trial)" -}}
{{- end -}}
{{- if and (eq $values.store.type "directory") $isDistributed -}}
{{- fail "store.type: directory works with mode: standalone only: the processes of mode: distributed share the store, and one pod has the volume; use store.type: s3" -}}
{{- end -}}
{{- if and (eq $values.store.type "directory") (ne (int $values.standalone.replicas) 1) -}}
{{- fail "store.type: directory works with standalone.replicas: 1 only: a standby on another node would not see the volume" -}}
{{- end -}}
{{- $isOneAddress := or (not $isDistributed) (eq $values.distributed.advertise "single") -}}
{{- if and (ne $values.service.kafka.type "ClusterIP") $isOneAddress (not $values.advertise.host) -}}
{{- fail (printf "service.kafka.type: %s needs advertise.host: clients outside the cluster cannot resolve the Service's name" $values.service.kafka.type) -}}
{{- end -}}
{{- if $isDistributed -}}
{{- include "esker.checkDistributed" . -}}
{{- end -}}
{{- $owned := list "ESKER_STORE" "ESKER_ROLE" "ESKER_METADATA" "ESKER_ZONE" "ESKER_DRAIN_TIMEOUT_MS" "ESKER_EXIT_DELAY_MS"
      "ESKER_KAFKA_LISTEN" "ESKER_HTTP_LISTEN" "ESKER_HTTP_ADVERTISE"
      "ESKER_INTERNAL_LISTEN" "ESKER_INTERNAL_ADVERTISE"
      "ESKER_INTERNAL_TLS_CERT" "ESKER_INTERNAL_TLS_KEY" "ESKER_INTERNAL_TLS_CA" "ESKER_INTERNAL_TLS_NAME"
      "ESKER_ADVERTISE" "ESKER_CLIENTS_SEE" -}}
{{- range $pool := (include "esker.pools" . | fromJson).pools -}}
{{- range $pool.extraEnv -}}
{{- if has .name $owned -}}
{{- fail (printf "%sextraEnv: %s is set by the chart, and probes, Services and the grace period rely on it" $pool.where .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "esker.checkDistributed" -}}
{{- if gt (len (include "esker.fullname" .)) 43 -}}
{{- fail (printf "the name %s is too long for mode: distributed: a StatefulSet's pods have its name and more in a label; give fullnameOverride with at most 43 characters" (include "esker.fullname" .)) -}}
{{- end -}}
{{- if hasKey .Values.config "node-id" -}}
{{- fail "config.node-id: in mode: distributed each process draws an id of its own" -}}
{{- end -}}
{{- if and (eq .Values.distributed.advertise "pod") (or .Values.advertise.host .Values.advertise.port) -}}
{{- fail "advertise.host and advertise.port need distributed.advertise: single; with pod each process tells its own address" -}}
{{- end -}}
{{- if and (eq .Values.distributed.advertise "single") (hasKey .Values.config "clients-see") -}}
{{- fail "config.clients-see needs distributed.advertise: pod; with single clients see one broker" -}}
{{- end -}}
{{- range $role := list "ingest" "fetch" -}}
{{- $names := list -}}
{{- range (index $.Values.distributed $role).pools -}}
{{- if has .name $names -}}
{{- fail (printf "distributed.%s.pools: two have the name %s" $role .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- $pods := 0 -}}
{{- range $pool := (include "esker.pools" . | fromJson).pools -}}
{{- $most := int $pool.replicas -}}
{{- with $pool.autoscaling -}}
{{- if .enabled -}}
{{- $most = int .maxReplicas -}}
{{- if gt (int .minReplicas) $most -}}
{{- fail (printf "%sautoscaling.minReplicas (%d) is more than maxReplicas (%d)" $pool.where (int .minReplicas) $most) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne $pool.role "metadata" -}}
{{- $pods = add $pods $most -}}
{{- end -}}
{{- end -}}
{{- if gt (int $pods) 800 -}}
{{- fail (printf "ingest and fetch have up to %d pods together: a cluster knows 1000 processes, and a roll-out adds a quarter, so 800 are the most" $pods) -}}
{{- end -}}
{{- end }}
