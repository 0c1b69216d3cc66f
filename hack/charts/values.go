// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// value is one that a chart's user may set.
type value struct {
	// path is its name, with at most one dot; values with the same word before the dot
	// stand together.
	path string
	// doc says what it is for, in one sentence.
	doc string
	// is is what it is unless set.
	is any
	// schema is what it may be, in the words of JSON Schema.
	schema map[string]any
}

// Schemas that several values have.
var (
	anyObject = map[string]any{"type": "object"}
	anyList   = map[string]any{"type": "array"}
	stringMap = map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
	boolean   = map[string]any{"type": "boolean"}
)

// valuesFile is a values.yaml.
func valuesFile(values []value) (string, error) {
	content, group := strings.Builder{}, ""
	content.WriteString(generated)
	for _, v := range values {
		head, name, nested := strings.Cut(v.path, ".")
		indentation := ""
		if nested {
			if head != group {
				content.WriteString(head + ":\n")
			}
			indentation = "  "
		} else {
			name = head
		}
		group = head
		encoded, err := yaml.Marshal(map[string]any{name: v.is})
		if err != nil {
			return "", fmt.Errorf("encoding the default of %s: %w", v.path, err)
		}
		for _, line := range strings.Split("# "+v.doc+"\n"+strings.TrimSuffix(string(encoded), "\n"), "\n") {
			content.WriteString(indentation + line + "\n")
		}
	}
	return content.String(), nil
}

// schemaFile is a values.schema.json, which Helm holds all values to.
func schemaFile(values []value) (string, error) {
	properties := map[string]any{}
	for _, v := range values {
		schema := map[string]any{"description": v.doc}
		for key, word := range v.schema {
			schema[key] = word
		}
		head, name, nested := strings.Cut(v.path, ".")
		if !nested {
			properties[head] = schema
			continue
		}
		group, known := properties[head].(map[string]any)
		if !known {
			group = closed(map[string]any{})
			properties[head] = group
		}
		fields(group["properties"])[name] = schema
	}
	// Helm gives every chart the values of its parent's `global`.
	properties["global"] = anyObject
	root := closed(properties)
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	encoded, err := json.MarshalIndent(root, "", "  ")
	return string(encoded) + "\n", err
}

// closed is an object with these properties and no other.
func closed(properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}
