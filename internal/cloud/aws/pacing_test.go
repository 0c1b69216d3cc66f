// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"context"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// series are the values of a metric by the operation that they are of.
func (l *localAWS) series(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := l.metrics.Gather()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			values[label(m, "operation")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

func TestThrottlingSlowsTheOffenderOnly(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	_, joined := l.registered(t, "pacing", 1)
	task, err := l.api.EnsureTaskDefinition(t.Context(), definition())
	g.Expect(err).NotTo(HaveOccurred())
	_, err = l.AddFault(awsemu.Fault{Operation: "ListTasks", Action: awsemu.ActionThrottle})
	g.Expect(err).NotTo(HaveOccurred())
	list := func(callers int) {
		for _, err := range atOnce(t.Context(), callers, func(ctx context.Context, _ int) error {
			_, err := l.api.ListTasks(ctx, nil)
			return err
		}) {
			mustKind(g, err, cloud.KindThrottled)
		}
	}
	list(10)
	g.Expect(l.series(t, "mandelbox_aws_allowed_rate")).To(And(HaveLen(1), HaveKey("ListTasks")))
	list(10) // Each waits for its turn now, and slows the next.
	g.Expect(l.series(t, "mandelbox_aws_allowed_rate")).To(And(HaveLen(1), HaveKeyWithValue("ListTasks", BeNumerically("<", 20))))

	// The starts of sessions share the client, and meet neither the pace nor its error.
	for _, host := range joined {
		for _, uid := range []string{"uid-1", "uid-2", "uid-3"} {
			_, err = l.api.RunTask(t.Context(), l.session(task, host, uid))
			g.Expect(err).NotTo(HaveOccurred())
		}
	}
	g.Expect(l.series(t, "mandelbox_aws_wait_seconds_total")).To(And(HaveLen(1), HaveKeyWithValue("ListTasks", BeNumerically(">", 0))))
}

func TestAPaceIsKeptByAllClientsOfAnAccountsRegion(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	_, err := l.AddFault(awsemu.Fault{Operation: "DescribeSubnets", Action: awsemu.ActionThrottle, Count: 6})
	g.Expect(err).NotTo(HaveOccurred())
	for range 6 { // So often that the next waits for seconds.
		_, err := l.api.Subnets(t.Context(), cloud.Selector{})
		g.Expect(cloud.KindOf(err)).To(Equal(cloud.KindThrottled))
	}
	before := l.series(t, "mandelbox_aws_wait_seconds_total")["DescribeSubnets"]
	same, elsewhere := l.target, l.target
	same.Region, elsewhere.Region, elsewhere.AWSRegion = "another-name", "west", "us-west-2"
	_, err = l.open(elsewhere).Subnets(t.Context(), cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(l.series(t, "mandelbox_aws_wait_seconds_total")["DescribeSubnets"]).To(BeNumerically("==", before), "another AWS region has buckets of its own")
	_, err = l.open(same).Subnets(t.Context(), cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(l.series(t, "mandelbox_aws_wait_seconds_total")["DescribeSubnets"]).To(BeNumerically(">", before))
}

func TestHeldBackCallsEndWithTheirCallers(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t, config.WithDefaultsMode(awssdk.DefaultsModeStandard))
	_, err := l.AddFault(awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionThrottle})
	g.Expect(err).NotTo(HaveOccurred())
	launch := l.launch(t, "held-back", 1)
	_, err = l.api.LaunchHosts(t.Context(), launch)
	g.Expect(cloud.KindOf(err)).To(Equal(cloud.KindThrottled))
	answered := err.Error()
	g.Expect(answered).To(HavePrefix("RunInstances: RequestLimitExceeded: "))

	// Its turn comes in seconds; a caller who has but a moment is told at once.
	sent := l.calls("RunInstances")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = l.api.LaunchHosts(ctx, launch)
	g.Expect(cloud.KindOf(err)).To(Equal(cloud.KindThrottled))
	g.Expect(err).To(MatchError(answered), "a status says the same of either")
	g.Expect(l.calls("RunInstances")).To(Equal(sent))

	// A caller who goes away waits no longer.
	ctx, cancel = context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := l.api.LaunchHosts(ctx, launch)
		gone <- err
	}()
	cancel()
	g.Eventually(gone).WithTimeout(patience).Should(Receive(MatchError(context.Canceled)))

	l.ClearFaults()
	g.Eventually(func() error {
		_, err := l.api.LaunchHosts(t.Context(), launch)
		return err
	}).WithTimeout(patience).Should(Succeed())
	hosts, err := l.api.ListHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(hosts).To(HaveLen(1), "the token made repeating it harmless")
}
