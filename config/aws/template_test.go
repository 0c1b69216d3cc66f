// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package aws_test holds what is to be set up in AWS to what AWS documents, to what
// the local AWS does, and to what the operator asks for.
package aws_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"go.yaml.in/yaml/v3"
)

// template is the CloudFormation template, with every intrinsic function in its
// long form, e.g. {"Ref": "Vpc"}.
type template struct {
	Parameters, Conditions, Resources, Outputs map[string]any
}

func readTemplate(g *WithT) template {
	content, err := os.ReadFile("cloudformation.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	var document yaml.Node
	g.Expect(yaml.Unmarshal(content, &document)).To(Succeed())
	root, ok := longForm(g, document.Content[0]).(map[string]any)
	g.Expect(ok).To(BeTrue())
	sections := map[string]map[string]any{}
	for name, section := range root {
		switch name {
		case "AWSTemplateFormatVersion", "Description":
		default:
			sections[name], ok = section.(map[string]any)
			g.Expect(ok).To(BeTrue(), name)
		}
	}
	t := template{sections["Parameters"], sections["Conditions"], sections["Resources"], sections["Outputs"]}
	g.Expect(sections).To(HaveLen(4))
	return t
}

// longForm turns a node into maps, lists and scalars, and a tag such as !Ref into
// the function that it is short for.
// See https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html.
func longForm(g *WithT, node *yaml.Node) any {
	var value any
	switch node.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(node.Content); i += 2 {
			key := node.Content[i]
			g.Expect(key.Tag).To(Equal("!!str"), "line %d: the key %q is no text", key.Line, key.Value)
			g.Expect(m).NotTo(HaveKey(key.Value), "line %d: it is there twice", key.Line)
			m[key.Value] = longForm(g, node.Content[i+1])
		}
		value = m
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range node.Content {
			list = append(list, longForm(g, item))
		}
		value = list
	case yaml.ScalarNode:
		plain := *node
		if strings.HasPrefix(plain.Tag, "!") && !strings.HasPrefix(plain.Tag, "!!") {
			plain.Tag = "!!str"
		}
		g.Expect(plain.Decode(&value)).To(Succeed())
	default:
		g.Expect(node.Kind).To(BeZero(), "line %d: a node of a kind that templates have none of", node.Line)
	}
	function, tagged := strings.CutPrefix(node.Tag, "!")
	switch {
	case !tagged || strings.HasPrefix(function, "!"):
		return value
	case function == "Ref" || function == "Condition":
		return map[string]any{function: value}
	case function == "GetAtt":
		resource, attribute, _ := strings.Cut(fmt.Sprint(value), ".")
		return map[string]any{"Fn::GetAtt": []any{resource, attribute}}
	default:
		return map[string]any{"Fn::" + function: value}
	}
}

// function is the name and argument of an intrinsic function; ok is false if the
// value is none.
func function(value any) (name string, argument any, ok bool) {
	m, isMap := value.(map[string]any)
	if !isMap || len(m) != 1 {
		return "", nil, false
	}
	for name, argument := range m {
		if name == "Ref" || strings.HasPrefix(name, "Fn::") {
			return name, argument, true
		}
	}
	return "", nil, false
}

// walk visits a value and all that is in it.
func walk(value any, visit func(any)) {
	visit(value)
	switch v := value.(type) {
	case map[string]any:
		for _, in := range v {
			walk(in, visit)
		}
	case []any:
		for _, in := range v {
			walk(in, visit)
		}
	}
}

// replace replaces every intrinsic function by what resolve makes of it.
func replace(value any, resolve func(name string, argument any) any) any {
	if name, argument, ok := function(value); ok {
		return resolve(name, argument)
	}
	switch v := value.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, in := range v {
			m[key] = replace(in, resolve)
		}
		return m
	case []any:
		list := []any{}
		for _, in := range v {
			list = append(list, replace(in, resolve))
		}
		return list
	}
	return value
}

// at goes down the keys.
func at(g *WithT, value any, keys ...string) any {
	for _, key := range keys {
		m, ok := value.(map[string]any)
		g.Expect(ok).To(BeTrue(), key)
		g.Expect(m).To(HaveKey(key))
		value = m[key]
	}
	return value
}

func (t template) properties(g *WithT, resource string) map[string]any {
	properties, ok := at(g, t.Resources, resource, "Properties").(map[string]any)
	g.Expect(ok).To(BeTrue())
	return properties
}

// ofType lists the resources of a type by name, sorted.
func (t template) ofType(g *WithT, resourceType string) []string {
	var names []string
	for name := range t.Resources {
		if at(g, t.Resources, name, "Type") == resourceType {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// attributes are those that Fn::GetAtt may name, of the types that it is used on:
// the "Return values" of each type in
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/.
var attributes = map[string][]string{
	"AWS::SQS::Queue":   {"Arn", "QueueName", "QueueUrl"},
	"AWS::Events::Rule": {"Arn"},
	"AWS::ECS::Cluster": {"Arn"},
	"AWS::IAM::Role":    {"Arn", "RoleId"},
}

// variable is a reference in the text of Fn::Sub.
var variable = regexp.MustCompile(`\$\{([^!}]+)\}`)

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	g := NewWithT(t)
	tpl := readTemplate(g)
	used := map[string]bool{}
	refer := func(name string) {
		used[name] = true
		if strings.HasPrefix(name, "AWS::") {
			g.Expect(name).To(BeElementOf("AWS::AccountId", "AWS::Partition", "AWS::Region", "AWS::StackName", "AWS::URLSuffix"))
			return
		}
		_, parameter := tpl.Parameters[name]
		_, resource := tpl.Resources[name]
		g.Expect(parameter || resource).To(BeTrue(), "there is no %s", name)
	}
	attribute := func(resource, name string) {
		refer(resource)
		g.Expect(attributes[fmt.Sprint(at(g, tpl.Resources, resource, "Type"))]).To(ContainElement(name), resource)
	}
	for _, section := range []map[string]any{tpl.Resources, tpl.Outputs, tpl.Conditions} {
		walk(section, func(value any) {
			name, argument, ok := function(value)
			switch list, _ := argument.([]any); {
			case !ok:
			case name == "Ref":
				refer(fmt.Sprint(argument))
			case name == "Fn::GetAtt":
				attribute(fmt.Sprint(list[0]), fmt.Sprint(list[1]))
			case name == "Fn::If":
				g.Expect(list).To(HaveLen(3))
				g.Expect(tpl.Conditions).To(HaveKey(list[0]))
				used[fmt.Sprint(list[0])] = true
			case name == "Fn::Sub":
				text, ok := argument.(string)
				g.Expect(ok).To(BeTrue(), "Fn::Sub with a map is not looked into here")
				for _, match := range variable.FindAllStringSubmatch(text, -1) {
					if resource, name, isAttribute := strings.Cut(match[1], "."); isAttribute {
						attribute(resource, name)
					} else {
						refer(match[1])
					}
				}
			default:
				g.Expect(name).To(BeElementOf("Fn::Cidr", "Fn::Equals", "Fn::GetAZs", "Fn::Join", "Fn::Not", "Fn::Select"))
			}
		})
	}
	for name := range tpl.Resources {
		resource, _ := tpl.Resources[name].(map[string]any)
		if on, ok := resource["DependsOn"]; ok {
			g.Expect(tpl.Resources).To(HaveKey(on))
		}
	}
	for _, section := range []map[string]any{tpl.Parameters, tpl.Conditions} {
		for name := range section {
			g.Expect(used).To(HaveKey(name), "nothing uses it")
		}
	}
}
