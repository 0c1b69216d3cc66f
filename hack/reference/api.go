// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const apiHead = "<!-- Generated from config/crd/bases by `make generate`; do not edit. -->\n" + `# API reference

The kinds of the group ` + "`cloud.mandelbox.dev`" + `, with everything that the API server itself checks of them: it is what
` + "`kubectl explain`" + ` says, and the rules beside it. What an object means and does is told by its page: [Region](../kinds/region.md),
[AMI](../kinds/ami.md), [Instance](../kinds/instance.md), [Mandelbox](../kinds/mandelbox.md). What v1alpha1 promises
is in [upgrade](../upgrade.md#what-v1alpha1-promises).
`

// order is that in which a reader meets the kinds.
var order = []string{"Region", "AMI", "Instance", "Mandelbox"}

type schema = apiextensionsv1.JSONSchemaProps

// apiPage describes every field of every version of the kinds.
func apiPage(definitions []apiextensionsv1.CustomResourceDefinition) string {
	slices.SortFunc(definitions, func(a, b apiextensionsv1.CustomResourceDefinition) int {
		return slices.Index(order, a.Spec.Names.Kind) - slices.Index(order, b.Spec.Names.Kind)
	})
	var b strings.Builder
	b.WriteString(apiHead)
	for i := range definitions {
		spec := &definitions[i].Spec
		for j := range spec.Versions {
			writeKind(&b, spec, &spec.Versions[j])
		}
	}
	return b.String()
}

func writeKind(b *strings.Builder, spec *apiextensionsv1.CustomResourceDefinitionSpec, version *apiextensionsv1.CustomResourceDefinitionVersion) {
	root := version.Schema.OpenAPIV3Schema
	fmt.Fprintf(b, "\n## %s\n\n", spec.Names.Kind)
	fmt.Fprintf(b, "`%s/%s`, %s-scoped, short name `%s`. %s\n", spec.Group, version.Name,
		strings.TrimSuffix(strings.ToLower(string(spec.Scope)), "d"), strings.Join(spec.Names.ShortNames, "`, `"), cell(root.Description))
	if rules := messages(root); len(rules) > 0 {
		fmt.Fprintf(b, "\nOf the whole object:\n\n- %s.\n", strings.Join(rules, ".\n- "))
	}
	if len(version.SelectableFields) > 0 {
		var paths []string
		for _, field := range version.SelectableFields {
			paths = append(paths, strings.TrimPrefix(field.JSONPath, "."))
		}
		fmt.Fprintf(b, "\nField selectors beside `metadata.name`: `%s`.\n", strings.Join(paths, "`, `"))
	}
	for _, part := range []string{"spec", "status"} {
		if s, ok := root.Properties[part]; ok {
			writeObject(b, spec.Names.Kind, part, &s)
		}
	}
}

// writeObject writes the table of one object's fields, and then those of the objects
// in them. Conditions look the same everywhere, and are explained by Kubernetes.
func writeObject(b *strings.Builder, kind, path string, s *schema) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s\n", kind, path, cell(s.Description))
	if rules := messages(s); len(rules) > 0 {
		fmt.Fprintf(b, "\n- %s.\n", strings.Join(rules, ".\n- "))
	}
	b.WriteString("\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n")
	names := slices.Sorted(maps.Keys(s.Properties))
	for _, name := range names {
		field := s.Properties[name]
		shown := "`" + name + "`"
		if slices.Contains(s.Required, name) {
			shown += " *"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", shown, typeOf(&field), defaultValue(&field), meaning(&field))
	}
	if len(s.Required) > 0 {
		b.WriteString("\n\\* required\n")
	}
	for _, name := range names {
		field := s.Properties[name]
		switch {
		case name == "conditions":
		case field.Type == "object":
			writeObject(b, kind, path+"."+name, &field)
		case field.Items != nil && field.Items.Schema.Type == "object":
			items := *field.Items.Schema
			writeObject(b, kind, path+"."+name+"[]", &items)
		}
	}
}

// typeOf names the type of a field as a reader of YAML would.
func typeOf(s *schema) string {
	name := s.Type
	switch {
	case s.XIntOrString:
		name = "integer or string"
	case s.Format == "date-time":
		name = "time"
	case s.Type == "array":
		name = "list of " + typeOf(s.Items.Schema)
		if len(s.XListMapKeys) > 0 {
			name += ", by `" + strings.Join(s.XListMapKeys, "`, `") + "`"
		}
	}
	if len(s.Enum) > 0 {
		var values []string
		for _, value := range s.Enum {
			values = append(values, strings.Trim(string(value.Raw), `"`))
		}
		name = "`" + strings.Join(values, "`, `") + "`"
	}
	return name
}

func defaultValue(s *schema) string {
	if s.Default == nil {
		return "–"
	}
	return "`" + strings.Trim(string(s.Default.Raw), `"`) + "`"
}

// meaning is the description of a field and what its value must keep to.
func meaning(s *schema) string {
	text := cell(s.Description)
	limits := limitsOf(s)
	if s.Items != nil {
		for _, limit := range limitsOf(s.Items.Schema) {
			limits = append(limits, "each "+limit)
		}
	}
	if len(limits) > 0 {
		text += " *" + strings.ToUpper(limits[0][:1]) + strings.Join(limits, "; ")[1:] + ".*"
	}
	for _, rule := range messages(s) {
		if !strings.HasSuffix(rule, " is immutable") || !strings.Contains(text, "Immutable.") {
			text += " *Rule: " + rule + ".*"
		}
	}
	return text
}

// limitsOf says in words what the schema bounds.
func limitsOf(s *schema) []string {
	var limits []string
	add := func(limit string) {
		if limit != "" {
			limits = append(limits, limit)
		}
	}
	add(between(s.MinLength, s.MaxLength, "characters"))
	add(between(s.MinItems, s.MaxItems, "items"))
	add(between(number(s.Minimum), number(s.Maximum), ""))
	if s.Pattern != "" {
		add("matches `" + strings.ReplaceAll(s.Pattern, "|", `\|`) + "`")
	}
	return limits
}

func number(f *float64) *int64 {
	if f == nil {
		return nil
	}
	n := int64(*f)
	return &n
}

// between says in words which numbers are allowed; "" if all are.
func between(least, most *int64, of string) string {
	var text string
	switch {
	case least != nil && most != nil && *least != 0:
		text = fmt.Sprintf("%d to %d", *least, *most)
	case most != nil && least != nil && of == "":
		text = fmt.Sprintf("0 to %d", *most)
	case most != nil:
		text = fmt.Sprintf("at most %d", *most)
	case least != nil:
		text = fmt.Sprintf("at least %d", *least)
	default:
		return ""
	}
	return strings.TrimSpace(text + " " + of)
}

// messages are those of the rules that the API server checks by itself.
func messages(s *schema) []string {
	var all []string
	for _, rule := range s.XValidations {
		all = append(all, cell(rule.Message))
	}
	return all
}
