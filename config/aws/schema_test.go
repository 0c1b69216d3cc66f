// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/awslabs/goformation/v7/schema"
	. "github.com/onsi/gomega"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const definitions = "#/definitions/"

// resourceSchema is the JSON schema of one type of resource, with the definitions
// that it refers to; those of all types together are more than a test should read.
func resourceSchema(g *WithT, all map[string]any, resourceType string) *jsonschema.Schema {
	needed := map[string]any{}
	var need func(name string)
	need = func(name string) {
		if _, done := needed[name]; done {
			return
		}
		g.Expect(all).To(HaveKey(name), "CloudFormation has no such type")
		needed[name] = all[name]
		walk(all[name], func(value any) {
			if m, ok := value.(map[string]any); ok {
				if ref, ok := m["$ref"].(string); ok {
					need(strings.TrimPrefix(ref, definitions))
				}
			}
		})
	}
	need(resourceType)
	compiler := jsonschema.NewCompiler()
	g.Expect(compiler.AddResource("resource.json", map[string]any{
		"$schema": "http://json-schema.org/draft-04/schema#", "definitions": needed, "$ref": definitions + resourceType,
	})).To(Succeed())
	compiled, err := compiler.Compile("resource.json")
	g.Expect(err).NotTo(HaveOccurred())
	return compiled
}

// asJSON is a value as it looks after it has been written as JSON and read again.
func asJSON(g *WithT, value any) any {
	text, err := json.Marshal(value)
	g.Expect(err).NotTo(HaveOccurred())
	read, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	g.Expect(err).NotTo(HaveOccurred())
	return read
}

// TestResourcesAreAsSpecified holds every resource to CloudFormation's own
// specification of its type: no property that isn't there, none missing that must
// be, each of its type.
func TestResourcesAreAsSpecified(t *testing.T) {
	g := NewWithT(t)
	tpl := readTemplate(g)
	var specification struct {
		Definitions map[string]any `json:"definitions"`
	}
	g.Expect(json.Unmarshal([]byte(schema.CloudformationSchema), &specification)).To(Succeed())
	g.Expect(tpl.Resources).NotTo(BeEmpty())
	for name, resource := range tpl.Resources {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			resourceType, _ := at(g, resource, "Type").(string)
			// What a function gives is text wherever this template has one.
			plain := replace(resource, func(string, any) any { return "text" })
			compiled := resourceSchema(g, specification.Definitions, resourceType)
			g.Expect(compiled.Validate(asJSON(g, plain))).To(Succeed())

			// That can fail: the same with one property more.
			properties, _ := at(g, plain, "Properties").(map[string]any)
			properties["Colour"] = "blue"
			g.Expect(compiled.Validate(asJSON(g, plain))).NotTo(Succeed())
		})
	}
}
