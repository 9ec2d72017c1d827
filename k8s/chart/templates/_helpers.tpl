{{- /* Every template begins with this. Values that a release brings from an older chart (`--reuse-values`) lack what is
       new: the chart's own defaults fill the gaps. Old names are refused. */}}
{{- define "sfu-gateway.prepare" -}}
{{- include "sfu-gateway.fill" (list (.Files.Get "files/defaults.yaml" | fromYaml) .Values) }}
{{- include "sfu-gateway.refuse" . }}
{{- end }}

{{- /* Give each section the settings that it lacks. A value that is there stays as it is, an empty one too. */}}
{{- define "sfu-gateway.fill" -}}
{{- $values := index . 1 }}
{{- $whole := list "podSecurityContext" "containerSecurityContext" "resources" "labels" }}
{{- range $name, $default := index . 0 }}
{{- $value := index $values $name }}
{{- if kindIs "invalid" $value }}
{{- $_ := set $values $name $default }}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) (not (has $name $whole)) }}
{{- include "sfu-gateway.fill" (list $default $value) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimAll "-" }}
{{- end }}

{{- /* 46 characters: Kubernetes puts the name of a StatefulSet (`...-redis`) and a hash of ten into a label of 63. Release
       names may have dots, Services may not. */}}
{{- define "sfu-gateway.fullname" -}}
{{- $name := printf "%s-%s" .Release.Name (include "sfu-gateway.name" .) }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if contains (include "sfu-gateway.name" .) .Release.Name }}
{{- $name = .Release.Name }}
{{- end }}
{{- $name | replace "." "-" | trunc 46 | trimAll "-" }}
{{- end }}

