// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package samples carries the sample objects, so that the demo needs nothing but
// the binary.
package samples

import "embed"

// Files are the sample objects in YAML, and the kustomization that lists them.
//
//go:embed *.yaml
var Files embed.FS
