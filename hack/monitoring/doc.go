// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package monitoring holds the dashboards, alerts and runbooks under config/monitoring
// and docs/runbooks to Prometheus' own parser and promtool, and to the metrics that the
// manager really has. It has nothing but tests, and a module of its own because
// Prometheus has many dependencies.
package monitoring
