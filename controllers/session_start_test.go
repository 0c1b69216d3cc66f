// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// telling has the containers of a channel behave in a way that the local AWS knows.
func telling(name string) func(*v1alpha1.AMI) {
	return func(a *v1alpha1.AMI) {
		a.Spec.Task.Env = append(a.Spec.Task.Env, v1alpha1.EnvVar{Name: name, Value: ptr.To("1")})
	}
}

func checked(a *v1alpha1.AMI) {
	a.Spec.Task.HealthCheck = &v1alpha1.TaskHealthCheck{Command: []string{"CMD", "true"}}
}

var _ = Describe("A session whose task does not start", func() {
	var w *world
	// seldomListed has AWS be listed once an hour.
	var seldomListed bool
	BeforeEach(func() { seldomListed = false })
	// hosts makes two hosts of a channel.
	hosts := func(ctx context.Context, change ...func(*v1alpha1.AMI)) {
		GinkgoHelper()
		w = newWorld(func(w *world) {
			w.configure = func(o *controllers.Options) {
				if seldomListed {
					o.Observer.ListInterval = time.Hour
				}
			}
		})
		w.region(ctx, near, func(r *v1alpha1.Region) { r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](16) })
		w.channel(ctx, "stable", []string{near}, change...)
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(2))
		w.hasRoom(ctx, near, 16)
	}
	// stuck waits until the session has a task that has begun to start.
	stuck := func(ctx context.Context, m *v1alpha1.Mandelbox) {
		GinkgoHelper()
		Eventually(func() []ecstypes.Task { return w.tasksOf(ctx, near, m) }).Should(ConsistOf(HaveField("PullStoppedAt", Not(BeNil()))))
		Expect(w.phase(ctx, m)()).To(Equal("Allocated/" + v1alpha1.ReasonStarting))
	}

	It("is stopped after startTimeout and placed on another host", func(ctx context.Context) {
		hosts(ctx)
		w.delay(func(d *awsemu.Delays) { d.TaskStart = time.Hour })
		m := w.session(ctx, "slow", []string{near}, within(startTimeout, 5*time.Second))
		stuck(ctx, m)
		first := m.Status.InstanceName
		w.delay(func(d *awsemu.Delays) { d.TaskStart = awsemu.FastDelays().TaskStart })
		w.runs(ctx, m)
		Expect(m.Status.Attempt).To(BeEquivalentTo(2))
		Expect(m.Status.InstanceName).NotTo(Equal(first))
		Eventually(w.claims(ctx)).Should(Equal(1), "the first slot is free again")
		Expect(w.tasks(ctx, near, ecstypes.DesiredStatusRunning)).To(HaveLen(1))
		Eventually(w.told(ctx, m)).Should(Equal([]string{v1alpha1.ReasonStartTimeout}))
	})

	It("is over after three attempts that took too long", func(ctx context.Context) {
		hosts(ctx)
		w.delay(func(d *awsemu.Delays) { d.TaskStart = time.Hour })
		m := w.session(ctx, "hopeless", []string{near}, within(startTimeout, 500*time.Millisecond))
		w.ends(ctx, m, v1alpha1.ReasonStartTimeout)
		Expect(m.Status.Attempt).To(BeEquivalentTo(3))
		Expect(meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionFinished).Message).To(HavePrefix("attempt 3 of 3: "))
		Eventually(w.claims(ctx)).Should(BeZero())
		Expect(w.tasks(ctx, near, ecstypes.DesiredStatusRunning)).To(BeEmpty())
	})

	DescribeTable("is over after three attempts that ECS gave up", func(ctx context.Context, failure string) {
		hosts(ctx, telling(failure))
		m := w.session(ctx, "broken", []string{near})
		w.ends(ctx, m, v1alpha1.ReasonTaskFailed)
		Expect(w.tasksOf(ctx, near, m)).To(HaveLen(3))
		Eventually(w.claims(ctx)).Should(BeZero())
	},
		Entry("because the image can't be pulled", "MANDELBOX_EMU_FAIL_PULL"),
		Entry("because the container can't be started", "MANDELBOX_EMU_FAIL_START"),
	)

	It("is placed on another host at once when ECS refuses its own", func(ctx context.Context) {
		hosts(ctx)
		first := w.session(ctx, "first", []string{near})
		w.runs(ctx, first)
		var host v1alpha1.Instance
		Expect(w.Get(ctx, client.ObjectKey{Name: first.Status.InstanceName}, &host)).To(Succeed())
		Expect(w.aws.DisconnectAgent(awsemu.DefaultAccount, near, host.Status.InstanceID)).To(Succeed())
		second := w.session(ctx, "second", []string{near})
		w.runs(ctx, second)
		Expect(second.Status.InstanceName).NotTo(Equal(host.Name))
		Expect(w.phase(ctx, first)()).To(Equal("Running/Running"), "what runs is left alone")
	})

	It("loses nothing with its host, and is placed anew", func(ctx context.Context) {
		hosts(ctx)
		w.delay(func(d *awsemu.Delays) { d.TaskStart = time.Hour })
		m := w.session(ctx, "unlucky", []string{near})
		stuck(ctx, m)
		w.delay(func(d *awsemu.Delays) { d.TaskStart = awsemu.FastDelays().TaskStart })
		var host v1alpha1.Instance
		Expect(w.Get(ctx, client.ObjectKey{Name: m.Status.InstanceName}, &host)).To(Succeed())
		Expect(w.aws.KillInstance(awsemu.DefaultAccount, near, host.Status.InstanceID)).To(Succeed())
		w.runs(ctx, m)
		Expect(m.Status.Attempt).To(BeEquivalentTo(2))
		Expect(m.Status.InstanceName).NotTo(Equal(host.Name))
	})

	It("runs once its health check has passed, without waiting for a listing", func(ctx context.Context) {
		seldomListed = true
		hosts(ctx, checked)
		w.delay(func(d *awsemu.Delays) { d.HealthCheck = 5 * time.Second })
		m := w.session(ctx, "healthy", []string{near})
		Eventually(func() []ecstypes.Task { return w.tasksOf(ctx, near, m) }).Should(ConsistOf(HaveField("LastStatus", HaveValue(Equal("RUNNING")))))
		Expect(w.phase(ctx, m)()).To(Equal("Allocated/Starting"))
		w.runs(ctx, m)
	})

	It("does not run while its health check fails", func(ctx context.Context) {
		hosts(ctx, checked, telling("MANDELBOX_EMU_UNHEALTHY"))
		m := w.session(ctx, "ill", []string{near}, within(startTimeout, 4*time.Second))
		Eventually(func() []ecstypes.Task { return w.tasksOf(ctx, near, m) }).Should(ConsistOf(HaveField("LastStatus", HaveValue(Equal("RUNNING")))))
		Expect(w.phase(ctx, m)()).To(Equal("Allocated/Starting"))
		w.ends(ctx, m, v1alpha1.ReasonStartTimeout)
	})
})
