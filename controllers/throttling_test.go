// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// conditionsOf are the conditions of an object of any kind.
func conditionsOf(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.Region:
		return o.Status.Conditions
	case *v1alpha1.AMI:
		return o.Status.Conditions
	case *v1alpha1.Instance:
		return o.Status.Conditions
	case *v1alpha1.Mandelbox:
		return o.Status.Conditions
	}
	return nil
}

// failed says what calls an object failed, or in need of a person; "" if nothing does.
func failed(o client.Object) string {
	for _, kind := range []string{v1alpha1.ConditionStalled, v1alpha1.ConditionFinished} {
		if c := meta.FindStatusCondition(conditionsOf(o), kind); c != nil && c.Status == metav1.ConditionTrue {
			return kind + "/" + c.Reason + ": " + c.Message
		}
	}
	return ""
}

// neverFails fails the spec if any object is ever called failed.
func (w *world) neverFails(ctx context.Context) {
	GinkgoHelper()
	for _, kind := range []client.ObjectList{
		&v1alpha1.RegionList{}, &v1alpha1.AMIList{}, &v1alpha1.InstanceList{}, &v1alpha1.MandelboxList{},
	} {
		w.watchVersions(ctx, kind, failed)
	}
}

// throttle has AWS throttle every call of an operation, until the function that it
// returns is called.
func (w *world) throttle(operation string) (end func()) {
	GinkgoHelper()
	id, err := w.aws.AddFault(awsemu.Fault{Operation: operation, Action: awsemu.ActionThrottle})
	Expect(err).NotTo(HaveOccurred())
	return func() {
		GinkgoHelper()
		Expect(w.aws.RemoveFault(id)).To(BeTrue())
	}
}

// says is a condition of an object, as its status and reason.
func (w *world) says(ctx context.Context, o client.Object, kind string) func() string {
	return func() string {
		if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(conditionsOf(o), kind)
		if c == nil {
			return ""
		}
		return string(c.Status) + "/" + c.Reason
	}
}

// patient is how long what was throttled may take to go on: AWS is asked less and less
// often, and the machine may be busy.
const patient = time.Minute

var _ = Describe("Throttling by AWS", func() {
	const throttled = "False/" + v1alpha1.ReasonThrottled

	It("is what a Region and an AMI say that it holds up, never that they failed, until it ends", func(ctx context.Context) {
		w := newWorld()
		clusters, definitions := w.throttle("DescribeClusters"), w.throttle("RegisterTaskDefinition")
		region := w.region(ctx, near)
		channel := w.channel(ctx, "stable", []string{near})
		w.session(ctx, "waiting", []string{near})
		w.neverFails(ctx)
		Eventually(w.says(ctx, region, v1alpha1.ConditionReady)).Should(Equal(throttled))
		Eventually(w.says(ctx, channel, v1alpha1.ConditionRolledOut)).Should(Equal(throttled))
		Expect(w.says(ctx, channel, v1alpha1.ConditionReconciling)()).To(Equal("True/" + v1alpha1.ReasonThrottled))

		clusters()
		definitions()
		Eventually(w.says(ctx, region, v1alpha1.ConditionReady)).WithTimeout(patient).Should(Equal("True/" + v1alpha1.ReasonReady))
		Eventually(w.says(ctx, channel, v1alpha1.ConditionReady)).WithTimeout(patient).Should(Equal("True/" + v1alpha1.ReasonReady))
	})

	It("is what an Instance and a Mandelbox say that it holds up, and the launch and the start go through when it ends", func(ctx context.Context) {
		w := newWorld()
		launches, starts := w.throttle("RunInstances"), w.throttle("RunTask")
		w.region(ctx, near)
		w.channel(ctx, "stable", []string{near})
		m := w.session(ctx, "one", []string{near})
		w.neverFails(ctx)
		Eventually(func(g Gomega) {
			hosts, err := w.hosts(ctx, v1alpha1.InstancePreConnection)()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(hosts).NotTo(BeEmpty())
			for _, host := range hosts {
				g.Expect(condition(&host, v1alpha1.ConditionLaunched)).To(Equal(throttled))
				g.Expect(condition(&host, v1alpha1.ConditionReady)).To(Equal(throttled))
			}
		}).Should(Succeed())

		launches()
		Eventually(w.says(ctx, m, v1alpha1.ConditionReady)).WithTimeout(patient).Should(Equal(throttled), func() string { return w.summary(ctx) })
		Expect(m.Status.Phase).To(Equal(v1alpha1.MandelboxAllocated), "its slot stays its own")

		starts()
		Eventually(w.phase(ctx, m)).WithTimeout(patient).Should(Equal("Running/Running"))
		Expect(m.Status.Attempt).To(BeEquivalentTo(1))
		Expect(w.tasksOf(ctx, near, m)).To(HaveLen(1))
	})

	It("of the listings holds up no session", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: near}}
		w.neverFails(ctx)
		w.throttle("ListTasks")
		w.throttle("ListContainerInstances")
		Eventually(w.says(ctx, region, v1alpha1.ConditionReady)).WithTimeout(patient).Should(Equal(throttled))
		w.runs(ctx, w.session(ctx, "one", []string{near}))
	})
})
