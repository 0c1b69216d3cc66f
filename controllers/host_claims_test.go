// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// claimOf is a claim for a session.
func claimOf(m *v1alpha1.Mandelbox, slot, attempt int32) v1alpha1.Claim {
	return v1alpha1.Claim{Slot: slot, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), Attempt: attempt}
}

// leftBehind stops the manager, and writes a claim as one that died would have
// left it; then it starts another manager.
func (w *world) leftBehind(ctx context.Context, i *v1alpha1.Instance, claim func() v1alpha1.Claim) {
	GinkgoHelper()
	w.stopManager()
	Expect(w.Get(ctx, client.ObjectKeyFromObject(i), i)).To(Succeed())
	after := i.DeepCopy()
	after.Status.Claims = append(after.Status.Claims, claim())
	after.Status.Claimed = ptr.To(int32(len(after.Status.Claims)))
	Expect(w.Status().Patch(ctx, after, client.MergeFromWithOptions(i, client.MergeFromWithOptimisticLock{}))).To(Succeed())
	w.startManager()
}

// claimsOn reads an Instance's claims.
func (w *world) claimsOn(ctx context.Context, i *v1alpha1.Instance) func() []v1alpha1.Claim {
	return func() []v1alpha1.Claim {
		w.is(ctx, i)()
		return i.Status.Claims
	}
}

var _ = Describe("A claim that a manager left behind", func() {
	It("is released when its session does not exist", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		w.leftBehind(ctx, i, func() v1alpha1.Claim {
			return v1alpha1.Claim{Slot: 2, Namespace: w.namespace, Name: "nobody", UID: "no-such-uid", Attempt: 1}
		})
		Eventually(w.claimsOn(ctx, i)).Should(BeEmpty())
		Expect(*i.Status.Claimed).To(BeZero())
	})

	It("is released when another session has the name, which keeps its own", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		m := w.session(ctx, "one", []string{home})
		Eventually(w.phase(ctx, m)).Should(Equal("Running/Running"))
		w.leftBehind(ctx, i, func() v1alpha1.Claim {
			claim := claimOf(m, 5, 1)
			claim.UID = "uid-of-the-one-before"
			return claim
		})
		Eventually(w.claimsOn(ctx, i)).Should(ConsistOf(claimOf(m, *m.Status.Slot, 1)))
		w.expectOneTaskEach(ctx, 1)
	})

	It("is released when its session has another slot", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		m := w.session(ctx, "one", []string{home})
		Eventually(w.phase(ctx, m)).Should(Equal("Running/Running"))
		w.leftBehind(ctx, i, func() v1alpha1.Claim { return claimOf(m, 5, 1) })
		Eventually(w.claimsOn(ctx, i)).Should(ConsistOf(claimOf(m, *m.Status.Slot, 1)))
		w.expectOneTaskEach(ctx, 1)
	})

	It("is released when its session is over", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		m := w.session(ctx, "one", []string{home})
		Eventually(w.phase(ctx, m)).Should(Equal("Running/Running"))
		Expect(w.aws.ExitTask("", home, m.Status.TaskARN, 0, "")).To(Succeed())
		Eventually(w.phase(ctx, m)).Should(Equal("Finished/Completed"))
		Eventually(w.claimsOn(ctx, i)).Should(BeEmpty())
		w.leftBehind(ctx, i, func() v1alpha1.Claim { return claimOf(m, 3, 1) })
		Eventually(w.claimsOn(ctx, i)).Should(BeEmpty())
	})

	It("is committed by its session, which gets no other slot and runs once", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx)
		var m *v1alpha1.Mandelbox
		w.leftBehind(ctx, i, func() v1alpha1.Claim {
			m = w.session(ctx, "one", []string{home})
			return claimOf(m, 6, 1)
		})
		w.expectOneTaskEach(ctx, 1)
		Expect(w.Get(ctx, client.ObjectKeyFromObject(m), m)).To(Succeed())
		Expect(m.Status.Slot).To(HaveValue(BeEquivalentTo(6)))
		Expect(w.claimsOn(ctx, i)()).To(ConsistOf(claimOf(m, 6, 1)))
	})

	It("is outdated and released when it takes the last slot from its own session by an attempt that the session doesn't know of", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, home, free(1), oneHost)
		w.channel(ctx, "stable", []string{home}, func(a *v1alpha1.AMI) { a.Spec.Task.MemoryMiB = 128 * 1024 })
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
		hosts, err := w.hosts(ctx, "")()
		Expect(err).NotTo(HaveOccurred())
		i := &hosts[0]
		Expect(*i.Status.Capacity).To(BeEquivalentTo(1))
		var m *v1alpha1.Mandelbox
		w.leftBehind(ctx, i, func() v1alpha1.Claim {
			m = w.session(ctx, "one", []string{home})
			return claimOf(m, 0, 2)
		})
		w.expectOneTaskEach(ctx, 1)
		Expect(w.Get(ctx, client.ObjectKeyFromObject(m), m)).To(Succeed())
		Expect(m.Status.Attempt).To(BeEquivalentTo(3), "a late commit of attempt 2 must fail")
	})
})
