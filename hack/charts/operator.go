// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// namespace is the one that config/default installs into; a chart's is the release's.
const namespace = "mandelbox-system"

// operatorChart has everything but the CRDs and the Namespace.
func operatorChart(objects []object) (chart, error) {
	const name = "mandelbox-operator"
	c := chart{name: name, files: map[string]string{
		"Chart.yaml":           metadata(name, "Keeps a fleet of warm EC2 hosts, and puts each user's session onto one of them."),
		"templates/NOTES.txt":  notes,
		"templates/_image.tpl": images,
	}}
	values := []value{}
	for _, o := range objects {
		everywhere(map[string]any(o), namespace, expression(".Release.Namespace"))
		found, condition, err := markValues(o)
		if err != nil {
			return chart{}, fmt.Errorf("%s %s: %w", o.kind(), o.name(), err)
		}
		values = append(values, found...)
		content, err := template(o)
		if err != nil {
			return chart{}, err
		}
		if condition != "" {
			content = onlyIf(condition, content)
		}
		file := strings.ToLower("templates/" + o.kind() + "-" + o.name() + ".yaml")
		if _, taken := c.files[file]; taken {
			return chart{}, fmt.Errorf("two objects are to be in %s", file)
		}
		c.files[file] = content
	}
	return c.withValues(values)
}

// images names the image by its digest if it has one, else by its tag.
const images = `{{- define "image" -}}
{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag }}{{ end }}
{{- end }}
`

const notes = `The Mandelbox Operator is coming up in namespace {{ .Release.Namespace }}.

Its pods meet the "restricted" Pod Security Standard; have the namespace hold them to it:

  kubectl label namespace {{ .Release.Namespace }} pod-security.kubernetes.io/enforce=restricted

The kinds come with the chart mandelbox-operator-crds. Next, make a Region and an AMI.
`

// markValues marks what of an object is a value, and returns these values, with what
// stood there as their defaults; and on which value the whole object depends, if on any.
func markValues(o object) (values []value, condition string, err error) {
	spec := fields(o["spec"])
	switch o.kind() {
	case "Deployment":
		values, err = markDeployment(spec)
		return values, "", err
	case "ServiceAccount":
		fields(o["metadata"])["annotations"] = optional("serviceAccount.annotations")
		return []value{{
			path: "serviceAccount.annotations", is: map[string]any{}, schema: stringMap,
			doc: "Annotations of the ServiceAccount, e.g. eks.amazonaws.com/role-arn.",
		}}, "", nil
	case "PodDisruptionBudget":
		return []value{
			{path: "podDisruptionBudget.enabled", is: true, schema: boolean, doc: "Whether evictions leave all replicas but maxUnavailable."},
			take(spec, "maxUnavailable", "podDisruptionBudget.maxUnavailable", "How many replicas may be evicted at a time.",
				map[string]any{"type": []string{"integer", "string"}}),
		}, "podDisruptionBudget.enabled", nil
	case "NetworkPolicy":
		return []value{
			{path: "networkPolicy.enabled", is: true, schema: boolean, doc: "Whether only the traffic below is let through."},
			take(spec, "ingress", "networkPolicy.ingress", "What may reach the manager.", anyList),
			take(spec, "egress", "networkPolicy.egress", "What the manager may reach.", anyList),
		}, "networkPolicy.enabled", nil
	case "PriorityClass":
		return []value{{
			path: "priorityClass.create", is: true, schema: boolean, doc: "Whether the PriorityClass mandelbox-operator is made.",
		}}, "priorityClass.create", nil
	case "PriorityLevelConfiguration":
		return []value{{
			path: "flowControl.create", is: true, schema: boolean,
			doc: "Whether the API server is told to queue tenants' requests by namespace, apart from the manager's.",
		}}, "flowControl.create", nil
	case "FlowSchema":
		return nil, "flowControl.create", nil
	}
	return nil, "", nil
}

// take marks a field as a value, with what it was as the default.
func take(of map[string]any, field, path, doc string, schema map[string]any) value {
	v := value{path: path, doc: doc, is: of[field], schema: schema}
	of[field] = whole(path)
	return v
}

// markDeployment marks what of the manager's Deployment is a value.
func markDeployment(spec map[string]any) ([]value, error) {
	pod := fields(fields(spec["template"])["spec"])
	metadata := fields(fields(spec["template"])["metadata"])
	containers := items(pod["containers"])
	if len(containers) != 1 {
		return nil, fmt.Errorf("it has %d containers, not one", len(containers))
	}
	container := fields(containers[0])
	repository, tag, found := strings.Cut(text(container["image"]), ":")
	if !found {
		return nil, fmt.Errorf("its image %q has no tag", container["image"])
	}
	container["image"] = expression(`include "image" .`)
	container["imagePullPolicy"] = optional("image.pullPolicy")
	container["args"] = append(items(container["args"]), more("extraArgs"))
	container["env"] = append(items(container["env"]), more("extraEnv"))
	fields(metadata["annotations"])["zz"] = entries("podAnnotations")
	fields(metadata["labels"])["zz"] = entries("podLabels")
	for _, field := range []string{"nodeSelector", "tolerations", "affinity", "imagePullSecrets"} {
		pod[field] = optional(field)
	}
	return []value{
		{path: "image.repository", is: repository, doc: "Where the image is.", schema: map[string]any{"type": "string", "minLength": 1}},
		{path: "image.tag", is: tag, doc: "Its tag.", schema: map[string]any{"type": "string", "minLength": 1}},
		{path: "image.digest", is: "", doc: "Its digest, which then goes in place of the tag.",
			schema: map[string]any{"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}},
		{path: "image.pullPolicy", is: "", doc: "When it is pulled; by Kubernetes' own rule if empty.",
			schema: map[string]any{"type": "string", "enum": []string{"", "Always", "IfNotPresent", "Never"}}},
		{path: "imagePullSecrets", is: []any{}, doc: "Secrets to pull it with, e.g. [{name: registry}].", schema: anyList},
		take(spec, "replicas", "replicas", "How many managers run; one of them leads, all serve the webhooks.",
			map[string]any{"type": "integer", "minimum": 1}),
		take(container, "resources", "resources", "What each asks of its node.", anyObject),
		{path: "extraArgs", is: []any{}, doc: "More flags of `mandelbox-operator manager`, e.g. [--mandelboxes-per-user=5].",
			schema: map[string]any{"type": "array", "items": map[string]any{"type": "string"}}},
		{path: "extraEnv", is: []any{}, doc: "More environment, e.g. OTEL_EXPORTER_OTLP_ENDPOINT or HTTPS_PROXY.", schema: anyList},
		take(pod, "priorityClassName", "priorityClassName", "The PriorityClass of the pods.", map[string]any{"type": "string"}),
		{path: "podAnnotations", is: map[string]any{}, doc: "More annotations of the pods.", schema: stringMap},
		{path: "podLabels", is: map[string]any{}, doc: "More labels of the pods.", schema: stringMap},
		{path: "nodeSelector", is: map[string]any{}, doc: "Labels that a node must have.", schema: stringMap},
		{path: "tolerations", is: []any{}, doc: "Taints that the pods tolerate.", schema: anyList},
		{path: "affinity", is: map[string]any{}, doc: "More rules on where the pods go.", schema: anyObject},
		take(pod, "topologySpreadConstraints", "topologySpreadConstraints", "How the pods are spread.", anyList),
	}, nil
}
