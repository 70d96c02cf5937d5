{{/* Labels of every object of the release. */}}
{{- define "clarion.labels" -}}
app.kubernetes.io/name: clarion
app.kubernetes.io/part-of: clarion
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "clarion.image" -}}
{{ .root.Values.images.repository }}{{ .component }}:{{ default .root.Chart.AppVersion .root.Values.images.tag }}
{{- end }}

{{/*
The objects of the files that match a pattern, as they stand in the manifest: named for this namespace, and labelled. Takes a dict of
root, pattern, and annotations to add.
*/}}
{{- define "clarion.objects" -}}
{{- $root := .root -}}
{{- $annotations := .annotations -}}
{{- $namespaced := list "Role" "RoleBinding" "Secret" "ServiceAccount" "PodDisruptionBudget" -}}
{{- range $path, $_ := $root.Files.Glob .pattern }}
{{- range regexSplit "(?m)^---\\s*$" ($root.Files.Get $path) -1 }}
{{- $object := fromYaml . }}
{{- if $object }}
{{- if hasKey $object "Error" }}{{ fail (printf "%s: %s" $path $object.Error) }}{{ end }}
{{- $metadata := $object.metadata }}
{{- $_ := set $metadata "labels" (merge (dict) (default (dict) $metadata.labels) (fromYaml (include "clarion.labels" $root))) }}
{{- if $annotations }}{{ $_ := set $metadata "annotations" (merge (dict) (default (dict) $metadata.annotations) $annotations) }}{{ end }}
{{- if has $object.kind $namespaced }}{{ $_ := set $metadata "namespace" $root.Release.Namespace }}{{ end }}
{{- range $object.subjects }}{{ $_ := set . "namespace" $root.Release.Namespace }}{{ end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Flags that both programs have. */}}
{{- define "clarion.args" -}}
- --mode={{ .Values.mode }}
- --load-balancer-classes={{ join "," .Values.loadBalancerClasses }}
- --serve-unclassed-services={{ .Values.serveUnclassedServices }}
- --metrics-auth={{ .Values.metrics.auth }}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- end }}
