{{- define "pynumdraw.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* At most 40 characters, which leaves room for the longest suffix of a resource's name and for what a CronJob adds to its Jobs' names. */}}
{{- define "pynumdraw.fullname" -}}
{{- $name := include "pynumdraw.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- /* Selector of a component's pods. It is immutable in a Deployment, so it contains nothing that ever changes. (dict "root" $ "component" "…") */}}
{{- define "pynumdraw.selector" -}}
app.kubernetes.io/name: {{ include "pynumdraw.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- /* Labels of a resource, each once: checks.yaml refuses those of the chart in values. (dict "root" $ "component" "…" "labels" dict or nothing) */}}
{{- define "pynumdraw.labels" -}}
{{ include "pynumdraw.selector" . }}
app.kubernetes.io/part-of: pynumdraw
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | quote }}
{{- with merge dict (.labels | default dict) (.root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Labels of a pod: without the chart's version, so that a new chart alone does not restart pods. (dict "root" $ "component" "…" "settings" .Values.…) */}}
{{- define "pynumdraw.podLabels" -}}
{{ include "pynumdraw.selector" . }}
app.kubernetes.io/part-of: pynumdraw
{{- with merge dict (.settings.podLabels | default dict) (.root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Environment variables: the chart's, then the additional ones, each of which replaces the chart's of the same name. (dict "own" "a YAML list" "extra" list) */}}
{{- define "pynumdraw.env" -}}
{{- $extra := .extra | default list -}}
{{- $names := list -}}
{{- range $extra }}{{ $names = append $names .name }}{{ end -}}
{{- $kept := list -}}
{{- range fromYamlArray .own }}{{ if not (has .name $names) }}{{ $kept = append $kept . }}{{ end }}{{ end -}}
{{- concat $kept $extra | toYaml }}
{{- end }}

{{- /* One of our images. (dict "root" $ "image" .Values.….image) */}}
{{- define "pynumdraw.image" -}}
{{- with .root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "pynumdraw.servingImage" -}}
{{- if .Values.serving.standIn -}}
{{ include "pynumdraw.image" (dict "root" . "image" .Values.trainer.image) }}
{{- else -}}
{{ .Values.serving.image.repository }}{{ if .Values.serving.image.digest }}@{{ .Values.serving.image.digest }}{{ else }}:{{ .Values.serving.image.tag }}{{ end }}
{{- end -}}
{{- end }}

{{- /* The ConfigMap of the trusted keys; empty where signatures are not checked. */}}
{{- define "pynumdraw.trustedKeys" -}}
{{- if .Values.signing.publicKeys -}}
{{ include "pynumdraw.fullname" . }}-trusted-keys
{{- else -}}
{{ .Values.signing.publicKeysConfigMap | default "" }}
{{- end -}}
{{- end }}

{{- define "pynumdraw.claim" -}}
{{ .Values.store.existingClaim | default (printf "%s-models" (include "pynumdraw.fullname" .)) }}
{{- end }}

{{- /* "true" where the store's volume can be mounted on one node only, so that all pods that mount it are kept together. */}}
{{- define "pynumdraw.oneNode" -}}
{{ eq .Values.store.accessMode "ReadWriteOnce" | ternary "true" "" }}
{{- end }}

{{- /*
Where a pod that mounts the store may run: the settings' own nodeSelector, tolerations and affinity; on a store for one node those of
trainer and serving pods together, and the node where such a pod runs already. The first such pod chooses the node, since a pod that
matches its own affinity may run where no other does. Components by name, so that pods of an earlier chart count too.
(dict "root" $ "settings" .Values.… "servesModel" bool)
*/}}
{{- define "pynumdraw.storePlacement" -}}
{{- $v := .root.Values -}}
{{- $arch := and (not $v.serving.standIn) (not (hasKey ($v.serving.nodeSelector | default dict) "kubernetes.io/arch")) | ternary (dict "kubernetes.io/arch" "amd64") dict -}}
{{- $placement := dict "nodeSelector" (mustMergeOverwrite (dict) (.servesModel | ternary $arch dict) (.settings.nodeSelector | default dict)) "tolerations" (.settings.tolerations | default list) "affinity" (deepCopy (.settings.affinity | default dict)) -}}
{{- if include "pynumdraw.oneNode" .root -}}
{{- $writer := $v.trainer.enabled | ternary $v.trainer (dict "nodeSelector" dict "tolerations" list) -}}
{{- $_ := set $placement "nodeSelector" (mustMergeOverwrite (dict) $arch ($writer.nodeSelector | default dict) ($v.serving.nodeSelector | default dict)) -}}
{{- $_ := set $placement "tolerations" (concat ($writer.tolerations | default list) ($v.serving.tolerations | default list) | uniq) -}}
{{- $labels := dict "matchLabels" (include "pynumdraw.selector" (dict "root" .root) | fromYaml) "matchExpressions" (list (dict "key" "app.kubernetes.io/component" "operator" "In" "values" (list "serving" "trainer" "store-list"))) -}}
{{- $near := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" $labels -}}
{{- $podAffinity := $placement.affinity.podAffinity | default dict -}}
{{- $_ := set $podAffinity "requiredDuringSchedulingIgnoredDuringExecution" (append ($podAffinity.requiredDuringSchedulingIgnoredDuringExecution | default list) $near) -}}
{{- $_ := set $placement.affinity "podAffinity" $podAffinity -}}
{{- end -}}
{{ toYaml $placement }}
{{- end }}

{{- /* Fields of every pod. (dict "root" $ "component" "…" "settings" .Values.…, with nodeSelector, tolerations and affinity or those of "placement") */}}
{{- define "pynumdraw.podSettings" -}}
serviceAccountName: {{ include "pynumdraw.fullname" .root }}-{{ .component }}
automountServiceAccountToken: false
enableServiceLinks: false # a Service named gateway would set GATEWAY_PORT=tcp://… in every pod
securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $placement := .placement | default .settings }}
{{- with $placement.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $placement.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $placement.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* Spread the pods of each pod template over nodes and zones. (dict "root" $ "component" "…") */}}
{{- define "pynumdraw.topologySpread" -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "pynumdraw.selector" $ | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{- /*
The pods that a Deployment shall have. With autoscaling on, those that there are, and at least the minimum: a new autoscaler begins with
what runs. Nothing where server-side apply is used and the scale subresource holds the field, so that no upgrade or rollback takes it
back. Otherwise it has to stay declared: a field that helm no longer declares is removed, and the Deployment falls to one pod.
(dict "root" $ "component" "gateway" or "serving")
*/}}
{{- define "pynumdraw.replicas" -}}
{{- $settings := index .root.Values .component -}}
{{- if not $settings.autoscaling.enabled -}}
replicas: {{ $settings.replicas | int64 }}
{{- else -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace (printf "%s-%s" (include "pynumdraw.fullname" .root) .component) -}}
{{- $pods := dig "spec" "replicas" 0 $live | int64 -}}
{{- $applied := false -}}
{{- $declared := false -}}
{{- $scaled := false -}}
{{- range dig "metadata" "managedFields" list $live -}}
{{- $holds := hasKey (dig "fieldsV1" "f:spec" dict .) "f:replicas" -}}
{{- if eq .operation "Apply" -}}
{{- $applied = true -}}
{{- $declared = or $declared $holds -}}
{{- else if and $holds (eq (.subresource | default "") "scale") -}}
{{- $scaled = true -}}
{{- end -}}
{{- end -}}
{{- if not (and $applied $scaled (not $declared) (gt $pods 0) (semverCompare ">=4.0.0-0" .root.Capabilities.HelmVersion.Version)) -}}
replicas: {{ max $pods ($settings.autoscaling.minReplicas | int64) }}
{{- end -}}
{{- end -}}
{{- end }}

{{- /*
The autoscaler of a Deployment. Where it was switched off, Helm would set the Deployment's replicas first and delete the autoscaler after it,
and that may set its own number again in between. So a hook of the same name takes its place before anything else, and goes at once.
(dict "root" $ "component" "gateway" or "serving")
*/}}
{{- define "pynumdraw.autoscaler" -}}
{{- $settings := index .root.Values .component -}}
{{- $name := printf "%s-%s" (include "pynumdraw.fullname" .root) .component -}}
{{- $live := lookup "autoscaling/v2" "HorizontalPodAutoscaler" .root.Release.Namespace $name -}}
{{- $ours := eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" $live) .root.Release.Name -}}
{{- if or $settings.autoscaling.enabled $ours -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels: {{- include "pynumdraw.labels" . | nindent 4 }}
  {{- if not $settings.autoscaling.enabled }}
  annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}
  {{- end }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $name }}}
  {{- if $settings.autoscaling.enabled }}
  minReplicas: {{ $settings.autoscaling.minReplicas | int64 }}
  maxReplicas: {{ $settings.autoscaling.maxReplicas | int64 }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $settings.autoscaling.targetCpuPercent | int64 }}}
  {{- else }}
  minReplicas: {{ $settings.replicas | int64 }}
  maxReplicas: {{ $settings.replicas | int64 }}
  {{- end }}
{{- end -}}
{{- end }}

{{- /* Address families of a Service. */}}
{{- define "pynumdraw.ipFamilies" -}}
{{- with .Values.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end }}

{{- /* Whole cores of a CPU quantity, at least 1. */}}
{{- define "pynumdraw.cores" -}}
{{- $text := toString . -}}
{{- $cores := hasSuffix "m" $text | ternary (divf (trimSuffix "m" $text | float64) 1000) (trimSuffix "m" $text | float64) -}}
{{ max 1 (ceil $cores | int) }}
{{- end }}

{{- /* Maximum seconds of a training, retries included. */}}
{{- define "pynumdraw.trainingSeconds" -}}
{{ .Values.trainer.deadlineSeconds | default (eq .Values.trainer.recipe "best" | ternary 14400 1800) | int64 }}
{{- end }}

{{- /* Seconds that a serving pod waits for its version. 0 is a value, so no `default`. */}}
{{- define "pynumdraw.waitSeconds" -}}
{{- if kindIs "invalid" .Values.serving.waitSeconds -}}
{{ .Values.trainer.enabled | ternary (include "pynumdraw.trainingSeconds" .) "60" }}
{{- else -}}
{{ .Values.serving.waitSeconds | int64 }}
{{- end -}}
{{- end }}

{{- /* The container that trains. (dict "root" $ "ifEmpty" bool) */}}
{{- define "pynumdraw.trainerContainer" -}}
{{- $trainer := .root.Values.trainer -}}
name: trainer
image: {{ include "pynumdraw.image" (dict "root" .root "image" $trainer.image) | quote }}
imagePullPolicy: {{ $trainer.image.pullPolicy }}
command: [python, -m, trainer, fit]
args:
  - --data=data
  - --store=/store
  - --name={{ .root.Values.model.name }}
  - --recipe={{ $trainer.recipe }}
  - --seed={{ $trainer.seed | int64 }}
  {{- if .ifEmpty }}
  - --if-empty
  {{- end }}
  {{- if .root.Values.signing.secretName }}
  - --signing-key=/signing-key/key.pem
  {{- if .root.Values.signing.certificate }}
  - --signing-certificate=/signing-key/certificate.pem
  {{- end }}
  {{- end }}
{{- with $trainer.extraEnv }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{- toYaml $trainer.resources | nindent 2 }}
securityContext: {{- toYaml .root.Values.containerSecurityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: store, mountPath: /store}
  - {name: tmp, mountPath: /tmp}
  {{- if .root.Values.signing.secretName }}
  - {name: signing-key, mountPath: /signing-key, readOnly: true}
  {{- end }}
  {{- with $trainer.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* Versions that must stay: the one that is served, and the one that was served before it, which the live CronJob remembers. A list as JSON. */}}
{{- define "pynumdraw.servedVersions" -}}
{{- $served := list (.Values.model.version | toString) -}}
{{- $live := lookup "batch/v1" "CronJob" .Release.Namespace (printf "%s-train" (include "pynumdraw.fullname" .)) -}}
{{- range dig "metadata" "annotations" "pynumdraw/served-versions" "" $live | splitList " " -}}
{{- if and . (not (has . $served)) (lt (len $served) 2) }}{{ $served = append $served . }}{{ end -}}
{{- end -}}
{{ toJson $served }}
{{- end }}

{{- /* The container that removes old versions after a training. */}}
{{- define "pynumdraw.pruneContainer" -}}
name: prune
image: {{ include "pynumdraw.image" (dict "root" . "image" .Values.trainer.image) | quote }}
imagePullPolicy: {{ .Values.trainer.image.pullPolicy }}
command: [python, -m, pynumdraw.store, prune]
args:
  - --store=/store
  - --name={{ .Values.model.name }}
  - --keep={{ .Values.store.keepVersions | int64 }}
  {{- if include "pynumdraw.trustedKeys" . }}
  - --trusted-keys=/trusted-keys
  {{- end }}
  {{- if eq .Values.model.policy "version" }}
  - --served
  {{- range include "pynumdraw.servedVersions" . | fromJsonArray }}
  - {{ . | quote }}
  {{- end }}
  {{- end }}
resources:
  requests: {cpu: 50m, memory: 64Mi, ephemeral-storage: 16Mi}
  limits: {cpu: "1", memory: 256Mi, ephemeral-storage: 64Mi}
securityContext: {{- toYaml .Values.containerSecurityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: store, mountPath: /store}
  {{- if include "pynumdraw.trustedKeys" . }}
  - {name: trusted-keys, mountPath: /trusted-keys, readOnly: true}
  {{- end }}
{{- end }}

{{- /*
The spec of a training Job. `ifEmpty`: the one that makes the first version, after which there is nothing to remove; any other removes old
versions once its training is done. (dict "root" $ "ifEmpty" bool)
*/}}
{{- define "pynumdraw.trainingSpec" -}}
{{- $root := .root -}}
{{- $trainer := $root.Values.trainer -}}
backoffLimit: {{ $trainer.retries | int64 }}
activeDeadlineSeconds: {{ include "pynumdraw.trainingSeconds" $root }}
podFailurePolicy:
  rules:
    - action: FailJob # exit code 2: the trainer refuses its data or its store, and a retry would not help
      onExitCodes: {containerName: trainer, operator: In, values: [2]}
    {{- if not .ifEmpty }}
    - action: FailJob # a retry would train again, and the version is published
      onExitCodes: {containerName: prune, operator: NotIn, values: [0]}
    {{- end }}
    - action: Ignore # a drained node does not count as a failed training
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
template:
  metadata:
    labels: {{- include "pynumdraw.podLabels" (dict "root" $root "component" "trainer" "settings" $trainer) | nindent 6 }}
    {{- $main := .ifEmpty | ternary dict (dict "kubectl.kubernetes.io/default-container" "trainer") }}
    {{- with mustMergeOverwrite $main ($trainer.podAnnotations | default dict) }}
    annotations: {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    restartPolicy: Never
    {{- $placement := include "pynumdraw.storePlacement" (dict "root" $root "settings" $trainer "servesModel" false) | fromYaml }}
    {{- include "pynumdraw.podSettings" (dict "root" $root "component" "trainer" "settings" $trainer "placement" $placement) | nindent 4 }}
    {{- if .ifEmpty }}
    containers:
      - {{ include "pynumdraw.trainerContainer" . | nindent 8 | trim }}
    {{- else }}
    initContainers:
      - {{ include "pynumdraw.trainerContainer" . | nindent 8 | trim }}
    containers:
      - {{ include "pynumdraw.pruneContainer" $root | nindent 8 | trim }}
    {{- end }}
    volumes:
      - name: store
        persistentVolumeClaim: {claimName: {{ include "pynumdraw.claim" $root | quote }}}
      - name: tmp
        emptyDir: {sizeLimit: 1Gi}
      {{- with $root.Values.signing.secretName }}
      - name: signing-key
        secret: {secretName: {{ . | quote }}, defaultMode: 0440}
      {{- end }}
      {{- $trusted := .ifEmpty | ternary "" (include "pynumdraw.trustedKeys" $root) }}
      {{- with $trusted }}
      - name: trusted-keys
        configMap: {name: {{ . | quote }}}
      {{- end }}
      {{- with $trainer.extraVolumes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}

{{- /* Threads for gRPC calls: one for each concurrent prediction of all gateway pods, and 16 (arbitrary) for status calls. */}}
{{- define "pynumdraw.servingThreads" -}}
{{- $gateways := .Values.gateway.autoscaling.enabled | ternary .Values.gateway.autoscaling.maxReplicas (add1 .Values.gateway.replicas) -}}
{{ add (mul $gateways .Values.gateway.config.maxInFlight) 16 }}
{{- end }}

{{- /* The gateway's settings, a YAML list of environment variables. */}}
{{- define "pynumdraw.gatewayEnv" -}}
- {name: GATEWAY_HOST, value: "::"}
- {name: GATEWAY_PORT, value: "8080"}
- {name: GATEWAY_MANAGEMENT_PORT, value: "9090"}
- {name: GATEWAY_BASE_PATH, value: {{ .Values.ingress.path | quote }}}
- {name: GATEWAY_SERVING_ADDRESS, value: "{{ include "pynumdraw.fullname" . }}-serving:8500"}
- {name: GATEWAY_MODEL_NAME, value: {{ .Values.model.name | quote }}}
- {name: GATEWAY_PREDICT_TIMEOUT_S, value: {{ .Values.gateway.config.predictTimeoutSeconds | quote }}}
- {name: GATEWAY_MAX_IN_FLIGHT, value: {{ .Values.gateway.config.maxInFlight | int64 | quote }}}
- {name: GATEWAY_MAX_BODY_BYTES, value: {{ .Values.gateway.config.maxBodyBytes | int64 | quote }}}
- {name: GATEWAY_REQUEST_TIMEOUT_S, value: {{ .Values.gateway.config.requestTimeoutSeconds | quote }}}
- {name: GATEWAY_KEEP_ALIVE_S, value: {{ .Values.gateway.config.keepAliveSeconds | quote }}}
- {name: GATEWAY_DNS_REFRESH_S, value: {{ .Values.gateway.config.dnsRefreshSeconds | quote }}}
- {name: GATEWAY_SHUTDOWN_DELAY_S, value: {{ .Values.gateway.config.shutdownDelaySeconds | quote }}}
- {name: GATEWAY_DRAIN_S, value: {{ .Values.gateway.config.drainSeconds | quote }}}
- {name: GATEWAY_LOG_LEVEL, value: {{ .Values.gateway.config.logLevel }}}
{{- end }}
