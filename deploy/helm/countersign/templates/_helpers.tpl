{{- define "countersign.name" -}}
{{- if contains "countersign" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-countersign" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "countersign.selector" -}}
app.kubernetes.io/name: countersign
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "countersign.labels" -}}
{{ include "countersign.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "countersign.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "countersign.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
# Otherwise each start would let the group read the keyset, and the server refuses such a file.
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "countersign.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "countersign.storeEnv" -}}
{{- if eq .Values.store "postgres" }}
- name: COUNTERSIGN_STORE
  valueFrom: {secretKeyRef: {name: {{ .Values.postgres.urlSecret | quote }}, key: url}}
{{- else }}
- {name: COUNTERSIGN_STORE, value: "sqlite:/var/lib/countersign/countersign.db"}
{{- end }}
{{- end }}

{{- define "countersign.pod" -}}
metadata:
  labels: {{- include "countersign.labels" . | nindent 4 }}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 60
  securityContext: {{- include "countersign.podSecurity" . | nindent 4 }}
  {{- if eq .Values.store "postgres" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "countersign.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: countersign
      image: {{ include "countersign.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      securityContext: {{- include "countersign.containerSecurity" . | nindent 8 }}
      env:
        - {name: COUNTERSIGN_ADDR, value: ":4100"}
        # Load balancers notice that the node stops before it refuses connections.
        - {name: COUNTERSIGN_SHUTDOWN_DELAY, value: "10s"}
        {{- include "countersign.storeEnv" . | nindent 8 }}
        {{- if eq .Values.store "postgres" }}
        - {name: COUNTERSIGN_KEYSET, value: "env:KEYSET"}
        - name: KEYSET
          valueFrom: {secretKeyRef: {name: {{ .Values.postgres.keysetSecret | quote }}, key: keyset}}
        {{- end }}
        {{- if .Values.tlsSecret }}
        - {name: COUNTERSIGN_TLS_CERT, value: /etc/countersign/tls/tls.crt}
        - {name: COUNTERSIGN_TLS_KEY, value: /etc/countersign/tls/tls.key}
        {{- else }}
        - {name: COUNTERSIGN_PLAIN_HTTP, value: "true"}
        {{- end }}
        {{- if .Values.metrics.enabled }}
        - {name: COUNTERSIGN_METRICS_ADDR, value: ":4101"}
        {{- end }}
        {{- range $key, $value := .Values.settings }}
        - name: COUNTERSIGN_{{ upper $key }}
          value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "float64" $value }}{{ $value | int64 | toString | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
        {{- end }}
      ports:
        - {name: api, containerPort: 4100}
        {{- if .Values.metrics.enabled }}
        - {name: metrics, containerPort: 4101}
        {{- end }}
      # An upgrade of the schema may take minutes before the server listens.
      startupProbe:
        httpGet: &probe {path: /healthz, port: api, scheme: {{ if .Values.tlsSecret }}HTTPS{{ else }}HTTP{{ end }}}
        periodSeconds: 5
        failureThreshold: 120
      livenessProbe:
        httpGet: *probe
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: api, scheme: {{ if .Values.tlsSecret }}HTTPS{{ else }}HTTP{{ end }}}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      resources: {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: state, mountPath: /var/lib/countersign}
        {{- if .Values.tlsSecret }}
        - {name: tls, mountPath: /etc/countersign/tls, readOnly: true}
        {{- end }}
  {{- if or (eq .Values.store "postgres") .Values.tlsSecret }}
  volumes:
    {{- if eq .Values.store "postgres" }}
    - {name: state, emptyDir: {}}
    {{- end }}
    {{- if .Values.tlsSecret }}
    - {name: tls, secret: {secretName: {{ .Values.tlsSecret | quote }}, defaultMode: 0440}}
    {{- end }}
  {{- end }}
{{- end }}
