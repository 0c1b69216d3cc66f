// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// anotherCommit is the commit hash of a release that no channel offers at first.
const anotherCommit = "fedcba9876543210fedcba9876543210fedcba98"

func ofCommit(hash string) func(*v1alpha1.Mandelbox) {
	return func(m *v1alpha1.Mandelbox) { m.Spec.ClientCommitHash = hash }
}

func ofChannel(name string) func(*v1alpha1.Mandelbox) {
	return func(m *v1alpha1.Mandelbox) { m.Spec.ClientCommitHash, m.Spec.AMIName = "", name }
}

func offering(hash string) func(*v1alpha1.AMI) {
	return func(a *v1alpha1.AMI) { a.Spec.ClientCommitHash = hash }
}

var _ = Describe("A session that has to wait", func() {
	var w *world
	// waits waits until the session says that it waits for that reason.
	waits := func(ctx context.Context, m *v1alpha1.Mandelbox, reason string) {
		GinkgoHelper()
		Eventually(w.phase(ctx, m)).Should(Equal("Pending/" + reason))
	}
	BeforeEach(func() {
		w = newWorld(func(w *world) { w.perUser = 3 })
	})

	It("has more hosts come by itself when there is no room", func(ctx context.Context) {
		w.warm(ctx, near, 1, oneSlot(1), func(r *v1alpha1.Region) { r.Spec.Capacity.MaxInstances = ptr.To[int32](3) })
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = 5 * time.Second })
		first := w.session(ctx, "first", []string{near})
		w.runs(ctx, first)
		second := w.session(ctx, "second", []string{near})
		waits(ctx, second, v1alpha1.ReasonNoInstanceAvailable)
		Expect(meta.FindStatusCondition(second.Status.Conditions, v1alpha1.ConditionAssigned)).To(
			HaveField("Message", ContainSubstring("No host of channel stable has room in "+near)))
		w.runs(ctx, second)
		Expect(second.Status.InstanceName).NotTo(Equal(first.Status.InstanceName))
		Eventually(w.told(ctx, second)).Should(Equal([]string{v1alpha1.ReasonNoInstanceAvailable}), "it is told of once")
	})

	It("is over after its assignmentTimeout, with the reason it waited for", func(ctx context.Context) {
		w.warm(ctx, near, 1, oneSlot(1))
		w.runs(ctx, w.session(ctx, "first", []string{near}))
		second := w.session(ctx, "second", []string{near}, within(assignmentTimeout, 5*time.Second))
		waits(ctx, second, v1alpha1.ReasonNoInstanceAvailable)
		w.ends(ctx, second, v1alpha1.ReasonNoInstanceAvailable)
		Expect(meta.FindStatusCondition(second.Status.Conditions, v1alpha1.ConditionFinished).Message).To(HavePrefix("not assigned within 5s: "))
		Expect(w.claims(ctx)()).To(Equal(1))
		Eventually(w.told(ctx, second)).Should(HaveLen(2), "one Event for the wait, one for its end")
	})

	It("gets the slot of the one that leaves", func(ctx context.Context) {
		w.warm(ctx, near, 1, oneSlot(1))
		first := w.session(ctx, "first", []string{near})
		w.runs(ctx, first)
		second := w.session(ctx, "second", []string{near})
		waits(ctx, second, v1alpha1.ReasonNoInstanceAvailable)
		w.exit(near, first, 0)
		w.ends(ctx, first, v1alpha1.ReasonCompleted)
		w.runs(ctx, second)
		Expect(second.Status.InstanceName).To(Equal(first.Status.InstanceName))
	})

	It("waits behind the others of its namespace, not behind those of another that came before", func(ctx context.Context) {
		w.warm(ctx, near, 1, oneSlot(1))
		w.runs(ctx, w.session(ctx, "first", []string{near}))
		flood := make([]*v1alpha1.Mandelbox, 0, 6)
		for n := range cap(flood) {
			flood = append(flood, w.session(ctx, fmt.Sprint("flood-", n), []string{near}))
			waits(ctx, flood[n], v1alpha1.ReasonNoInstanceAvailable)
		}
		tenant := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "tenant-"}}
		Expect(w.Create(ctx, tenant)).To(Succeed())
		last := w.session(ctx, "last", []string{near}, func(m *v1alpha1.Mandelbox) { m.Namespace = tenant.Name })
		waits(ctx, last, v1alpha1.ReasonNoInstanceAvailable)

		region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: near}}
		w.merge(ctx, region, `{"spec":{"capacity":{"maxInstances":3}}}`)
		w.runs(ctx, last)
		w.runs(ctx, flood[0])
		for _, m := range flood[1:] {
			waits(ctx, m, v1alpha1.ReasonNoInstanceAvailable)
		}
	})

	It("goes on when its region is made, and when it is enabled", func(ctx context.Context) {
		m := w.session(ctx, "early", []string{near})
		waits(ctx, m, v1alpha1.ReasonRegionNotEnabled)
		w.channel(ctx, "stable", []string{near})
		region := w.region(ctx, near, func(r *v1alpha1.Region) { r.Spec.Enabled = ptr.To(false) })
		Eventually(func() string {
			Expect(w.Get(ctx, client.ObjectKeyFromObject(m), m)).To(Succeed())
			return meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionFinished).Message
		}).Should(ContainSubstring(near + " is disabled"))
		w.merge(ctx, region, `{"spec":{"enabled":true}}`)
		w.runs(ctx, m)
	})

	It("goes on when a channel comes that offers its commit hash", func(ctx context.Context) {
		w.region(ctx, near)
		m := w.session(ctx, "early", []string{near})
		waits(ctx, m, v1alpha1.ReasonCommitHashUnknown)
		w.channel(ctx, "stable", []string{near})
		w.runs(ctx, m)
	})

	It("says when there is room, but for another commit hash, and goes on when its own comes", func(ctx context.Context) {
		w.warm(ctx, near, 1)
		m := w.session(ctx, "ahead", []string{near}, ofCommit(anotherCommit))
		waits(ctx, m, v1alpha1.ReasonCommitHashMismatch)
		w.channel(ctx, "canary", []string{near}, offering(anotherCommit))
		w.runs(ctx, m)
	})

	It("goes on when the channel it names comes", func(ctx context.Context) {
		w.warm(ctx, near, 1)
		m := w.session(ctx, "early", []string{near}, ofChannel("canary"))
		waits(ctx, m, v1alpha1.ReasonChannelNotFound)
		w.channel(ctx, "canary", []string{near}, offering(anotherCommit))
		w.runs(ctx, m)
	})

	It("does not wait for a commit hash that was replaced", func(ctx context.Context) {
		w.warm(ctx, near, 1)
		ami := &v1alpha1.AMI{}
		Expect(w.Get(ctx, client.ObjectKey{Name: "stable"}, ami)).To(Succeed())
		before := ami.Status.ActiveRevision
		w.merge(ctx, ami, `{"spec":{"clientCommitHash":"`+anotherCommit+`"}}`)
		Eventually(func() string {
			Expect(w.Get(ctx, client.ObjectKey{Name: "stable"}, ami)).To(Succeed())
			return ami.Status.ActiveRevision
		}).ShouldNot(Equal(before))
		w.ends(ctx, w.session(ctx, "behind", []string{near}), v1alpha1.ReasonCommitHashMismatch)
	})

	It("runs on whatever is active for a developer's client", func(ctx context.Context) {
		w.warm(ctx, near, 1)
		w.runs(ctx, w.session(ctx, "dev", []string{near}, ofCommit(v1alpha1.LocalDevCommitHash)))
		w.runs(ctx, w.session(ctx, "named", []string{near}, ofChannel("stable")))
	})

	It("runs in a fallback region when its own is full, and in the next when its own is off", func(ctx context.Context) {
		w.region(ctx, near, oneSlot(1), func(r *v1alpha1.Region) { r.Spec.FallbackRegions = []string{far} })
		// There is no host in the fallback region until the first session runs, so that
		// it can't go there before the host in its own region is known to have room.
		fallback := w.region(ctx, far, func(r *v1alpha1.Region) { r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](0) })
		w.channel(ctx, "stable", []string{near, far})
		first := w.session(ctx, "first", []string{near})
		w.runs(ctx, first)
		Expect(first.Status.Region).To(Equal(near))
		w.merge(ctx, fallback, `{"spec":{"capacity":{"desiredFreeMandelboxes":1}}}`)
		second := w.session(ctx, "second", []string{near})
		w.runs(ctx, second)
		Expect(second.Status.Region).To(Equal(far))
		third := w.session(ctx, "third", []string{"nowhere", far})
		w.runs(ctx, third)
		Expect(third.Status.Region).To(Equal(far))
	})

	It("is refused its slot when its user holds as many as they may, also of ten asked for in one instant through two API servers", func(ctx context.Context) {
		w.warm(ctx, near, 2, func(r *v1alpha1.Region) { r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](16) })
		config, err := plane.AddAPIServer(ctx)
		Expect(err).NotTo(HaveOccurred())
		second, err := client.New(config, client.Options{Scheme: controllers.NewScheme()})
		Expect(err).NotTo(HaveOccurred())
		servers := []*world{w, {Client: second, namespace: w.namespace}}
		var asked sync.WaitGroup
		for n := range 10 {
			asked.Go(func() {
				defer GinkgoRecover()
				servers[n%2].session(ctx, fmt.Sprint("s", n), []string{near}, func(m *v1alpha1.Mandelbox) { m.Spec.UserID = "greedy" })
			})
		}
		asked.Wait()
		other := w.session(ctx, "other", []string{near})
		tally := func() map[string]int {
			var list v1alpha1.MandelboxList
			Expect(w.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
			counts := map[string]int{}
			for i := range list.Items {
				if m := &list.Items[i]; m.Spec.UserID == "greedy" {
					counts[w.phase(ctx, m)()]++
				}
			}
			return counts
		}
		Eventually(tally).Should(Equal(map[string]int{"Running/Running": 3, "Finished/" + v1alpha1.ReasonUserAlreadyActive: 7}))
		w.runs(ctx, other)
		Expect(w.claims(ctx)()).To(Equal(4))
	})

	DescribeTable("leaves the queue when it is deleted, and wants no host any more", func(ctx context.Context, comes ...func(*v1alpha1.Mandelbox)) {
		w.warm(ctx, near, 1, oneSlot(1))
		first := w.session(ctx, "first", []string{near})
		w.runs(ctx, first)
		second := w.session(ctx, "second", []string{near}, comes...)
		waits(ctx, second, v1alpha1.ReasonNoInstanceAvailable)
		w.remove(ctx, second)
		w.remove(ctx, first)
		Eventually(w.claims(ctx)).Should(BeZero())
		third := w.session(ctx, "third", []string{near})
		w.runs(ctx, third)
		Eventually(func() int32 {
			var region v1alpha1.Region
			Expect(w.Get(ctx, client.ObjectKey{Name: near}, &region)).To(Succeed())
			return ptr.Deref(region.Status.Pending, 0)
		}).Should(BeZero())
	},
		Entry("without a finalizer"),
		Entry("with the finalizer from its creation", held),
	)

	It("goes once the manager is back, if it was deleted with its finalizer on while there was none", func(ctx context.Context) {
		waiting := w.session(ctx, "waiting", []string{"nowhere"}, held)
		waits(ctx, waiting, v1alpha1.ReasonRegionNotEnabled)
		w.stopManager()
		Expect(w.Delete(ctx, waiting)).To(Succeed())
		w.startManager()
		Eventually(func() bool {
			return apierrors.IsNotFound(w.Get(ctx, client.ObjectKeyFromObject(waiting), waiting))
		}).Should(BeTrue())
	})
})
