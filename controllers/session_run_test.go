// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

var _ = Describe("A session with room for it", func() {
	It("goes to the fullest host", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 2, func(r *v1alpha1.Region) { r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](16) })
		first := w.session(ctx, "first", []string{near})
		w.runs(ctx, first)
		second := w.session(ctx, "second", []string{near})
		w.runs(ctx, second)
		Expect(second.Status.InstanceName).To(Equal(first.Status.InstanceName))
		Expect(second.Status.Slot).NotTo(Equal(first.Status.Slot))
	})

	It("is one of two hundred that fill the hosts in order, none lost and none doubled", func(ctx context.Context) {
		w := newWorld()
		w.watchClaims(ctx)
		w.warm(ctx, near, 25, func(r *v1alpha1.Region) {
			r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](200)
			r.Spec.Capacity.MaxInstances = ptr.To[int32](40)
		})
		var creators sync.WaitGroup
		for creator := range 10 {
			creators.Go(func() {
				defer GinkgoRecover()
				for n := range 20 {
					w.session(ctx, fmt.Sprintf("s-%d-%d", creator, n), []string{near})
				}
			})
		}
		creators.Wait()

		slots, tasks := map[string]string{}, map[string]string{}
		Eventually(func(g Gomega) {
			clear(slots)
			clear(tasks)
			var list v1alpha1.MandelboxList
			g.Expect(w.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
			for i := range list.Items {
				m := &list.Items[i]
				g.Expect(m.Status.Phase).To(Equal(v1alpha1.MandelboxRunning), m.Name)
				slots[fmt.Sprintf("%s/%d", m.Status.InstanceName, *m.Status.Slot)] = m.Name
				tasks[m.Status.TaskARN] = cloud.StartedBy(string(m.UID), m.Status.Attempt)
			}
		}, 2*time.Minute, 200*time.Millisecond).Should(Succeed())
		Expect(slots).To(HaveLen(200), "every session has a slot of its own")
		running := map[string]string{}
		for _, t := range w.tasks(ctx, near, ecstypes.DesiredStatusRunning) {
			running[*t.TaskArn] = *t.StartedBy
		}
		Expect(running).To(Equal(tasks), "each has one task, and there are no others")
		full := 0
		hosts, err := w.hosts(ctx, "")()
		Expect(err).NotTo(HaveOccurred())
		for i := range hosts {
			if n := len(hosts[i].Status.Claims); n > 0 {
				Expect(n).To(Equal(8), "a host is filled before the next is begun")
				full++
			}
		}
		Expect(full).To(Equal(25))
	})

	It("gets its environment, its share of a GPU, and tags that say whose its task is", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		gpus := map[string]int{}
		for n := range 8 {
			m := w.session(ctx, fmt.Sprintf("s%d", n), []string{near}, func(m *v1alpha1.Mandelbox) {
				m.Spec.Env = []v1alpha1.EnvVar{{Name: "COLOUR", Value: ptr.To("red")}, {Name: "EMPTY"}}
			})
			w.runs(ctx, m)
			tasks := w.tasksOf(ctx, near, m)
			Expect(tasks).To(HaveLen(1))
			Expect(*tasks[0].StartedBy).To(Equal(cloud.StartedBy(string(m.UID), 1)))
			Expect(tasks[0].Overrides.ContainerOverrides).To(HaveLen(1))
			env := map[string]string{}
			for _, v := range tasks[0].Overrides.ContainerOverrides[0].Environment {
				env[*v.Name] = *v.Value
			}
			gpus[env["NVIDIA_VISIBLE_DEVICES"]]++
			delete(env, "NVIDIA_VISIBLE_DEVICES")
			Expect(env).To(Equal(map[string]string{
				"COLOUR": "red", "EMPTY": "",
				"MANDELBOX_NAME": m.Name, "MANDELBOX_NAMESPACE": m.Namespace, "MANDELBOX_SLOT": fmt.Sprint(*m.Status.Slot),
				"MANDELBOX_USER_ID": m.Spec.UserID, "MANDELBOX_SESSION_ID": m.Spec.SessionID,
			}))
			tags := map[string]string{}
			for _, t := range tasks[0].Tags {
				tags[*t.Key] = *t.Value
			}
			Expect(tags).To(And(
				HaveKeyWithValue(cloud.TagCluster, clusterID), HaveKeyWithValue(cloud.TagRegion, near),
				HaveKeyWithValue(cloud.TagAMI, "stable"), HaveKeyWithValue(cloud.TagMandelbox, m.Namespace+"/"+m.Name),
				HaveKey(cloud.TagRevision), HaveKey(cloud.TagLaunch),
			))
		}
		Expect(gpus).To(Equal(map[string]int{"0": 2, "1": 2, "2": 2, "3": 2}), "eight sessions share four GPUs evenly")
	})

	It("starts one task when the answer of RunTask is lost", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		w.fault(awsemu.Fault{Operation: "RunTask", Phase: awsemu.PhaseAfter, Action: awsemu.ActionDrop, Count: 5})
		m := w.session(ctx, "one", []string{near})
		w.runs(ctx, m)
		Expect(w.tasksOf(ctx, near, m)).To(HaveLen(1))
		Expect(m.Status.Attempt).To(BeEquivalentTo(1))
	})

	It("starts when ECS throttles RunTask for a while", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		w.fault(awsemu.Fault{Operation: "RunTask", Action: awsemu.ActionThrottle, Count: 2})
		m := w.session(ctx, "one", []string{near})
		w.runs(ctx, m)
		Expect(w.tasksOf(ctx, near, m)).To(HaveLen(1))
	})

	DescribeTable("costs few writes from its creation until it runs, and no Event", func(ctx context.Context, most int, comes ...func(*v1alpha1.Mandelbox)) {
		counter := &writes{}
		w := newWorld(func(w *world) { w.wrap = counter.wrap })
		w.warm(ctx, near, 1)
		counter.reset()
		m := w.session(ctx, "frugal", []string{near}, comes...)
		w.runs(ctx, m)
		made := counter.list()
		AddReportEntry("writes", strings.Join(made, "\n"))
		Expect(len(made)).To(And(BeNumerically(">", 1), BeNumerically("<=", most)), strings.Join(made, "\n"))

		// The recorder writes Events in order: once a later one is there, an earlier
		// one of the other session would be too.
		waiting := w.session(ctx, "waiting", []string{"nowhere"})
		Eventually(w.told(ctx, waiting)).Should(ConsistOf(v1alpha1.ReasonRegionNotEnabled))
		Expect(w.told(ctx, m)()).To(BeEmpty())
	},
		Entry("five without a finalizer", 5),
		Entry("four with the finalizer from its creation", 4, held),
	)
})

// writes records the requests by which a manager changes Mandelboxes and Instances;
// all its writes if it is told to.
type writes struct {
	all  bool
	mu   sync.Mutex
	made []string
}

func (w *writes) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		path := r.URL.Path
		counts := w.all || strings.Contains(path, "/mandelboxes") || strings.Contains(path, "/instances")
		if r.Method != http.MethodGet && counts {
			w.mu.Lock()
			w.made = append(w.made, r.Method+" "+path)
			w.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

func (w *writes) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.made...)
}

func (w *writes) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made = nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
