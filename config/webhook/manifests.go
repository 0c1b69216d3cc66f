// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webhook carries the generated webhook configurations, so that a manager
// outside the cluster registers exactly what kustomize would.
package webhook

import _ "embed" // For the manifest below.

// Manifest is the MutatingWebhookConfiguration and the ValidatingWebhookConfiguration
// in YAML, as controller-gen makes them from the markers in internal/webhook.
//
//go:embed manifests.yaml
var Manifest []byte
