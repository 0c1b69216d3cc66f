// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// loseStatus has objects be as restored from a backup that omits their status.
func (w *world) loseStatus(ctx context.Context, lists ...client.ObjectList) {
	GinkgoHelper()
	for _, list := range lists {
		Expect(w.List(ctx, list)).To(Succeed())
		for _, o := range itemsOf(list) {
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
			Expect(w.Status().Update(ctx, o)).To(Succeed())
		}
	}
}

// sessions makes that many, and waits until each runs; their tasks, by session.
func (w *world) sessions(ctx context.Context, n int) map[string]string {
	GinkgoHelper()
	tasks := map[string]string{}
	for i := range n {
		w.session(ctx, fmt.Sprint("s", i), []string{home})
	}
	for i := range n {
		m := &v1alpha1.Mandelbox{}
		m.Namespace, m.Name = w.namespace, fmt.Sprint("s", i)
		w.runs(ctx, m)
		tasks[m.Name] = m.Status.TaskARN
	}
	return tasks
}

// hostIDs are the EC2 instances that run.
func (w *world) hostIDs(ctx context.Context) []string {
	GinkgoHelper()
	var ids []string
	for _, host := range w.ec2Hosts(ctx, home) {
		ids = append(ids, *host.InstanceId)
	}
	return ids
}

// expectAllAsBefore waits until the hosts are Active and the sessions run, on what
// they had before.
func (w *world) expectAllAsBefore(ctx context.Context, hosts []string, tasks map[string]string) {
	GinkgoHelper()
	Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(len(hosts)), func() string { return w.summary(ctx) })
	w.expectOneTaskEach(ctx, len(tasks))
	w.expectOneHostEach(ctx)
	Expect(w.hostIDs(ctx)).To(ConsistOf(hosts))
	for name, task := range tasks {
		var m v1alpha1.Mandelbox
		Expect(w.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, &m)).To(Succeed())
		Expect(m.Status.TaskARN).To(Equal(task), name)
		var i v1alpha1.Instance
		Expect(w.Get(ctx, client.ObjectKey{Name: m.Status.InstanceName}, &i)).To(Succeed())
		claim := i.ClaimOf(string(m.UID))
		Expect(claim).NotTo(BeNil(), name)
		Expect([]int32{claim.Slot, claim.Attempt}).To(Equal([]int32{*m.Status.Slot, m.Status.Attempt}), name)
	}
	Expect(w.tasks(ctx, home, ecstypes.DesiredStatusStopped)).To(BeEmpty())
}

var _ = Describe("A fleet whose status is lost", func() {
	DescribeTable("goes on with the same hosts, slots and tasks when all of it is", func(ctx context.Context, last bool) {
		var held atomic.Bool
		back := make(chan struct{})
		w := newWorld(func(w *world) {
			w.wrap = func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					if held.Load() && r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/amis/stable/status") {
						select {
						case <-back:
						case <-r.Context().Done():
						}
					}
					return next.RoundTrip(r)
				})
			}
		})
		w.fleet(ctx, 2)
		w.wantNoMore(ctx)
		tasks := w.sessions(ctx, 5)
		hosts := w.hostIDs(ctx)
		launches, starts := w.calls("RunInstances"), w.calls("RunTask")
		w.stopManager()
		w.loseStatus(ctx, &v1alpha1.MandelboxList{}, &v1alpha1.InstanceList{}, &v1alpha1.AMIList{}, &v1alpha1.RegionList{})
		held.Store(last)
		w.watchClaims(ctx)
		w.startManager()
		if last {
			adopted := WithTransform(func(i v1alpha1.Instance) string { return condition(&i, v1alpha1.ConditionReady) }, Equal("False/"+v1alpha1.ReasonProgressing))
			Eventually(w.hosts(ctx, "")).Should(ConsistOf(adopted, adopted), func() string { return w.summary(ctx) })
			// For longer than what else may wake them takes.
			Consistently(w.hosts(ctx, "")).WithTimeout(3*time.Second).Should(HaveLen(2), "none goes meanwhile")
		}
		close(back)
		w.expectAllAsBefore(ctx, hosts, tasks)
		Expect(w.calls("RunInstances")).To(Equal(launches))
		Expect(w.calls("RunTask")).To(Equal(starts))
		Expect(w.calls("TerminateInstances")).To(BeZero())
		w.runs(ctx, w.session(ctx, "later", []string{home}))
		w.expectOneTaskEach(ctx, len(tasks)+1)
	},
		Entry("and comes back at once", false),
		Entry("and the channel's comes back last", true),
	)

	It("gives each Instance the host of its own sessions when only that of the Instances is", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 2)
		w.wantNoMore(ctx)
		tasks := w.sessions(ctx, slotsPerHost+3)
		hosts := w.hostIDs(ctx)
		w.stopManager()
		w.loseStatus(ctx, &v1alpha1.InstanceList{})
		w.startManager()
		w.expectAllAsBefore(ctx, hosts, tasks)
		Expect(w.calls("TerminateInstances")).To(BeZero())
	})
})
