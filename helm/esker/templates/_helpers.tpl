{{- define "esker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* 52 characters leave room for the suffixes of objects. */}}
{{- define "esker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "esker.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "esker.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "esker.selector" -}}
app.kubernetes.io/name: {{ include "esker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "esker.labels" -}}
app.kubernetes.io/name: {{ include "esker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "esker.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "esker.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "esker.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{/* Where clients begin. All roles in one, or `single`: the address that they are told, too. */}}
{{- define "esker.bootstrap" -}}
{{- $host := printf "%s.%s.svc.%s" (include "esker.fullname" .) .Release.Namespace .Values.clusterDomain -}}
{{- printf "%s:%d" (default $host .Values.advertise.host) (int (default .Values.service.kafka.port .Values.advertise.port)) -}}
{{- end }}

{{- define "esker.storeUrl" -}}
{{- if eq .Values.store.type "s3" -}}
{{- $s3 := .Values.store.s3 -}}
s3://{{ $s3.bucket }}/{{ $s3.prefix }}
{{- else -}}
file:///data
{{- end -}}
{{- end }}

{{/* MiB of a quantity such as 2Gi or 512Mi; the schema admits no other form. */}}
{{- define "esker.mebibytes" -}}
{{- if hasSuffix "Gi" . -}}
{{- mul (trimSuffix "Gi" . | int64) 1024 -}}
{{- else -}}
{{- trimSuffix "Mi" . | int64 -}}
{{- end -}}
{{- end }}

{{/* `esker serve` takes up to 4095 MiB of produced records. */}}
{{- define "esker.budgets" -}}
{{- $limit := include "esker.mebibytes" .resources.memory | int64 -}}
{{- $produce := default (min (div $limit 4) 4095) .produceBufferMi | int64 -}}
{{- $cache := default (div $limit 4) .cacheMi | int64 -}}
{{- if gt (add $produce $cache 512) $limit -}}
{{- fail (printf "%sresources.memory is %d MiB, but the produce buffer (%d MiB), the cache (%d MiB) and 512 MiB for everything else need %d MiB: raise the memory, or lower %sproduceBufferMi or %scacheMi" .where $limit $produce $cache (add $produce $cache 512) .where .where) -}}
{{- end -}}
produce-buffer-bytes = {{ mul $produce 1048576 }}
cache-bytes = {{ mul $cache 1048576 }}
{{- end }}

{{/* `esker serve` waits up to drainSeconds + 5 for its fronts and as long for its metadata service, then refuses. */}}
{{- define "esker.gracePeriod" -}}
{{- add .Values.preStopSeconds (mul 2 (add .Values.drainSeconds 5)) .Values.exitDelaySeconds 5 -}}
{{- end }}

{{- define "esker.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "esker.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "esker.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Credentials: a secret's keys, or nothing, and AWS's own search finds them. */}}
{{- define "esker.credentials" -}}
{{- $secret := .Values.store.s3.existingSecret -}}
{{- if and (eq .Values.store.type "s3") $secret.name }}
- name: ESKER_S3_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ $secret.accessKeyIdKey }}
- name: ESKER_S3_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ $secret.secretAccessKeyKey }}
{{- with $secret.sessionTokenKey }}
- name: ESKER_S3_SESSION_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The settings file of a pool: values as TOML, which JSON's texts, numbers and truths are. */}}
{{- define "esker.toml" -}}
{{- $pool := .pool -}}
{{- with .root -}}
store = {{ include "esker.storeUrl" . | quote }}
role = {{ $pool.role | quote }}
{{- if ne $pool.role "metadata" }}
kafka-listen = "{{ .Values.listenAddress }}:9092"
{{- end }}
http-listen = "{{ .Values.listenAddress }}:8080"
{{- if $pool.isOneAddress }}
advertise = {{ include "esker.bootstrap" . | quote }}
{{- if eq .Values.mode "distributed" }}
clients-see = "single"
{{- end }}
{{- end }}
drain-timeout-ms = {{ mul .Values.drainSeconds 1000 }}
exit-delay-ms = {{ mul .Values.exitDelaySeconds 1000 }}
{{- if ne $pool.role "metadata" }}
{{ include "esker.budgets" $pool }}
{{- end }}
{{- if eq .Values.mode "distributed" }}
{{ include "esker.internal" (dict "root" . "pool" $pool) }}
{{- end }}
{{- with .Values.clusterId }}
cluster-id = {{ . | quote }}
{{- end }}
{{- if eq .Values.store.type "s3" }}
{{- $s3 := .Values.store.s3 }}
{{- with $s3.region }}
s3-region = {{ . | quote }}
{{- end }}
{{- with $s3.endpoint }}
s3-endpoint = {{ . | quote }}
{{- end }}
{{- if not (kindIs "invalid" $s3.pathStyle) }}
s3-path-style = {{ $s3.pathStyle }}
{{- end }}
s3-checksum = {{ $s3.checksum | quote }}
{{- end }}
{{- range $name, $value := .Values.config }}
{{ $name }} = {{ if kindIs "float64" $value }}{{ int64 $value }}{{ else }}{{ toJson $value }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