{{- /* What selects a component's pods: never changes. Takes (list . "component"). */}}
{{- define "sfu-gateway.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "sfu-gateway.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* Labels of objects. Takes (list . "component"), and labels of this object alone as a third. A label that the chart
       sets is the chart's, whatever the values say: selectors count on it. */}}
{{- define "sfu-gateway.labels" -}}
{{- $root := index . 0 }}
{{- $versions := dict "app.kubernetes.io/version" $root.Chart.AppVersion "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $more := dict }}
{{- if gt (len .) 2 }}{{ $more = index . 2 }}{{ end }}
{{- toYaml (merge $versions (include "sfu-gateway.podLabels" (list $root (index . 1) $more) | fromYaml)) }}
{{- end }}

{{- /* Labels of pods: no version, so that a release rolls only the pods whose image or settings it changes.
       Takes (list . "component" podLabels). */}}
{{- define "sfu-gateway.podLabels" -}}
{{- $ours := include "sfu-gateway.selector" . | fromYaml }}
{{- toYaml (merge (dict "app.kubernetes.io/part-of" "sfu-gateway") $ours (index . 2) (index . 0).Values.commonLabels) }}
{{- end }}

{{- define "sfu-gateway.serviceAccount" -}}
{{- default (ternary (include "sfu-gateway.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- /* Takes (list image tag): the tag counts where the image has none. */}}
{{- define "sfu-gateway.imageOf" -}}
{{- $image := index . 0 }}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ default (index . 1) $image.tag }}{{ end }}
{{- end }}

{{- define "sfu-gateway.image" -}}
{{- include "sfu-gateway.imageOf" (list .Values.image .Chart.AppVersion) }}
{{- end }}

{{- define "sfu-gateway.agentImage" -}}
{{- $own := .Values.sfu.agent.image }}
{{- if or $own.repository $own.tag $own.digest }}
{{- $repository := default .Values.image.repository $own.repository }}
{{- include "sfu-gateway.imageOf" (list (dict "repository" $repository "tag" $own.tag "digest" $own.digest) .Chart.AppVersion) }}
{{- else }}
{{- include "sfu-gateway.image" . }}
{{- end }}
{{- end }}

{{- /* The Secret that this chart makes has a name that nobody gives to one of his own: Helm would delete his. */}}
{{- define "sfu-gateway.secret" -}}
{{- default (printf "%s-settings" (include "sfu-gateway.fullname" .)) .Values.secrets.existingSecret }}
{{- end }}

{{- define "sfu-gateway.redisUrl" -}}
{{- if .Values.redis.bundled.enabled -}}
redis://:{{ required "redis.bundled.password: required" .Values.redis.bundled.password }}@{{ include "sfu-gateway.fullname" . }}-redis:6379/0
{{- else -}}
{{ required "secrets.redisUrl: required; or set secrets.existingSecret, or for a trial redis.bundled.enabled" .Values.secrets.redisUrl }}
{{- end }}
{{- end }}

{{- /* A Service with IPv6 addresses needs pods that listen on them. */}}
{{- define "sfu-gateway.bind" -}}
{{- $service := .Values.service }}
{{- $six := or (has "IPv6" $service.ipFamilies) (eq $service.ipFamilyPolicy "RequireDualStack") }}
{{- default (ternary "::" "" $six) .Values.bind }}
{{- end }}

{{- define "sfu-gateway.opsName" -}}
{{- include "sfu-gateway.fullname" . }}{{ if .Values.ops.port }}-ops{{ end }}
{{- end }}

{{- /* What every pod of the release has. */}}
{{- define "sfu-gateway.anyPod" -}}
automountServiceAccountToken: false
# Variables of a Service named sfu-gateway would look like settings: SFU_GATEWAY_PORT=tcp://...
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What the pods of gateway, sweeper and test have. */}}
{{- define "sfu-gateway.pod" -}}
serviceAccountName: {{ include "sfu-gateway.serviceAccount" . | quote }}
{{ include "sfu-gateway.anyPod" . }}
{{- $context := merge (dict) .Values.podSecurityContext }}
{{- if or (lt (int .Values.service.port) 1024) (and .Values.ops.port (lt (int .Values.ops.port) 1024)) }}
{{- /* Ports such as 80 for a user that is not root; the restricted standard allows this one. */}}
{{- $context = merge $context (dict "sysctls" (list (dict "name" "net.ipv4.ip_unprivileged_port_start" "value" "0"))) }}
{{- end }}
securityContext: {{- include "sfu-gateway.podSecurity" (list . $context) | nindent 2 }}
{{- end }}

{{- /* Takes (list . context). */}}
{{- define "sfu-gateway.podSecurity" -}}
{{- $context := index . 1 }}
{{- if (index . 0).Values.openshift.enabled }}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{- define "sfu-gateway.containerSecurity" -}}
{{- toYaml .Values.containerSecurityContext }}
{{- end }}

{{- define "sfu-gateway.agentSecurity" -}}
{{- $user := ternary dict (dict "runAsUser" 10001) .Values.openshift.enabled }}
{{- toYaml (mergeOverwrite (dict "runAsNonRoot" true) $user .Values.containerSecurityContext) }}
{{- end }}

{{- /* What `$(HOST_IP)` and `$(NODE_NAME)` stand for in values. */}}
{{- define "sfu-gateway.nodeVariables" -}}
- name: HOST_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end }}

{{- /* Where pods go. Takes (list . "component" .Values.component). */}}
{{- define "sfu-gateway.scheduling" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $values := index . 2 -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
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
    topologyKey: {{ . | quote }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "sfu-gateway.selector" (list $root $component) | nindent 8 }}
    # Each roll-out is spread by itself.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{- /* How many there should be. With autoscaling, as many as there are: a template without `replicas` would make them one,
       and one with another number would undo what the autoscaler did. Takes (list live values); `live` is what the cluster
       has, empty where Helm does not ask it. */}}
{{- define "sfu-gateway.replicas" -}}
{{- $live := index . 0 }}{{ $values := index . 1 }}
{{- if $values.autoscaling.enabled }}
{{- $now := $values.replicaCount }}
{{- if $live }}{{ $now = dig "spec" "replicas" $values.replicaCount $live }}{{ end }}
{{- max (int $now) (int $values.autoscaling.minReplicas) }}
{{- else }}
{{- $values.replicaCount }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.disruptionBudget" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $budget := index . 2 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "sfu-gateway.fullname" $root }}{{ if ne $component "gateway" }}-{{ $component }}{{ end }}
  labels: {{- include "sfu-gateway.labels" (list $root $component) | nindent 4 }}
spec:
  maxUnavailable: {{ $budget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "sfu-gateway.selector" (list $root $component) | nindent 6 }}
{{- end }}

{{- /* What rolls the pods when it changes. */}}
{{- define "sfu-gateway.checksums" -}}
checksum/config: {{ .Values.config | sha256sum }}
{{- if not .Values.secrets.existingSecret }}
checksum/secrets: {{ list .Values.secrets .Values.redis.bundled.password | toJson | sha256sum }}
{{- end }}
{{- end }}

{{- /* Environment that gateway and sweeper share. Of the secrets, a sweeper needs the URL of Redis, and with rescue the keys
       that sign what Odoo is told. */}}
{{- define "sfu-gateway.environment" -}}
- name: SFU_GATEWAY_CONFIG
  value: /etc/sfu-gateway/gateway.toml
- name: SFU_GATEWAY_REDIS__NAMESPACE
  value: {{ .Values.redis.namespace | quote }}
- name: SFU_GATEWAY_REDIS__URL
  valueFrom:
    secretKeyRef: {name: {{ include "sfu-gateway.secret" . | quote }}, key: SFU_GATEWAY_REDIS__URL}
{{- with .Values.rescue.allow }}
- name: SFU_GATEWAY_RESCUE__ALLOW
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.rescueKeys" -}}
- name: SFU_GATEWAY_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "sfu-gateway.secret" . | quote }}, key: SFU_GATEWAY_KEY}
{{- with .Values.secrets.existingSecret }}
- name: SFU_GATEWAY_TENANT
  valueFrom:
    secretKeyRef: {name: {{ . | quote }}, key: SFU_GATEWAY_TENANT, optional: true}
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
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.volumes" -}}
- name: config
  configMap: {name: {{ include "sfu-gateway.fullname" . }}}
{{- with .Values.redis.tlsSecret }}
- name: redis-tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
