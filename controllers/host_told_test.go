// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// conditionsOf collects what a condition of Instances was from now on until the spec
// ends, each as "Status/Reason".
func (w *world) conditionsOf(ctx context.Context, conditionType string) func() []string {
	GinkgoHelper()
	var mu sync.Mutex
	var seen []string
	w.watchVersions(ctx, &v1alpha1.InstanceList{}, func(o client.Object) string {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, condition(o.(*v1alpha1.Instance), conditionType))
		return ""
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// expectTold expects an Event on the host and a count in the metrics, both with the
// reason that it is given up for.
func (w *world) expectTold(ctx context.Context, i *v1alpha1.Instance, reason string) {
	GinkgoHelper()
	Eventually(w.told(ctx, i)).Should(ContainElement(reason))
	w.expectValues(map[string]float64{"instances_given_up_total stable " + reason + " us-east-1": 1})
}

var _ = Describe("A host that is given up", func() {
	DescribeTable("is told of by a condition, an Event and a metric",
		func(ctx context.Context, conditionType, reason string, harm func(context.Context, *world, string), change ...func(*v1alpha1.Region)) {
			w := newWorld()
			i := &w.fleet(ctx, 1, append(change, free(1))...)[0]
			conditions := w.conditionsOf(ctx, conditionType)
			harm(ctx, w, i.Status.InstanceID)
			Eventually(conditions).Should(ContainElement("False/" + reason))
			w.expectTold(ctx, i, reason)
			w.expectAnother(ctx, i)
		},
		Entry("when somebody terminates it", v1alpha1.ConditionLaunched, v1alpha1.ReasonTerminated,
			func(_ context.Context, w *world, id string) {
				Expect(w.aws.KillInstance("", home, id)).To(Succeed())
			}),
		Entry("when somebody stops it", v1alpha1.ConditionLaunched, v1alpha1.ReasonStoppedOutside,
			func(ctx context.Context, w *world, id string) {
				_, err := ec2.NewFromConfig(w.awsConfig(home)).StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
				Expect(err).NotTo(HaveOccurred())
			}),
		Entry("when its agent is silent for too long", v1alpha1.ConditionRegistered, v1alpha1.ReasonAgentDisconnected,
			func(_ context.Context, w *world, id string) {
				Expect(w.aws.DisconnectAgent("", home, id)).To(Succeed())
			}, timeouts(time.Minute, 300*time.Millisecond)),
		Entry("when its status checks fail for too long", v1alpha1.ConditionHealthy, v1alpha1.ReasonImpaired,
			func(_ context.Context, w *world, id string) {
				Expect(w.aws.ImpairInstance("", home, id, true)).To(Succeed())
			}, impairedFor(time.Second)),
		Entry("ahead of maintenance", v1alpha1.ConditionHealthy, v1alpha1.ReasonScheduledMaintenance,
			func(_ context.Context, w *world, id string) {
				Expect(w.aws.ScheduleEvent("", home, id, awsemu.ScheduledEvent{Code: "instance-stop"})).To(Succeed())
			}),
		Entry("when EC2 takes it back", v1alpha1.ConditionHealthy, v1alpha1.ReasonSpotInterruption,
			func(_ context.Context, w *world, id string) {
				w.delay(func(d *awsemu.Delays) { d.SpotNotice = 10 * time.Second })
				Expect(w.aws.InterruptSpot("", home, id)).To(Succeed())
			}, spot),
	)

	It("is told of by a condition, an Event and a metric when its agent never registers", func(ctx context.Context) {
		w := newWorld()
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = time.Hour })
		conditions := w.conditionsOf(ctx, v1alpha1.ConditionRegistered)
		w.region(ctx, home, timeouts(3*time.Second, time.Minute))
		w.channel(ctx, "stable", []string{home})
		var hosts []v1alpha1.Instance
		Eventually(func(g Gomega) {
			var err error
			hosts, err = w.hosts(ctx, v1alpha1.InstancePreConnection)()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(hosts).To(HaveLen(1))
			g.Expect(condition(&hosts[0], v1alpha1.ConditionLaunched)).To(Equal("True/" + v1alpha1.ReasonLaunched))
		}).Should(Succeed())
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = awsemu.FastDelays().AgentBoot })
		w.expectTold(ctx, &hosts[0], v1alpha1.ReasonRegistrationTimeout)
		Expect(conditions()).To(ContainElement("False/" + v1alpha1.ReasonRegistering))
		w.expectAnother(ctx, &hosts[0])
	})
})
