// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// object is a manifest.
type object map[string]any

func (o object) kind() string { return text(o["kind"]) }
func (o object) name() string { return text(fields(o["metadata"])["name"]) }

// kustomized is what kustomize makes of a folder.
func kustomized(folder string) ([]object, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, fmt.Errorf("kustomizing %s: %w", folder, err)
	}
	var objects []object
	for _, resource := range resources.Resources() {
		content, err := resource.Map()
		if err != nil {
			return nil, err
		}
		objects = append(objects, content)
	}
	return objects, nil
}

// split takes the CRDs apart from the rest, and leaves the Namespace out: Helm installs
// into one that is there.
func split(objects []object) (definitions, rest []object) {
	for _, o := range objects {
		switch o.kind() {
		case "CustomResourceDefinition":
			definitions = append(definitions, o)
		case "Namespace":
		default:
			rest = append(rest, o)
		}
	}
	return definitions, rest
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func fields(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func items(v any) []any {
	l, _ := v.([]any)
	return l
}
