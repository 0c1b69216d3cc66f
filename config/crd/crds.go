// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd carries the generated CustomResourceDefinitions, so that the demo
// needs nothing but the binary.
package crd

import (
	"embed"
	"fmt"
	"io/fs"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// Files are the CustomResourceDefinitions in YAML, in the folder bases.
//
//go:embed bases/*.yaml
var Files embed.FS

// Definitions reads the files.
func Definitions() ([]apiextensionsv1.CustomResourceDefinition, error) {
	names, err := fs.Glob(Files, "bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the CRDs: %w", err)
	}
	definitions := make([]apiextensionsv1.CustomResourceDefinition, len(names))
	for i, name := range names {
		raw, err := Files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		if err := yaml.UnmarshalStrict(raw, &definitions[i]); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return definitions, nil
}
