{{/* The pods of a pool. Takes root and pool. */}}
{{- define "esker.podTemplate" -}}
{{- $pool := .pool -}}
{{- $directory := eq .root.Values.store.type "directory" -}}
{{- $tls := and (eq .root.Values.mode "distributed") .root.Values.distributed.internalTls.existingSecret.name -}}
{{- with .root -}}
metadata:
  labels:
    {{- include "esker.poolSelector" $ | nindent 4 }}
    {{- if has $pool.role (list "ingest" "fetch") }}
    esker.io/clients: "true"
    {{- end }}
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $pool.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "esker.toml" $ | sha256sum }}
    {{- with $pool.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "esker.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "esker.gracePeriod" . }}
  securityContext:
    {{- include "esker.podSecurity" . | nindent 4 }}
    {{- if $directory }}
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
  {{- include "esker.pullSecrets" . | nindent 2 }}
  {{- with $pool.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $pool.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pool.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pool.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $pool.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range $key, $unsatisfiable := dict "topology.kubernetes.io/zone" $pool.topologySpread.zone "kubernetes.io/hostname" $pool.topologySpread.host }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $unsatisfiable }}
      labelSelector:
        matchLabels: {{- include "esker.poolSelector" $ | nindent 10 }}
      {{- if ne $pool.role "metadata" }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  {{- end }}
  containers:
    - name: esker
      image: {{ include "esker.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        - --config=/etc/esker/{{ $pool.file }}
        - --http-advertise=[$(POD_IP)]:8080
        {{- if eq $pool.role "metadata" }}
        - --internal-advertise=$(POD_NAME).{{ include "esker.metadataDomain" . }}:9094
        {{- else if ne $pool.role "all" }}
        - --internal-advertise=[$(POD_IP)]:9094
        {{- end }}
        {{- if not (or $pool.isOneAddress (eq $pool.role "metadata")) }}
        - --advertise=[$(POD_IP)]:9092
        {{- end }}
        {{- range $pool.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      env:
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        {{- if eq $pool.role "metadata" }}
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- end }}
        {{- include "esker.credentials" . | nindent 8 }}
        {{- with $pool.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $pool.extraEnvFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        {{- if ne $pool.role "metadata" }}
        - name: kafka
          containerPort: 9092
          protocol: TCP
        {{- end }}
        {{- if ne $pool.role "all" }}
        - name: internal
          containerPort: 9094
          protocol: TCP
        {{- end }}
        - name: http
          containerPort: 8080
          protocol: TCP
      # The store's probe at the start may take a while on a slow store.
      startupProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 1
        timeoutSeconds: 2
        failureThreshold: 120
      # This is what routes the Services. With all roles in one process only the leader is ready.
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 1
        timeoutSeconds: 2
        failureThreshold: 3
      livenessProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      {{- if gt (int .Values.preStopSeconds) 0 }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ .Values.preStopSeconds }}}
      {{- end }}
      resources:
        requests:
          cpu: {{ $pool.resources.cpu | quote }}
          memory: {{ $pool.resources.memory }}
        limits:
          memory: {{ $pool.resources.memory }}
      securityContext: {{- include "esker.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/esker
          readOnly: true
        {{- if $directory }}
        - name: data
          mountPath: /data
        {{- end }}
        {{- if $tls }}
        - name: internal-tls
          mountPath: /etc/esker-tls
          readOnly: true
        {{- end }}
        {{- with $pool.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "esker.fullname" . }}
    {{- if $directory }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ default (printf "%s-data" (include "esker.fullname" .)) .Values.store.directory.existingClaim }}
    {{- end }}
    {{- if $tls }}
    - name: internal-tls
      secret:
        secretName: {{ $tls }}
    {{- end }}
    {{- with $pool.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
