// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command charts writes the Helm charts under config/charts from config/default:
// charts CONFIG_FOLDER. What kustomize makes of config/default is taken apart into one
// template for each object, and the fields that a user may change become values, whose
// defaults are what stood there.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// version is that of both charts, and of the operator they install.
const version = "0.1.0"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: charts CONFIG_FOLDER")
		os.Exit(2)
	}
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "charts:", err)
		os.Exit(1)
	}
}

// generate writes both charts anew.
func generate(config string) error {
	objects, err := kustomized(filepath.Join(config, "default"))
	if err != nil {
		return err
	}
	definitions, rest := split(objects)
	crds, err := crdChart(definitions)
	if err != nil {
		return err
	}
	operator, err := operatorChart(rest)
	if err != nil {
		return err
	}
	for _, chart := range []chart{crds, operator} {
		if err := chart.write(filepath.Join(config, "charts")); err != nil {
			return err
		}
	}
	return nil
}

// chart is a chart's files by their paths in it.
type chart struct {
	name  string
	files map[string]string
}

// write replaces the chart in a folder.
func (c chart) write(folder string) error {
	root := filepath.Join(folder, c.name)
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	for name, content := range c.files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// metadata is a Chart.yaml.
func metadata(name, description string) string {
	return fmt.Sprintf(`apiVersion: v2
name: %s
description: %s
type: application
version: %s
appVersion: %s
kubeVersion: ">=1.33.0-0"
`, name, description, version, version)
}

// generated is the head of each file that a person might want to change.
const generated = "# Generated from config/default by `make generate`.\n"
