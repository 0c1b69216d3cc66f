// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// TestPromises holds that a slot that was given counts as promised from the decision
// until the cache shows what became of it, and no longer.
func TestPromises(t *testing.T) {
	claim := v1alpha1.Claim{Slot: 0, Namespace: "known", Name: "box", UID: "1", Attempt: 1}
	claimed := func(version string) *v1alpha1.Instance {
		i := host("h1", 4)
		i.ResourceVersion, i.Status.Claims = version, []v1alpha1.Claim{claim}
		return i
	}
	at := func(version string) *v1alpha1.Instance {
		i := host("h1", 4)
		i.ResourceVersion = version
		return i
	}
	written := func(a *Assigner) { a.promises.written(claimed("3"), []pendingClaim{{Claim: claim}}) }
	for name, test := range map[string]struct {
		then func(*Assigner)
		gone bool
	}{
		"decided on":                              {then: func(*Assigner) {}},
		"another change of the host is seen":      {then: func(a *Assigner) { a.seen(at("2")) }},
		"written, and not seen yet":               {then: written},
		"written, and an older version is seen":   {then: func(a *Assigner) { written(a); a.seen(at("2")) }},
		"seen before the answer to its write":     {then: func(a *Assigner) { a.seen(claimed("3")) }, gone: true},
		"written and seen":                        {then: func(a *Assigner) { written(a); a.seen(claimed("3")) }, gone: true},
		"written, and released again before seen": {then: func(a *Assigner) { written(a); a.seen(at("9")) }, gone: true},
		"refused": {then: func(a *Assigner) {
			a.unreserved("h1", []pendingClaim{{Claim: claim, mandelbox: session("known", "box", "1")}})
		}, gone: true},
		"its host is gone": {then: func(a *Assigner) { a.forget(a.hosts["h1"]) }, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTestAssigner(t, "known")
			a.observe(host("h1", 4))
			a.Offer(session("known", "box", "1"))
			expectGiven(t, a, false, map[string][]string{"h1": {"box"}})
			test.then(a)
			want := map[string][]placement.Promise{"h1": {{UID: "1", Attempt: 1}}}
			if test.gone {
				want = map[string][]placement.Promise{}
			}
			if diff := cmp.Diff(want, a.Demand("east").Promised); diff != "" {
				t.Errorf("promised (-want +got):\n%s", diff)
			}
			if other := a.Demand("west").Promised; len(other) > 0 {
				t.Errorf("another region is told of %v", other)
			}
		})
	}
}
