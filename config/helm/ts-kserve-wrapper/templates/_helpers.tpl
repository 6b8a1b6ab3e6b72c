{{/* What a JSON schema cannot say: sums, and parts that need each other. Each names the value's path. */}}
{{- define "ts.check" -}}
{{- $d := .Values.drain -}}
{{- $sum := add $d.preStopSeconds $d.delaySeconds $d.timeoutSeconds -}}
{{- if ge $sum (int64 $d.gracePeriodSeconds) -}}
{{- fail (printf "drain.gracePeriodSeconds: %d is no more than preStopSeconds + delaySeconds + timeoutSeconds (%d): the pod would be killed while it drains" (int64 $d.gracePeriodSeconds) $sum) -}}
{{- end -}}
{{- range $i, $s := .Values.services -}}
{{- if and $s.gpu (not $.Values.gpu.enabled) -}}
{{- fail (printf "services[%d].gpu: there is no runtime with a GPU; set gpu.enabled" $i) -}}
{{- end -}}
{{- if and (not $s.gpu) (not $.Values.cpu.enabled) -}}
{{- fail (printf "services[%d]: there is no runtime without a GPU; set cpu.enabled, or gpu: true here" $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ts.standard" -}}
{{- if has .Values.deploymentMode (list "Standard" "RawDeployment") }}true{{ end -}}
{{- end -}}

{{- define "ts.image" -}}
{{- $i := .root.Values.image -}}
{{- if and $i.digest (not .tag) -}}
{{ $i.repository }}@{{ $i.digest }}
{{- else -}}
{{ $i.repository }}:{{ .tag | default $i.tag }}
{{- end -}}
{{- end -}}
