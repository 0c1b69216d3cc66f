// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/metrics"
)

//go:generate go test . -run TestDocs -count=1 -args -update

var update = flag.Bool("update", false, "write docs/metrics.md instead of checking it")

func TestDocs(t *testing.T) {
	g := NewWithT(t)
	path := filepath.Join("..", "..", "docs", "metrics.md")
	if *update {
		g.Expect(os.WriteFile(path, []byte(metrics.Markdown()), 0o644)).To(Succeed())
	}
	written, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(written)).To(Equal(metrics.Markdown()), `run "go generate ./internal/metrics"`)
}

func TestDefinitions(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range metrics.Definitions() {
		t.Run(d.Name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(seen[d.Name]).To(BeFalse(), "defined twice")
			seen[d.Name] = true
			g.Expect(d.Name).To(HavePrefix("mandelbox_"))
			g.Expect(strings.HasSuffix(d.Name, "_total")).To(Equal(d.Type == metrics.Counter))
			if d.Type == metrics.Histogram {
				g.Expect(d.Buckets).NotTo(BeEmpty())
			} else {
				g.Expect(d.Buckets).To(BeEmpty())
			}
			g.Expect(d.Help).To(And(HaveSuffix("."), Not(ContainSubstring("|"))))
			for _, label := range d.Labels {
				g.Expect(label).To(BeElementOf(
					"region", "ami", "state", "phase", "reason", "condition", "outcome", "kind", "service", "operation", "code", "version", "goversion"),
					"a label whose values are not bounded by the number of Regions and channels")
			}
		})
	}
}
