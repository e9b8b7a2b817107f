{{/*
A pool is what one Deployment or StatefulSet runs: values.defaults, with those of its role over them and its own over
these. Standalone mode has one. JSON: {"pools": […]}, ingest first. Beside the values each has
  role, pool    all, ingest, fetch or metadata; the pool's name
  object, file  the name of its objects; its settings file
  where         how a message names its values
  isOneAddress  whether clients are told the bootstrap address of all
*/}}
{{- define "esker.pools" -}}
{{- $root := . -}}
{{- $pools := list -}}
{{- if eq .Values.mode "standalone" -}}
{{- $own := dict
      "role" "all"
      "object" (include "esker.fullname" .)
      "file" "esker.toml"
      "where" "defaults."
      "isOneAddress" true
      "replicas" .Values.standalone.replicas -}}
{{- $pools = append $pools (mergeOverwrite (deepCopy .Values.defaults) $own) -}}
{{- else -}}
{{- range $role := list "ingest" "fetch" "metadata" -}}
{{- $given := index $root.Values.distributed $role -}}
{{- range $pool := default (list dict) $given.pools -}}
{{- $key := list $role $pool.name | compact | join "-" -}}
{{- $own := dict
      "role" $role
      "pool" (default "default" $pool.name)
      "object" (printf "%s-%s" (include "esker.fullname" $root) $key)
      "file" (printf "%s.toml" $key)
      "where" (printf "distributed.%s: " $role)
      "isOneAddress" (and (ne $role "metadata") (eq $root.Values.distributed.advertise "single")) -}}
{{- $over := mergeOverwrite (deepCopy (omit $given "pools")) (deepCopy (omit $pool "name")) $own -}}
{{- $pools = append $pools (mergeOverwrite (deepCopy $root.Values.defaults) $over) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "pools" $pools | toJson -}}
{{- end }}

{{- define "esker.poolSelector" -}}
{{ include "esker.selector" .root }}
{{- if ne .pool.role "all" }}
esker.io/role: {{ .pool.role }}
esker.io/pool: {{ .pool.pool | quote }}
{{- end }}
{{- end }}

{{/* The pods that Kafka and HTTP clients may use: all, or those with the role ingest or fetch. */}}
{{- define "esker.clientsSelector" -}}
{{ include "esker.selector" . }}
{{- if eq .Values.mode "distributed" }}
esker.io/clients: "true"
{{- end }}
{{- end }}

{{- define "esker.metadataDomain" -}}
{{ include "esker.fullname" . }}-metadata.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{/* The StatefulSet's pods by name: a process with the role metadata is found wherever it runs. */}}
{{- define "esker.metadataAddresses" -}}
{{- $addresses := list -}}
{{- range $number := until (int .Values.distributed.metadata.replicas) -}}
{{- $addresses = append $addresses (printf "%s-metadata-%d.%s:9094" (include "esker.fullname" $) $number (include "esker.metadataDomain" $)) -}}
{{- end -}}
{{- join "," $addresses -}}
{{- end }}

{{/* All show one certificate, and ingest and fetch are reached by address: each is asked for the name of one pod. */}}
{{- define "esker.internalName" -}}
{{- default (printf "%s-metadata-0.%s" (include "esker.fullname" .) (include "esker.metadataDomain" .)) .Values.distributed.internalTls.name -}}
{{- end }}

{{/* Settings between the processes of a cluster. */}}
{{- define "esker.internal" -}}
internal-listen = "{{ .root.Values.listenAddress }}:9094"
{{- if ne .pool.role "metadata" }}
metadata = {{ include "esker.metadataAddresses" .root | quote }}
{{- with .pool.zone }}
zone = {{ . | quote }}
{{- end }}
{{- end }}
{{- with .root.Values.distributed.internalTls.existingSecret }}
{{- if .name }}
internal-tls-cert = "/etc/esker-tls/{{ .certificateKey }}"
internal-tls-key = "/etc/esker-tls/{{ .privateKeyKey }}"
internal-tls-ca = "/etc/esker-tls/{{ .caKey }}"
internal-tls-name = {{ include "esker.internalName" $.root | quote }}
{{- end }}
{{- end }}
{{- end }}
