{{- define "rewardrt.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "rewardrt.selector" -}}
app.kubernetes.io/name: rewardrt
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rewardrt.labels" -}}
{{ include "rewardrt.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "rewardrt.image" -}}
{{- if .Values.gpu.enabled -}}
{{ .Values.gpu.repository }}:{{ .Values.gpu.tag }}
{{- else if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* The server's file. What the chart itself decides is not for the reader to set. */ -}}
{{- define "rewardrt.config" -}}
listen = "0.0.0.0:8080"
{{- if .Values.tokens.secret }}
token_file = "/etc/rewardrt-tokens/tokens"
{{- else if .Values.tokens.insecureNoToken }}
insecure_no_token = true
{{- else }}
{{- fail "name a secret in tokens.secret, or say tokens.insecureNoToken: whoever reaches the pods could ask anything" }}
{{- end }}
{{- range $key, $value := .Values.config }}
{{ $key }} = {{ if kindIs "string" $value }}{{ $value | quote }}{{ else if kindIs "float64" $value }}{{ $value | int64 }}{{ else }}{{ $value }}{{ end }}
{{- end }}
{{- end }}
