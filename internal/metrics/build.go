// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// ReportBuild says in a registry which version this program is.
func ReportBuild(registerer prometheus.Registerer, version string) error {
	info, err := Register(registerer, BuildInfo.NewGauge())
	if err != nil {
		return err
	}
	info.WithLabelValues(version, runtime.Version()).Set(1)
	return nil
}
