// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// claim holds a slot for a Mandelbox that its uid names.
func claim(slot int32, uid string) v1alpha1.Claim {
	return v1alpha1.Claim{Slot: slot, Namespace: "default", Name: "session-" + uid, UID: uid, Attempt: 1}
}

// nextAttempt is the claim made anew for the same Mandelbox.
func nextAttempt(c v1alpha1.Claim) v1alpha1.Claim {
	c.Attempt++
	return c
}

// The API server itself keeps two sessions out of one slot, whoever writes.
var _ = Describe("The claims of an Instance", func() {
	const (
		tooMany  = "a host must not have more claims than capacity"
		tooHigh  = "a claim must be on a slot below the host's capacity"
		closed   = "a host that is not Active, or is draining, takes no new claim"
		occupied = "a claimed slot must be released before another Mandelbox claims it"
	)
	type state struct {
		phase    v1alpha1.InstancePhase
		drain    bool
		capacity *int32
		claims   []v1alpha1.Claim
	}
	active := func(claims ...v1alpha1.Claim) state {
		return state{phase: v1alpha1.InstanceActive, capacity: ptr.To[int32](2), claims: claims}
	}
	inPhase := func(phase v1alpha1.InstancePhase, claims ...v1alpha1.Claim) state {
		s := active(claims...)
		s.phase = phase
		return s
	}
	draining := func(claims ...v1alpha1.Claim) state {
		s := active(claims...)
		s.drain = true
		return s
	}
	withCapacity := func(capacity *int32, claims ...v1alpha1.Claim) state {
		s := active(claims...)
		s.capacity = capacity
		return s
	}
	write := func(ctx context.Context, host *v1alpha1.Instance, s state) error {
		host.Status.Phase, host.Status.Capacity, host.Status.Claims = s.phase, s.capacity, s.claims
		return api.Status().Update(ctx, host)
	}
	// arrange makes a host in the first state: its claims are written while it is
	// open, since otherwise they could not be, and then it drains.
	arrange := func(ctx context.Context, s state) *v1alpha1.Instance {
		GinkgoHelper()
		host := newInstance()
		create(ctx, host)
		Expect(write(ctx, host, active(s.claims...))).To(Succeed())
		if s.drain {
			host.Spec.Drain = ptr.To(true)
			Expect(api.Update(ctx, host)).To(Succeed())
		}
		Expect(write(ctx, host, s)).To(Succeed())
		return host
	}

	DescribeTable("may", func(ctx context.Context, from, to state) {
		Expect(write(ctx, arrange(ctx, from), to)).To(Succeed())
	},
		Entry("fill an open host", active(), active(claim(0, "a"), claim(1, "b"))),
		Entry("take any free slot", active(), active(claim(1, "a"))),
		Entry("be released", active(claim(0, "a"), claim(1, "b")), active(claim(1, "b"))),
		Entry("be released while the host drains", draining(claim(0, "a"), claim(1, "b")), draining(claim(1, "b"))),
		Entry("stay while the host drains", active(claim(0, "a")), inPhase(v1alpha1.InstanceDraining, claim(0, "a"))),
		Entry("be released while the agent is silent", inPhase(v1alpha1.InstanceUnresponsive, claim(0, "a")), inPhase(v1alpha1.InstanceUnresponsive)),
		Entry("move the same session to a later attempt", active(claim(0, "a")), active(nextAttempt(claim(0, "a")))),
		Entry("follow into a slot that was released before", active(), active(claim(0, "b"))),
	)

	DescribeTable("must not", func(ctx context.Context, from, to state, message string) {
		expectInvalid(write(ctx, arrange(ctx, from), to), message)
	},
		Entry("exceed the capacity", active(), active(claim(0, "a"), claim(1, "b"), claim(2, "c")), refused(tooMany)),
		Entry("exist before the host has a capacity", withCapacity(nil), withCapacity(nil, claim(0, "a")), refused(tooMany)),
		Entry("lose the capacity under them", active(claim(0, "a"), claim(1, "b")),
			withCapacity(ptr.To[int32](1), claim(0, "a"), claim(1, "b")), refused(tooMany)),
		Entry("lie above the capacity", active(), active(claim(2, "a")), refused(tooHigh)),
		Entry("come to a draining host", draining(claim(0, "a")), draining(claim(0, "a"), claim(1, "b")), refused(closed)),
		Entry("come as the first to a draining host", draining(), draining(claim(0, "a")), refused(closed)),
		Entry("come in place of a released one on a draining host", draining(claim(0, "a")), draining(claim(1, "b")), refused(closed)),
		Entry("come anew on a draining host", draining(claim(0, "a")), draining(nextAttempt(claim(0, "a"))), refused(closed)),
		Entry("hand a slot directly to another session", active(claim(0, "a")), active(claim(0, "b")), refused(occupied)),
		Entry("share a slot", active(), active(claim(0, "a"), claim(0, "b")), "Duplicate value"),
	)

	for _, phase := range []v1alpha1.InstancePhase{
		"", v1alpha1.InstancePreConnection, v1alpha1.InstanceDraining, v1alpha1.InstanceUnresponsive, v1alpha1.InstanceTerminating,
	} {
		It(fmt.Sprintf("must not come to a host in phase %q", phase), func(ctx context.Context) {
			expectInvalid(write(ctx, arrange(ctx, inPhase(phase)), inPhase(phase, claim(0, "a"))), refused(closed))
		})
	}

	It("leave the drain of a host free to be set", func(ctx context.Context) {
		host := arrange(ctx, active(claim(0, "a")))
		host.Spec.Drain = ptr.To(true)
		Expect(api.Update(ctx, host)).To(Succeed())
	})
})
