// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd carries the generated CustomResourceDefinitions, so that the demo
// needs nothing but the binary.
package crd

import "embed"

// Files are the CustomResourceDefinitions in YAML, in the folder bases.
//
//go:embed bases/*.yaml
var Files embed.FS
