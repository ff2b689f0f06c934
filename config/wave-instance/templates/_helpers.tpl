{{/*
Labels of every object of the instance. Only its pods have app.kubernetes.io/instance: Argo CD may be set to tell by it what is
its own, and would then prune the Deployment and the volumes of an instance that has the name of its Application.
*/}}
{{- define "wave-instance.labels" -}}
app.kubernetes.io/name: wave-instance
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
wavestore.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/*
What the pod needs beyond the spec, as JSON: the operator's `resolved` when it is of this app, else what the
app's own status says. `{}` where there is no cluster to ask (helm template, Argo CD): then only the
WaveInstance is rendered, and the operator completes the release.
*/}}
{{- define "wave-instance.runtime" -}}
{{- $wanted := printf "%v %v" .Values.app.name .Values.app.version -}}
{{- $resolved := .Values.resolved | default dict -}}
{{- $of := $resolved.app | default dict -}}
{{- if eq $wanted (printf "%v %v" $of.name $of.version) -}}
{{- $resolved | toJson -}}
{{- else -}}
{{- $apps := (lookup "wavestore.io/v1alpha1" "WaveApp" .Release.Namespace "").items | default list -}}
{{- $known := list -}}
{{- $found := dict -}}
{{- range $apps -}}
{{- $status := .status | default dict -}}
{{- with $status.app -}}
{{- $name := printf "%v %v" .name .version -}}
{{- $known = append $known $name -}}
{{- if eq $name $wanted -}}
{{- $found = $status -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $found.runtime -}}
{{- $found.runtime | toJson -}}
{{- else if $found.link -}}
{{- fail (printf "app `%s` is a link to %s: it has nothing to run" $wanted $found.link) -}}
{{- else if $found -}}
{{- fail (printf "app `%s` is not ready: see `kubectl get waveapps --namespace %s --output wide`" $wanted .Release.Namespace) -}}
{{- else if $apps -}}
{{- fail (printf "there is no app `%s` in namespace %s, only: %s (see `kubectl get waveapps --namespace %s`)" $wanted .Release.Namespace (join ", " (sortAlpha $known) | default "none that is ready") .Release.Namespace) -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
The size that is asked for, one of the runtime's, as JSON; `{}` when none is, which is what the app asks for.
*/}}
{{- define "wave-instance.size" -}}
{{- $wanted := .size -}}
{{- $found := dict -}}
{{- $names := list -}}
{{- range .runtime.sizes -}}
{{- $names = append $names .name -}}
{{- if eq .name ($wanted | default "") -}}
{{- $found = . -}}
{{- end -}}
{{- end -}}
{{- if and $wanted (not $found) -}}
{{- fail (printf "there is no size `%s` in this store, only: %s" $wanted (join ", " $names | default "none; leave it out")) -}}
{{- end -}}
{{- $found | toJson -}}
{{- end }}
