// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// scraped is the metrics beside the operator's own that dashboards and alerts may ask
// for: a line for each has its name, type and labels.
var scraped = filepath.Join("..", "config", "monitoring", "testdata", "scraped.txt")

// described takes a metric's description apart, which tells its parts in no other way.
var described = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

// served are the metrics that a manager serves beside the operator's own, those without
// a value yet among them, as lines of that file by their names.
func served() map[string]string {
	GinkgoHelper()
	families, err := ctrlmetrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	types := map[string]string{}
	for _, family := range families {
		types[family.GetName()] = strings.ToLower(family.GetType().String())
	}
	registry, ok := ctrlmetrics.Registry.(prometheus.Collector)
	Expect(ok).To(BeTrue())
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		registry.Describe(descriptions)
	}()
	lines := map[string]string{}
	for description := range descriptions {
		parts := described.FindStringSubmatch(description.String())
		Expect(parts).NotTo(BeNil(), description.String())
		if strings.HasPrefix(parts[1], "mandelbox_") || strings.HasPrefix(parts[1], "go_") {
			continue
		}
		words := []string{parts[1], cmp.Or(types[parts[1]], "unknown")}
		if parts[2] != "" {
			words = append(words, slices.Sorted(slices.Values(strings.Split(parts[2], ",")))...)
		}
		lines[parts[1]] = strings.Join(words, " ")
	}
	return lines
}

var _ = Describe("Metrics that a manager serves beside the operator's own", func() {
	It("are those that dashboards and alerts may ask for", func(ctx context.Context) {
		w := newWorld()
		w.host(ctx)
		w.runs(ctx, w.session(ctx, "one", []string{home}))
		if os.Getenv(recordVariable) != "" {
			lines := slices.Sorted(maps.Values(served()))
			Expect(os.MkdirAll(filepath.Dir(scraped), 0o755)).To(Succeed())
			Expect(os.WriteFile(scraped, []byte(strings.Join(lines, "\n")+"\n"), 0o600)).To(Succeed())
		}
		content, err := os.ReadFile(scraped)
		Expect(err).NotTo(HaveOccurred())
		now := served()
		for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
			recorded := strings.Fields(line)
			is := strings.Fields(now[recorded[0]])
			Expect(is).NotTo(BeEmpty(), "%s is served no more; `make record`", recorded[0])
			Expect(is[2:]).To(Equal(recorded[2:]), "the labels of %s", recorded[0])
		}
	})
})
