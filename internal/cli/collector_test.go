// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"runtime/debug"
	"testing"

	. "github.com/onsi/gomega"
)

// These change the whole process, so they are not parallel.

func TestTheCollectorIsPaced(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := currentGCPercent()
	end := paceCollector()
	g.Expect(currentGCPercent()).To(Equal(gcPercent))
	end()
	g.Expect(currentGCPercent()).To(Equal(before))
}

func TestTheEnvironmentPacesTheCollector(t *testing.T) {
	for name, value := range map[string]string{"GOGC": "70", "GOMEMLIMIT": "200MiB"} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, value)
			before := currentGCPercent()
			end := paceCollector()
			g.Expect(currentGCPercent()).To(Equal(before))
			end()
		})
	}
}

func currentGCPercent() int {
	percent := debug.SetGCPercent(100)
	debug.SetGCPercent(percent)
	return percent
}
