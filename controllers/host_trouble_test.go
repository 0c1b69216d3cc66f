// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// impairedFor has hosts given up whose status checks fail for that long.
func impairedFor(d time.Duration) func(*v1alpha1.Region) {
	return func(r *v1alpha1.Region) { r.Spec.HostTimeouts.Impaired = &metav1.Duration{Duration: d} }
}

// healthy waits until the Instance's condition Healthy is that.
func (w *world) healthy(ctx context.Context, i *v1alpha1.Instance, want string) {
	GinkgoHelper()
	Eventually(func() string {
		w.is(ctx, i)()
		return condition(i, v1alpha1.ConditionHealthy)
	}).Should(Equal(want))
}

// expectAnother waits until a host other than this one is Active.
func (w *world) expectAnother(ctx context.Context, i *v1alpha1.Instance) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		active, err := w.hosts(ctx, v1alpha1.InstanceActive)()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(active).To(HaveLen(1))
		g.Expect(active[0].UID).NotTo(Equal(i.UID))
	}).Should(Succeed())
}

// leavesAfterItsSession expects that a session on a host that is given up lives until
// it ends, while another host takes the place, and that the host then goes.
func (w *world) leavesAfterItsSession(ctx context.Context, i *v1alpha1.Instance, m *v1alpha1.Mandelbox) {
	GinkgoHelper()
	Eventually(w.is(ctx, i)).Should(Equal("Draining/Draining"))
	w.expectAnother(ctx, i)
	later := w.session(ctx, "later", []string{home})
	w.runs(ctx, later)
	Expect(later.Status.InstanceName).NotTo(Equal(i.Name))
	Expect(w.phase(ctx, m)()).To(Equal("Running/Running"))
	w.exit(home, m, 0)
	w.ends(ctx, m, v1alpha1.ReasonCompleted)
	Eventually(w.gone(ctx, i)).Should(BeTrue())
	w.expectOneHostEach(ctx)
}

var _ = Describe("A host in trouble by what EC2 says", func() {
	It("stays Active while its status checks fail for no longer than they may", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		Expect(w.aws.ImpairInstance("", home, i.Status.InstanceID, true)).To(Succeed())
		w.healthy(ctx, i, "False/Impaired")
		Expect(w.is(ctx, i)()).To(Equal("Active/Ready"))
		Expect(w.aws.ImpairInstance("", home, i.Status.InstanceID, false)).To(Succeed())
		w.healthy(ctx, i, "True/Healthy")
		Expect(w.is(ctx, i)()).To(Equal("Active/Ready"))
	})

	It("is drained and replaced when its status checks fail for longer", func(ctx context.Context) {
		w := newWorld()
		i := &w.fleet(ctx, 1, free(1), impairedFor(time.Second))[0]
		m := w.session(ctx, "first", []string{home})
		w.runs(ctx, m)
		Expect(w.aws.ImpairInstance("", home, i.Status.InstanceID, true)).To(Succeed())
		w.leavesAfterItsSession(ctx, i, m)
	})

	It("is drained and replaced ahead of scheduled maintenance", func(ctx context.Context) {
		w := newWorld()
		i := &w.fleet(ctx, 1, free(1))[0]
		m := w.session(ctx, "first", []string{home})
		w.runs(ctx, m)
		Expect(w.aws.ScheduleEvent("", home, i.Status.InstanceID, awsemu.ScheduledEvent{
			Code: "instance-retirement", Description: "the hardware is degraded",
		})).To(Succeed())
		w.healthy(ctx, i, "False/ScheduledMaintenance")
		w.leavesAfterItsSession(ctx, i, m)
	})

	It("is left alone when the maintenance is over, or leaves it running", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		for code, description := range map[string]string{
			"instance-stop": "[Completed] done", "instance-reboot": "[Canceled] not needed", "system-maintenance": "of the network",
		} {
			Expect(w.aws.ScheduleEvent("", home, i.Status.InstanceID, awsemu.ScheduledEvent{Code: code, Description: description})).To(Succeed())
		}
		listed := w.calls("DescribeInstanceStatus")
		Eventually(func() int { return w.calls("DescribeInstanceStatus") }).Should(BeNumerically(">", listed+2))
		Expect(w.is(ctx, i)()).To(Equal("Active/Ready"))
		Expect(condition(i, v1alpha1.ConditionHealthy)).To(BeEmpty())
	})

	It("is terminated and replaced when somebody stops it, and its sessions are lost", func(ctx context.Context) {
		w := newWorld()
		i := &w.fleet(ctx, 1, free(1))[0]
		m := w.session(ctx, "first", []string{home})
		w.runs(ctx, m)
		_, err := ec2.NewFromConfig(w.awsConfig(home)).StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{i.Status.InstanceID}})
		Expect(err).NotTo(HaveOccurred())
		w.ends(ctx, m, v1alpha1.ReasonHostLost)
		w.expectReplaced(ctx, i)
	})
})
