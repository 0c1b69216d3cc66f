// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// TestSessionWithAStandingClaimGetsNoOther holds that a session which is offered again
// gets no second slot for the attempt that it has one for.
func TestSessionWithAStandingClaimGetsNoOther(t *testing.T) {
	claim := v1alpha1.Claim{Slot: 2, Namespace: "known", Name: "box", UID: "1", Attempt: 1}
	with := func(version string, claims ...v1alpha1.Claim) *v1alpha1.Instance {
		i := host("h1", 4)
		i.ResourceVersion, i.Status.Claims = version, claims
		return i
	}
	anew := func(a *Assigner) {
		m := session("known", "box", "1")
		m.Status.Attempt = 1
		a.Offer(m)
	}
	type outcome struct {
		slot            int32
		standing, waits bool
	}
	for name, test := range map[string]struct {
		before func(*Assigner)
		want   outcome
	}{
		"none": {func(*Assigner) {}, outcome{slot: 0}},
		"one that a crash or a lost answer left without its commit": {
			func(a *Assigner) { a.observe(with("2", claim)) }, outcome{slot: 2, standing: true},
		},
		"one that is being written": {
			func(a *Assigner) { a.standing.begin("h1", claim) }, outcome{waits: true},
		},
		"one that was not written after all": {
			func(a *Assigner) {
				a.standing.begin("h1", claim)
				a.unreserved("h1", []pendingClaim{{Claim: claim, mandelbox: session("known", "box", "1")}})
			}, outcome{slot: 0},
		},
		"one that was released": {
			func(a *Assigner) { a.observe(with("2", claim)); a.observe(with("3")) }, outcome{slot: 0},
		},
		"one of a host that is gone": {
			func(a *Assigner) {
				other := host("h2", 4)
				other.Status.Claims = []v1alpha1.Claim{claim}
				a.observe(other)
				a.forget(other)
			}, outcome{slot: 0},
		},
		"one of an attempt that is over": {
			func(a *Assigner) { a.observe(with("2", claim)); anew(a) }, outcome{slot: 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestAssigner(t, "known")
			a.observe(host("h1", 4))
			a.Offer(session("known", "box", "1"))
			test.before(a)
			reservations, _, err := a.decide(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, waits := a.waiting["1"]
			switch {
			case waits != test.want.waits || len(reservations) == 0 != test.want.waits:
				t.Fatalf("it waits: %t, with reservations %v", waits, given(reservations))
			case waits:
				return
			}
			got := outcome{slot: reservations[0].claims[0].Slot, standing: reservations[0].standing}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestCommitOfASessionThatIsOver holds that a session which ended while it was being
// given a slot isn't put into the queue again: it would get a second one.
func TestCommitOfASessionThatIsOver(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		live  func(*v1alpha1.Mandelbox)
		fails error
		waits bool
	}{
		"deleted":                    {live: func(m *v1alpha1.Mandelbox) { m.DeletionTimestamp = &now }},
		"finished":                   {live: func(m *v1alpha1.Mandelbox) { m.Status.Phase = v1alpha1.MandelboxFinished }},
		"its attempt outdated":       {live: func(m *v1alpha1.Mandelbox) { m.Status.Attempt = 1 }},
		"made again under its name":  {live: func(m *v1alpha1.Mandelbox) { m.UID = "2" }},
		"alive, and always changing": {live: func(*v1alpha1.Mandelbox) {}, waits: true},
		"alive, and can't be read":   {live: func(*v1alpha1.Mandelbox) {}, fails: errors.New("no answer"), waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestAssigner(t, "known")
			live := session("known", "box", "1")
			test.live(live)
			conflict := apierrors.NewConflict(schema.GroupResource{Resource: "mandelboxes"}, "box", errors.New("it has changed"))
			a.Clock, a.Client = clock.RealClock{}, interceptor.NewClient(a.Client.(client.WithWatch), interceptor.Funcs{
				SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
					return conflict
				},
			})
			a.Live = interceptor.NewClient(a.Client.(client.WithWatch), interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
					live.DeepCopyInto(o.(*v1alpha1.Mandelbox))
					return test.fails
				},
			})
			stale := session("known", "box", "1")
			stale.ResourceVersion = "0"
			a.granted["1"] = 1
			c := (&reservation{}).add(stale, 0, 1)
			err := a.commit(t.Context(), host("h1", 4), pendingClaim{Claim: c, mandelbox: stale})
			if !errors.Is(err, test.fails) {
				t.Errorf("the commit ended with %v", err)
			}
			if _, waits := a.waiting["1"]; waits != test.waits {
				t.Errorf("the session waits: %t, want %t", waits, test.waits)
			}
		})
	}
}
