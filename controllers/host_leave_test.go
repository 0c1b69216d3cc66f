// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// oneHost lets a Region have one host.
func oneHost(r *v1alpha1.Region) { r.Spec.Capacity.MaxInstances = ptr.To[int32](1) }

// expectNothingLeft waits until AWS has no host, neither in EC2 nor in ECS.
func (w *world) expectNothingLeft(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(w.ec2Hosts(ctx, home)).To(BeEmpty())
		g.Expect(w.aws.State()[0].ContainerInstances).To(BeZero())
	}).Should(Succeed())
}

// leave asks a host to leave, one way or the other.
var leave = map[string]func(context.Context, *world, *v1alpha1.Instance){
	"deleted": func(ctx context.Context, w *world, i *v1alpha1.Instance) {
		Expect(w.Delete(ctx, i.DeepCopy())).To(Succeed())
	},
	"drained": func(ctx context.Context, w *world, i *v1alpha1.Instance) { w.drain(ctx, i, "true") },
}

var _ = Describe("A host that is to leave", func() {
	for how, ask := range leave {
		It("is terminated, taken out of ECS and gone when it is "+how+" without a session", func(ctx context.Context) {
			w := newWorld()
			i := w.host(ctx)
			ask(ctx, w, i)
			Eventually(w.gone(ctx, i)).Should(BeTrue())
			w.expectNothingLeft(ctx)
		})

		It("waits for its session, and takes no other, when it is "+how, func(ctx context.Context) {
			w := newWorld()
			i := w.host(ctx, oneHost)
			first := w.session(ctx, "first", []string{home})
			Eventually(w.phase(ctx, first)).Should(Equal("Running/Running"))
			ask(ctx, w, i)
			Eventually(w.is(ctx, i)).Should(Equal("Draining/Draining"))
			Expect(condition(i, v1alpha1.ConditionDrained)).To(Equal("False/Draining"))

			second := w.session(ctx, "second", []string{home})
			Eventually(w.phase(ctx, second)).Should(Equal("Pending/NoInstanceAvailable"))
			Consistently(w.phase(ctx, first), "500ms").Should(Equal("Running/Running"))
			Expect(w.ec2Hosts(ctx, home)).To(HaveLen(1))

			Expect(w.aws.ExitTask("", home, first.Status.TaskARN, 0, "")).To(Succeed())
			Eventually(w.phase(ctx, first)).Should(Equal("Finished/Completed"))
			Eventually(w.gone(ctx, i)).Should(BeTrue())
			Eventually(w.phase(ctx, second)).Should(Equal("Running/Running"), "on the host that takes the place")
			w.expectOneHostEach(ctx)
		})
	}

	It("takes sessions again when the drain is taken back in time", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx, oneHost)
		first := w.session(ctx, "first", []string{home})
		Eventually(w.phase(ctx, first)).Should(Equal("Running/Running"))
		w.drain(ctx, i, "true")
		Eventually(w.is(ctx, i)).Should(Equal("Draining/Draining"))
		w.drain(ctx, i, "false")
		Eventually(w.is(ctx, i)).Should(Equal("Active/Ready"))
		second := w.session(ctx, "second", []string{home})
		Eventually(w.phase(ctx, second)).Should(Equal("Running/Running"))
		Expect(second.Status.InstanceName).To(Equal(i.Name))
		Expect(condition(i, v1alpha1.ConditionDrained)).To(BeEmpty())
	})

	It("leaves no EC2 instance behind when it is deleted in the middle of its launch", func(ctx context.Context) {
		w := newWorld()
		w.fault(awsemu.Fault{
			Operation: "RunInstances", Phase: awsemu.PhaseAfter, Action: awsemu.ActionLatency,
			Latency: awsemu.Duration{Duration: 500 * time.Millisecond}, Count: 1,
		})
		w.region(ctx, home)
		w.channel(ctx, "stable", []string{home})
		var i v1alpha1.Instance
		Eventually(func(g Gomega) {
			all, err := w.hosts(ctx, "")()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(all).To(HaveLen(1))
			i = all[0]
			g.Expect(i.Status.Launch).NotTo(BeNil())
		}).Should(Succeed())
		w.wantNoMore(ctx)
		Expect(w.Delete(ctx, &i)).To(Succeed())
		Eventually(w.gone(ctx, &i)).Should(BeTrue())
		w.expectNothingLeft(ctx)
	})

	It("goes although ECS refuses to drain it first", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		w.fault(awsemu.Fault{Operation: "UpdateContainerInstancesState", Action: awsemu.ActionError, Code: "AccessDeniedException", Status: 400})
		Expect(w.Delete(ctx, i.DeepCopy())).To(Succeed())
		Eventually(w.gone(ctx, i)).Should(BeTrue())
		w.expectNothingLeft(ctx)
	})

	It("says so while EC2 refuses to terminate it, and stays", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		w.fault(awsemu.Fault{Operation: "TerminateInstances", Action: awsemu.ActionError, Code: "UnauthorizedOperation", Status: 403})
		Expect(w.Delete(ctx, i.DeepCopy())).To(Succeed())
		Eventually(w.is(ctx, i)).Should(Equal("Terminating/Unauthorized"))
		Consistently(w.gone(ctx, i), "300ms").Should(BeFalse())

		w.aws.ClearFaults()
		w.merge(ctx, i.DeepCopy(), `{"metadata":{"labels":{"look":"again"}}}`)
		Eventually(w.gone(ctx, i)).Should(BeTrue())
		w.expectNothingLeft(ctx)
	})
})
