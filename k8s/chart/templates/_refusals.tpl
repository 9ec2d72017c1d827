{{- /* Names of earlier charts, and what can be seen to be wrong before anything is sent to Kubernetes. */}}
{{- define "sfu-gateway.refuse" -}}
{{- $renamed := dict
  "extraLabels" "commonLabels"
  "gateway.replicas" "gateway.replicaCount"
  "gateway.disruptionBudget" "gateway.podDisruptionBudget"
  "gateway.autoscaling.targetCpuPercent" "gateway.autoscaling.targetCPUUtilizationPercentage"
  "sweeper.replicas" "sweeper.replicaCount"
  "sweeper.disruptionBudget" "sweeper.podDisruptionBudget"
  "sfu.replicas" "sfu.replicaCount" }}
{{- range $old, $new := $renamed }}
{{- $found := $.Values }}
{{- range $part := splitList "." $old }}
{{- $found = ternary (get (default dict $found) $part) nil (kindIs "map" $found) }}
{{- end }}
{{- if not (or (kindIs "invalid" $found) (eq (toString $found) "")) }}
{{- fail (printf "%s is now %s: rename it in your values, or upgrade with --reset-then-reuse-values instead of --reuse-values" $old $new) }}
{{- end }}
{{- end }}
{{- range .Values.imagePullSecrets }}
{{- if kindIs "string" . }}
{{- fail (printf "imagePullSecrets: %q is now {name: %s}, as in a Pod" . .) }}
{{- end }}
{{- end }}
{{- if kindIs "string" .Values.sfu.image }}
{{- fail "sfu.image is now sfu.image.repository and sfu.image.tag" }}
{{- end }}
{{- $secrets := .Values.secrets }}
{{- $name := include "sfu-gateway.fullname" . }}
{{- if $secrets.existingSecret }}
{{- if eq $secrets.existingSecret (printf "%s-settings" $name) }}
{{- fail (printf "secrets.existingSecret: %s is the name of the Secret that this chart makes; Helm would delete yours with it" $secrets.existingSecret) }}
{{- end }}
{{- $live := lookup "v1" "Secret" .Release.Namespace $secrets.existingSecret }}
{{- if eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" (default dict $live)) .Release.Name }}
{{- fail (printf "secrets.existingSecret: %s belongs to this release, and Helm would delete it: copy it under another name" $secrets.existingSecret) }}
{{- end }}
{{- if .Values.redis.bundled.enabled }}
{{- fail "redis.bundled.enabled and secrets.existingSecret exclude each other: the bundled Redis is for trials" }}
{{- end }}
{{- else if and .Values.sfu.enabled (not $secrets.registrationKey) }}
{{- fail "secrets.registrationKey: required with sfu.enabled, the agents sign their heartbeats with it; or set secrets.existingSecret" }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- fail (printf "fullnameOverride: %s can not be a Service's name; set one that begins with a letter and has small letters, digits and dashes" $name) }}
{{- end }}
{{- $set := dict "SFU_GATEWAY_CONFIG" "config" "SFU_GATEWAY_REDIS__NAMESPACE" "redis.namespace"
  "SFU_GATEWAY_REDIS__URL" "secrets.redisUrl or secrets.existingSecret" "SFU_GATEWAY_PORT" "service.port"
  "SFU_GATEWAY_OPS__PORT" "ops.port" }}
{{- if include "sfu-gateway.bind" . }}{{ $_ := set $set "SFU_GATEWAY_BIND" "bind" }}{{ end }}
{{- if .Values.rescue.allow }}{{ $_ := set $set "SFU_GATEWAY_RESCUE__ALLOW" "rescue.allow" }}{{ end }}
{{- include "sfu-gateway.refuseTwice" (list "extraEnv" .Values.extraEnv $set) }}
{{- include "sfu-gateway.refuseLimits" (list "gateway.autoscaling" .Values.gateway.autoscaling) }}
{{- if not (or .Values.gateway.enabled .Values.sweeper.enabled .Values.sfu.enabled) }}
{{- fail "gateway.enabled, sweeper.enabled, sfu.enabled: one of them must be true" }}
{{- end }}
{{- if and .Values.rescue.allow (not .Values.rescue.enabled) }}
{{- fail "rescue.enabled: must be true with rescue.allow, or sweepers neither have the key nor reach Odoo" }}
{{- end }}
{{- if eq (int .Values.ops.port) (int .Values.service.port) }}
{{- fail "ops.port: must differ from service.port; 0 is one port for all" }}
{{- end }}
{{- if .Values.sfu.enabled }}
{{- include "sfu-gateway.refuseSfu" . }}
{{- end }}
{{- end }}

{{- /* A variable that the chart sets by a value: twice in a container, one of them is lost. Takes (list name environment set). */}}
{{- define "sfu-gateway.refuseTwice" -}}
{{- $name := index . 0 }}{{ $set := index . 2 }}
{{- range index . 1 }}
{{- if hasKey $set .name }}
{{- fail (printf "%s: %s is set by %s" $name .name (get $set .name)) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Takes (list name autoscaling). */}}
{{- define "sfu-gateway.refuseLimits" -}}
{{- $scaling := index . 1 }}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
{{- fail (printf "%s.maxReplicas: must not be below minReplicas" (index . 0)) }}
{{- end }}
{{- end }}

{{- define "sfu-gateway.refuseSfu" -}}
{{- $sfu := .Values.sfu }}
{{- $both := dict "HOST_IP" "the chart" "NODE_NAME" "the chart" "PORT" "sfu.port" "AUTH_KEY" "sfu.authSecret" }}
{{- $media := dict "PUBLIC_IP" "sfu.publicIp" "RTC_MIN_PORT" "sfu.rtcMinPort" "RTC_MAX_PORT" "sfu.rtcMaxPort" "PROXY" "sfu.trustForwarded" }}
{{- $agent := dict "PUBLIC_IP" "sfu.address" "SFU_ADDRESS" "sfu.address" "SFU_PUBLIC_URL" "sfu.publicUrl" "SFU_REGION" "sfu.region"
  "SFU_GATEWAY_URL" "sfu.gatewayUrl" "SFU_MAX_SESSIONS" "sfu.maxSessions" "SFU_DRAIN_SECONDS" "sfu.drainSeconds"
  "SFU_GATEWAY_REGISTRATION__KEY" "secrets.registrationKey or secrets.existingSecret" "SFU_AGENT_PORT" "the chart" }}
{{- include "sfu-gateway.refuseTwice" (list "sfu.extraEnv" $sfu.extraEnv (merge $media $both)) }}
{{- include "sfu-gateway.refuseTwice" (list "sfu.agent.extraEnv" $sfu.agent.extraEnv (merge $agent $both)) }}
{{- include "sfu-gateway.refuseLimits" (list "sfu.autoscaling" $sfu.autoscaling) }}
{{- if not $sfu.authSecret }}
{{- fail "sfu.authSecret: required, the name of a Secret with AUTH_KEY" }}
{{- end }}
{{- if not $sfu.image.repository }}
{{- fail "sfu.image.repository: required, your image of odoo/sfu" }}
{{- end }}
{{- if not (or $sfu.image.tag $sfu.image.digest) }}
{{- fail "sfu.image.tag: required, or sfu.image.digest" }}
{{- end }}
{{- if not (or $sfu.gatewayUrl .Values.gateway.enabled) }}
{{- fail "sfu.gatewayUrl: required without a gateway in this release" }}
{{- end }}
{{- if and (eq $sfu.publicIp.source "node") (not $sfu.command) }}
{{- fail "sfu.command: required with sfu.publicIp.source=node, the command that your image runs" }}
{{- end }}
{{- if and (eq $sfu.publicIp.source "value") (not $sfu.publicIp.value) }}
{{- fail "sfu.publicIp.value: required with sfu.publicIp.source=value" }}
{{- end }}
{{- if ge (int $sfu.rtcMinPort) (int $sfu.rtcMaxPort) }}
{{- fail "sfu.rtcMaxPort: must be above sfu.rtcMinPort" }}
{{- end }}
{{- end }}
