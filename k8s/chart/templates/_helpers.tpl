{{- define "sfu-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "sfu-gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "sfu-gateway.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "sfu-gateway.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* What selects a component's pods: never changes. Takes (list . "component"). */}}
{{- define "sfu-gateway.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "sfu-gateway.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* Labels of objects and pods. Takes (list . "component"). */}}
{{- define "sfu-gateway.labels" -}}
{{- $root := index . 0 -}}
{{ include "sfu-gateway.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: sfu-gateway
{{- with $root.Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.serviceAccount" -}}
{{- default (ternary (include "sfu-gateway.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "sfu-gateway.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.secret" -}}
{{- default (include "sfu-gateway.fullname" .) .Values.secrets.existingSecret }}
{{- end }}

{{- define "sfu-gateway.redisUrl" -}}
{{- if .Values.redis.bundled.enabled -}}
redis://:{{ required "redis.bundled.password: required" .Values.redis.bundled.password }}@{{ include "sfu-gateway.fullname" . }}-redis:6379/0
{{- else -}}
{{ required "secrets.redisUrl: required; or set secrets.existingSecret, or for a trial redis.bundled.enabled" .Values.secrets.redisUrl }}
{{- end }}
{{- end }}

{{- /* Pod-level fields that all our pods have. */}}
{{- define "sfu-gateway.pod" -}}
serviceAccountName: {{ include "sfu-gateway.serviceAccount" . }}
automountServiceAccountToken: false
# Variables of a Service named sfu-gateway would look like settings: SFU_GATEWAY_PORT=tcp://...
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "sfu-gateway.podSecurity" (dict "user" 10001) | nindent 2 }}
{{- end }}

{{- define "sfu-gateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sfu-gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Where pods go. Takes (list . "component" .Values.component). */}}
{{- define "sfu-gateway.scheduling" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $values := index . 2 -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologyKeys }}
topologySpreadConstraints:
  {{- range . }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "sfu-gateway.selector" (list $root $component) | nindent 8 }}
    # Each roll-out is spread by itself.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{- /* What rolls the pods when it changes. */}}
{{- define "sfu-gateway.checksums" -}}
checksum/config: {{ .Values.config | sha256sum }}
{{- if not .Values.secrets.existingSecret }}
checksum/secrets: {{ list .Values.secrets .Values.redis.bundled.password | toJson | sha256sum }}
{{- end }}
{{- end }}

{{- /* Environment that gateway and sweeper share. Of the secrets, a sweeper needs the store's URL and no other. */}}
{{- define "sfu-gateway.environment" -}}
- name: SFU_GATEWAY_CONFIG
  value: /etc/sfu-gateway/gateway.toml
- name: SFU_GATEWAY_REDIS__NAMESPACE
  value: {{ .Values.redis.namespace }}
- name: SFU_GATEWAY_REDIS__URL
  valueFrom:
    secretKeyRef: {name: {{ include "sfu-gateway.secret" . }}, key: SFU_GATEWAY_REDIS__URL}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.mounts" -}}
- name: config
  mountPath: /etc/sfu-gateway/gateway.toml
  subPath: gateway.toml
  readOnly: true
{{- if .Values.redis.tlsSecret }}
- name: redis-tls
  mountPath: /etc/sfu-gateway/tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "sfu-gateway.volumes" -}}
- name: config
  configMap: {name: {{ include "sfu-gateway.fullname" . }}}
{{- with .Values.redis.tlsSecret }}
- name: redis-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
