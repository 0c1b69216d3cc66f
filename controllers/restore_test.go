// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// lose takes all objects of the kinds away without the operator taking part, and
// returns them as they were.
func (w *world) lose(ctx context.Context, lists ...client.ObjectList) []client.Object {
	GinkgoHelper()
	var lost []client.Object
	for _, list := range lists {
		Expect(w.List(ctx, list)).To(Succeed())
		for _, o := range itemsOf(list) {
			lost = append(lost, o.DeepCopyObject().(client.Object))
			w.merge(ctx, o, `{"metadata":{"finalizers":null}}`)
			Expect(w.Delete(ctx, o)).To(Succeed())
		}
	}
	return lost
}

// restore makes objects anew as from a backup: with another uid and time of creation,
// and without status, finalizers and owners.
func (w *world) restore(ctx context.Context, objects []client.Object) {
	GinkgoHelper()
	for _, o := range objects {
		switch o := o.(type) {
		case *v1alpha1.Mandelbox:
			o.Status = v1alpha1.MandelboxStatus{}
		case *v1alpha1.Instance:
			o.Status = v1alpha1.InstanceStatus{}
		case *v1alpha1.AMI:
			o.Status = v1alpha1.AMIStatus{}
		case *v1alpha1.Region:
			o.Status = v1alpha1.RegionStatus{}
		}
		o.SetUID("")
		o.SetResourceVersion("")
		o.SetGeneration(0)
		o.SetCreationTimestamp(metav1.Time{})
		o.SetFinalizers(nil)
		o.SetOwnerReferences(nil)
		Expect(w.Create(ctx, o)).To(Succeed())
	}
}

// olderThanNow waits until what is made from now on has a later second of creation
// than all that there is.
func olderThanNow() {
	GinkgoHelper()
	made := time.Now().Truncate(time.Second)
	Eventually(func() time.Time { return time.Now().Truncate(time.Second) }).Should(BeTemporally(">", made))
}

// runningTasks counts the tasks that are to run.
func (w *world) runningTasks(ctx context.Context) int {
	GinkgoHelper()
	return len(w.tasks(ctx, home, ecstypes.DesiredStatusRunning))
}

var _ = Describe("Objects that are made anew from a backup", func() {
	It("find their hosts again, with the sessions on them, when only the Instances were lost", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 2)
		w.wantNoMore(ctx)
		tasks := w.sessions(ctx, slotsPerHost+3)
		hosts := w.hostIDs(ctx)
		launches, starts := w.calls("RunInstances"), w.calls("RunTask")
		w.stopManager()
		olderThanNow()
		w.restore(ctx, w.lose(ctx, &v1alpha1.InstanceList{}))
		w.watchClaims(ctx)
		w.startManager()
		w.expectAllAsBefore(ctx, hosts, tasks)
		Expect(w.calls("RunInstances")).To(Equal(launches))
		Expect(w.calls("RunTask")).To(Equal(starts))
		Expect(w.calls("TerminateInstances")).To(BeZero())
	})

	It("take over the hosts that there are when only Regions and channels are restored", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 3)
		hosts := w.hostIDs(ctx)
		launches := w.calls("RunInstances")
		w.stopManager()
		olderThanNow()
		lost := w.lose(ctx, &v1alpha1.RegionList{}, &v1alpha1.AMIList{})
		w.lose(ctx, &v1alpha1.InstanceList{})
		w.restore(ctx, lost)
		// The manager must know whether EC2 has anything against them.
		w.fault(awsemu.Fault{Operation: "DescribeInstanceStatus", Action: awsemu.ActionLatency, Latency: awsemu.Duration{Duration: 3 * time.Second}, Count: 1})
		w.startManager()
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(3), func() string { return w.summary(ctx) })
		w.expectOneHostEach(ctx)
		Expect(w.hostIDs(ctx)).To(ConsistOf(hosts))
		Expect(w.calls("RunInstances")).To(Equal(launches))
		Expect(w.calls("TerminateInstances")).To(BeZero())
	})

	It("share no host, whatever two managers that both led made of one", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 2)
		w.wantNoMore(ctx)
		hosts := w.hostIDs(ctx)
		w.stopManager()
		olderThanNow()
		lost := w.lose(ctx, &v1alpha1.InstanceList{})
		launch := lost[0].(*v1alpha1.Instance).Status.Launch.DeepCopy()
		launch.Count = launch.Index + 1
		w.restore(ctx, lost)
		for _, o := range lost {
			taken := o.(*v1alpha1.Instance)
			before := taken.DeepCopy()
			taken.Status.Launch, taken.Status.Phase = launch, v1alpha1.InstancePreConnection
			Expect(w.Status().Patch(ctx, taken, client.MergeFrom(before))).To(Succeed())
		}
		w.startManager()
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(2), func() string { return w.summary(ctx) })
		w.expectOneHostEach(ctx)
		Expect(w.hostIDs(ctx)).To(ConsistOf(hosts), "the other takes the host that nobody has")
		Expect(w.calls("TerminateInstances")).To(BeZero())
	})

	It("start their sessions anew, and leave those that run to a person when they are many", func(ctx context.Context) {
		w := newWorld(func(w *world) { w.orphanGrace = 500 * time.Millisecond })
		w.fleet(ctx, 2)
		w.sessions(ctx, 7)
		Expect(w.runningTasks(ctx)).To(Equal(7))
		w.stopManager()
		olderThanNow()
		w.restore(ctx, w.lose(ctx, &v1alpha1.RegionList{}, &v1alpha1.AMIList{}, &v1alpha1.InstanceList{}, &v1alpha1.MandelboxList{}))
		w.watchClaims(ctx)
		w.startManager()
		for n := range 7 {
			m := &v1alpha1.Mandelbox{}
			m.Namespace, m.Name = w.namespace, fmt.Sprint("s", n)
			w.runs(ctx, m)
		}
		Eventually(w.regionStalled(ctx, home)).Should(ContainSubstring("7 of 14 tasks that run belong to no Mandelbox"))
		Consistently(func() int { return w.runningTasks(ctx) }, "1s").Should(Equal(14))
		By("no old session sharing a host with a new one")
		Expect(w.sessionsByHost(ctx)).To(HaveEach(HaveLen(1)))

		w.merge(ctx, w.regionNow(ctx, home), fmt.Sprintf(`{"metadata":{"annotations":{%q:"7"}}}`, v1alpha1.AnnotationRemoveOrphans))
		w.expectOneTaskEach(ctx, 7)
		Eventually(w.regionStalled(ctx, home)).Should(BeEmpty())
		w.expectOneHostEach(ctx)
	})
})

// sessionsByHost is, by host, whether sessions run there that have a Mandelbox, or
// that have none, or both.
func (w *world) sessionsByHost(ctx context.Context) map[string]map[bool]bool {
	GinkgoHelper()
	var list v1alpha1.MandelboxList
	Expect(w.List(ctx, &list)).To(Succeed())
	known := map[string]bool{}
	for _, m := range list.Items {
		known[m.Status.TaskARN] = true
	}
	byHost := map[string]map[bool]bool{}
	for _, task := range w.tasks(ctx, home, ecstypes.DesiredStatusRunning) {
		if byHost[*task.ContainerInstanceArn] == nil {
			byHost[*task.ContainerInstanceArn] = map[bool]bool{}
		}
		byHost[*task.ContainerInstanceArn][known[*task.TaskArn]] = true
	}
	return byHost
}
