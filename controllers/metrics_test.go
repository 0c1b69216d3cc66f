// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"runtime"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// scrape reads what the managers report: the value of each of the operator's gauges
// and counters, and the number of observations of each histogram, by its name,
// without the prefix that all have, and its label values in alphabetical order of
// the labels.
func (w *world) scrape() (map[string]float64, error) {
	families, err := w.metrics.Gather()
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), "mandelbox_")
		if !ours {
			continue
		}
		for _, m := range family.GetMetric() {
			key := []string{name}
			for _, label := range m.GetLabel() {
				key = append(key, label.GetValue())
			}
			values[strings.Join(key, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values, nil
}

// expectValues waits for a scrape that has each of the values.
func (w *world) expectValues(want map[string]float64) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		values, err := w.scrape()
		g.Expect(err).NotTo(HaveOccurred())
		for key, value := range want {
			g.Expect(values).To(HaveKeyWithValue(key, value))
		}
	}).Should(Succeed())
}

var _ = Describe("Metrics", func() {
	It("tell of the fleet, and of a session from its start to its end", func(ctx context.Context) {
		w := newWorld()
		w.host(ctx)
		m := w.session(ctx, "one", []string{home})
		w.expectValues(map[string]float64{
			"build_info " + runtime.Version() + " v-test":         1,
			"slots stable us-east-1 free":                         slotsPerHost - 1,
			"slots stable us-east-1 claimed":                      1,
			"instances stable Active us-east-1":                   1,
			"sessions Running us-east-1":                          1,
			"pending_oldest_age_seconds us-east-1":                0,
			"region_condition Available us-east-1":                1,
			"ami_condition stable RolledOut":                      1,
			"session_assignment_duration_seconds us-east-1":       1,
			"session_start_duration_seconds us-east-1":            1,
			"instance_launch_duration_seconds us-east-1":          1,
			"instance_boot_duration_seconds us-east-1":            1,
			"aws_request_duration_seconds  RunTask us-east-1 ECS": 1,
		})

		Expect(w.Delete(ctx, m)).To(Succeed())
		w.expectValues(map[string]float64{
			"sessions_finished_total Deleted us-east-1": 1,
			"claims_released_total us-east-1":           1,
			"slots stable us-east-1 free":               slotsPerHost,
			"sessions Running us-east-1":                0,
		})
	})

	It("tell of what is waited for, and of launches that AWS refuses", func(ctx context.Context) {
		w := newWorld()
		w.fault(awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionError, Code: "VcpuLimitExceeded", Status: 400})
		w.region(ctx, home)
		w.channel(ctx, "stable", []string{home})
		w.session(ctx, "one", []string{home, "eu-invented-1"})
		w.expectValues(map[string]float64{
			"pending_sessions NoInstanceAvailable us-east-1":   1,
			"slots stable us-east-1 free":                      0,
			"slots_desired_free stable us-east-1":              1,
			"instances_stalled stable QuotaExceeded us-east-1": 1,
		})
		Eventually(w.scrape).Should(And(
			HaveKeyWithValue("pending_oldest_age_seconds us-east-1", BeNumerically(">", 0)),
			HaveKeyWithValue("launches_refused_total QuotaExceeded us-east-1", BeNumerically(">", 0)),
			HaveKeyWithValue("aws_request_duration_seconds VcpuLimitExceeded RunInstances us-east-1 EC2", BeNumerically(">", 0)),
		))
	})

	It("are the leader's alone, and its gauges end with it", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, home)
		Eventually(w.scrape).Should(HaveKeyWithValue("region_enabled us-east-1", BeEquivalentTo(1)))
		w.stopManager()
		Expect(w.scrape()).NotTo(HaveKey(HavePrefix("region_")))
	})
})
