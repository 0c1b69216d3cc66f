// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func someCalls() []Call {
	var calls []Call
	n := newNamer()
	for _, name := range []string{"create:instances/host-1", "patch:instances/host-1/status.claims", "patch:instances/host-1/status.claims"} {
		c := Call{Name: name, locked: true}
		n.count(&c)
		calls = append(calls, c)
	}
	for _, name := range []string{"aws:RunInstances/1", "aws:RunTask/s1"} {
		c := Call{Name: name, aws: true}
		n.count(&c)
		calls = append(calls, c)
	}
	return calls
}

func TestPlansCanBeNamed(t *testing.T) {
	plans := plansOf(someCalls(), 1, 60)
	if len(plans) != 60 {
		t.Fatalf("there are %d plans", len(plans))
	}
	for _, p := range append(plans, Plan{}) {
		again, err := ParsePlan(p.String())
		if err != nil {
			t.Errorf("%s: %v", p, err)
		} else if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p, diff)
		}
	}
	if diff := cmp.Diff(plans, plansOf(someCalls(), 1, 60)); diff != "" {
		t.Errorf("the same seed makes other plans:\n%s", diff)
	}
}

func TestPlansKillAtEachCall(t *testing.T) {
	calls := someCalls()
	kills := map[string]int{}
	for _, p := range plansOf(calls, 1, 60) {
		if len(p) == 1 && p[0].How.kills() {
			kills[p[0].At]++
		}
	}
	for _, c := range calls {
		if kills[c.String()] != 3 {
			t.Errorf("%s has %d kills", c, kills[c.String()])
		}
	}
}

func TestBadPlans(t *testing.T) {
	for _, name := range []string{"", "before", "@x", "never@x#1", "stale@x#1", "before=1s@x#1", "hold=instances,long@x#1"} {
		if p, err := ParsePlan(name); err == nil {
			t.Errorf("%q is %v", name, p)
		}
	}
}

func TestStrikesHappenOnceAndInTheirOrder(t *testing.T) {
	plan := Plan{
		{How: Hold, Kind: instances, For: 1, At: "a#2"}, {How: KillBefore, At: "a#2"}, {How: KillAfter, At: "+2"}, {How: KillLost, At: "b#9"},
	}
	s := strikes{left: plan}
	var got []string
	for _, c := range []Call{{Name: "a", Ordinal: 1}, {Name: "b", Ordinal: 9}, {Name: "a", Ordinal: 2}, {Name: "a", Ordinal: 2}, {Name: "c", Ordinal: 1}, {Name: "d", Ordinal: 1}} {
		what := c.String()
		for _, due := range s.meet(c) {
			what += " " + string(due.How)
		}
		got = append(got, what)
	}
	want := []string{"a#1", "b#9", "a#2 hold before", "a#2", "c#1 after", "d#1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(plan[3:], s.missed()); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
}

func TestStableCalls(t *testing.T) {
	first := []Call{{Name: "a", Ordinal: 1}, {Name: "b", Ordinal: 1}, {Name: "a", Ordinal: 2}}
	second := []Call{{Name: "a", Ordinal: 1}, {Name: "c", Ordinal: 1}, {Name: "b", Ordinal: 1}}
	var got []string
	for _, c := range stable([][]Call{first, second}) {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{"a#1", "b#1"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
