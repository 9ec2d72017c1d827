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

{{- define "sfu-gateway.refuseSfu" -}}
{{- $sfu := .Values.sfu }}
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
