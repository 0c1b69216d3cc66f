// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("Traces", func() {
	It("tell of the launch of a host and of the start of a session, step by step", func(ctx context.Context) {
		spans := tracetest.NewInMemoryExporter()
		w := newWorld(func(w *world) { w.traces = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)) })
		w.region(ctx, home)
		w.channel(ctx, "stable", []string{home})
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
		w.runs(ctx, w.session(ctx, "one", []string{home}))
		names := func() []string {
			var names []string
			for _, span := range spans.GetSpans() {
				names = append(names, span.Name)
			}
			return names
		}
		Eventually(names).Should(ConsistOf(
			"launch host", "launch", "register", "warm up",
			"start session", "assign", "start task"))
	})
})
