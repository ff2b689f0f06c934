{{/* Labels of everything. */}}
{{- define "wavestore.labels" -}}
app.kubernetes.io/name: wavestore
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Labels that select the pods of one component: (list . "router"). */}}
{{- define "wavestore.selector" -}}
app.kubernetes.io/name: wavestore
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "wavestore.adminSecret" -}}
{{ .Values.admin.existingSecret | default (printf "%s-admin" .Release.Name) }}
{{- end }}

{{/* Whether the database is on the store's volume. */}}
{{- define "wavestore.hasDatabaseOnVolume" -}}
{{- if and (not .Values.database.urlSecretRef.name) (hasPrefix "sqlite:" .Values.database.url) }}true{{ end }}
{{- end }}

{{/* Whether database or bundles are on the store's volume. */}}
{{- define "wavestore.hasVolume" -}}
{{- if or (include "wavestore.hasDatabaseOnVolume" .) (hasPrefix "file:" .Values.blobs.url) }}true{{ end }}
{{- end }}

{{/* What the store's pods have in common. */}}
{{- define "wavestore.pod" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
enableServiceLinks: false
{{- end }}

{{/* Of those with the store's volume. */}}
{{- define "wavestore.sameNode" -}}
{{- if and (include "wavestore.hasVolume" .) (eq .Values.storage.accessMode "ReadWriteOnce") }}
# One volume, one node.
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            app.kubernetes.io/name: wavestore
            app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "wavestore.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Settings that operator and router share. */}}
{{- define "wavestore.env" -}}
- name: WAVESTORE_NAMESPACE
  value: {{ .Release.Namespace }}
- name: WAVESTORE_STORE_URL
  value: {{ .Values.storeUrl | quote }}
- name: WAVESTORE_APPS_DOMAIN
  value: {{ .Values.appsDomain | quote }}
{{ include "wavestore.databaseEnv" . }}
{{ include "wavestore.bucketEnv" . }}
{{- end }}

{{/* What is offered to apps and instances by name: the operator applies it, routers tell it. */}}
{{- define "wavestore.offerEnv" -}}
{{- with .Values.runtimes -}}
- name: WAVESTORE_RUNTIMES
  value: {{ toJson . | replace "$(" "$$(" | quote }}
{{ end }}
{{- with .Values.sizes -}}
- name: WAVESTORE_SIZES
  value: {{ toJson . | replace "$(" "$$(" | quote }}
{{- end }}
{{- end }}

{{/* What users and apps may have: the operator enforces it, routers tell it. */}}
{{- define "wavestore.limitsEnv" -}}
{{- with .Values.limits.instancesPerUser -}}
- name: WAVESTORE_MAX_INSTANCES_PER_USER
  value: {{ . | quote }}
{{ end }}
{{- with .Values.limits.memoryPerUser -}}
- name: WAVESTORE_MAX_MEMORY_PER_USER
  value: {{ . | quote }}
{{ end }}
{{- with .Values.limits.versionsPerApp -}}
- name: WAVESTORE_MAX_VERSIONS_PER_APP
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Settings of all who use the blob store. */}}
{{- define "wavestore.bucketEnv" -}}
- name: WAVESTORE_BLOBS
  value: {{ .Values.blobs.url | quote }}
{{- range $name, $value := .Values.blobs.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if .Values.instances.caConfigMap }}
- name: SSL_CERT_FILE
  value: /etc/wavestore/ca/ca.crt
{{- end }}
{{- end }}

{{/* Settings of all who use the database. */}}
{{- define "wavestore.databaseEnv" -}}
- name: WAVESTORE_DATABASE_URL
{{- if .Values.database.urlSecretRef.name }}
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.urlSecretRef.name }}, key: {{ .Values.database.urlSecretRef.key | default "url" }}}
{{- else }}
  value: {{ .Values.database.url | quote }}
{{- end }}
- name: WAVESTORE_LOG_FORMAT
  value: {{ .Values.log.format }}
- name: RUST_LOG
  value: {{ .Values.log.level | quote }}
{{- end }}

{{- define "wavestore.envFrom" -}}
{{- with .Values.blobs.credentialsSecret }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{- define "wavestore.volumeMounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- if .Values.instances.caConfigMap }}
- {name: ca, mountPath: /etc/wavestore/ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "wavestore.volumes" -}}
- name: data
{{- if include "wavestore.hasVolume" . }}
  persistentVolumeClaim:
    claimName: {{ .Values.storage.existingClaim | default (printf "%s-data" .Release.Name) }}
{{- else }}
  emptyDir: {}
{{- end }}
- name: tmp
  emptyDir: {}
{{- if .Values.instances.caConfigMap }}
- name: ca
  configMap: {name: {{ .Values.instances.caConfigMap }}}
{{- end }}
{{- end }}
