// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package scaling

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	now  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	long = now.Add(-time.Hour)
)

// candidate is an empty host of 8 slots of the active release of channel "a".
func candidate(name string, set ...func(*Candidate)) Candidate {
	c := Candidate{Name: name, AMI: "a", Revision: "r1", ActiveRevision: true, Empty: true, Slots: 8, Created: long}
	for _, s := range set {
		s(&c)
	}
	return c
}

func busy(c *Candidate)      { c.Empty = false }
func protected(c *Candidate) { c.Protected = true }
func inactive(c *Candidate)  { c.Revision, c.ActiveRevision = "r0", false }
func younger(c *Candidate)   { c.Created = c.Created.Add(time.Minute) }
func outdated(c *Candidate)  { c.Outdated = true }
func ofB(c *Candidate)       { c.AMI = "b" }

func slots(n int32) func(*Candidate) {
	return func(c *Candidate) { c.Slots = n }
}

func TestDown(t *testing.T) {
	has := func(free, desired int32) Channel {
		return channel("a", func(c *Channel) { c.Free, c.DesiredFree = free, desired })
	}
	waiting := func(c Channel, pending int32) Channel {
		c.Pending = pending
		return c
	}
	atLeast := func(c Channel, minInstances int32) Channel {
		c.MinInstances = minInstances
		return c
	}
	for name, tc := range map[string]struct {
		in   DownInput
		want DownPlan
	}{
		"free reaches desired and the capacity of a host: the oldest empty one leaves": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(28, 20)},
				Candidates:   []Candidate{candidate("b", younger), candidate("c"), candidate("a", busy), candidate("d", younger)},
			},
			want: DownPlan{Leave: []string{"c"}},
		},
		"one free slot less: none leaves": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(27, 20)},
				Candidates:   []Candidate{candidate("a"), candidate("b"), candidate("c"), candidate("d")},
			},
		},
		"a surplus that is new waits": {
			in: DownInput{
				Channels:   []Channel{has(16, 8)},
				Candidates: []Candidate{candidate("a"), candidate("b")},
			},
			want: DownPlan{SurplusSince: now},
		},
		"a surplus that isn't old enough waits on": {
			in: DownInput{
				SurplusSince: now.Add(-4 * time.Minute),
				Channels:     []Channel{has(16, 8)},
				Candidates:   []Candidate{candidate("a"), candidate("b")},
			},
			want: DownPlan{SurplusSince: now.Add(-4 * time.Minute)},
		},
		"a surplus of exactly the stabilisation leaves": {
			in: DownInput{
				SurplusSince: now.Add(-5 * time.Minute),
				Channels:     []Channel{has(16, 8)},
				Candidates:   []Candidate{candidate("b"), candidate("a")},
			},
			want: DownPlan{Leave: []string{"a"}},
		},
		"a surplus that is gone is forgotten": {
			in: DownInput{
				SurplusSince: now.Add(-time.Minute),
				Channels:     []Channel{has(8, 8)},
				Candidates:   []Candidate{candidate("a")},
			},
		},
		"several leave at once when several are too many": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(40, 10)},
				Candidates:   []Candidate{candidate("a"), candidate("b"), candidate("c"), candidate("d"), candidate("e")},
			},
			want: DownPlan{Leave: []string{"a", "b", "c"}},
		},
		"hosts with sessions stay, and the surplus goes on": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(14, 2)},
				Candidates:   []Candidate{candidate("a", busy), candidate("b", busy)},
			},
			want: DownPlan{SurplusSince: long},
		},
		"protected hosts stay": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(24, 8)},
				Candidates: []Candidate{
					candidate("a", protected), candidate("b", protected), candidate("c"), candidate("d", inactive, protected),
				},
			},
			want: DownPlan{Leave: []string{"c"}, SurplusSince: long},
		},
		"never below minInstances": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{atLeast(has(32, 0), 3)},
				Candidates:   []Candidate{candidate("a"), candidate("b"), candidate("c"), candidate("d")},
			},
			want: DownPlan{Leave: []string{"a"}},
		},
		"no buffer and no minimum: all leave": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(16, 0)},
				Candidates:   []Candidate{candidate("a"), candidate("b")},
			},
			want: DownPlan{Leave: []string{"a", "b"}},
		},
		"slots that waiting sessions will take aren't free": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{waiting(has(28, 20), 1)},
				Candidates:   []Candidate{candidate("a"), candidate("b"), candidate("c"), candidate("d")},
			},
		},
		"a host larger than the surplus stays, a smaller one leaves": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(26, 20)},
				Candidates:   []Candidate{candidate("a", slots(16)), candidate("b", slots(1), younger), candidate("c", slots(1), busy)},
			},
			want: DownPlan{Leave: []string{"b"}},
		},
		"the average isn't rounded": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(21, 20)},
				Candidates:   []Candidate{candidate("a", slots(2)), candidate("b", slots(1))},
			},
		},
		"hosts of a release that isn't active leave at once, once empty": {
			in: DownInput{
				Channels: []Channel{has(8, 8)},
				Candidates: []Candidate{
					candidate("active"), candidate("new", inactive, younger), candidate("old", inactive), candidate("busy", inactive, busy),
				},
			},
			want: DownPlan{Leave: []string{"old", "new"}},
		},
		"channels are counted apart": {
			in: DownInput{
				SurplusSince: long,
				Channels: []Channel{
					has(16, 8),
					channel("b", func(c *Channel) { c.Free, c.DesiredFree = 8, 8 }),
				},
				Candidates: []Candidate{candidate("b1", ofB), candidate("a1", younger), candidate("a2")},
			},
			want: DownPlan{Leave: []string{"a2"}},
		},
		"hosts of a release that nothing is known of stay": {
			in: DownInput{SurplusSince: long, Candidates: []Candidate{candidate("a")}},
		},
		"a region that is switched off lets all go that are empty": {
			in: DownInput{
				Disabled:   true,
				Channels:   []Channel{has(8, 20)},
				Candidates: []Candidate{candidate("a"), candidate("b", busy), candidate("c", inactive), candidate("d", protected)},
			},
			want: DownPlan{Leave: []string{"c", "a"}},
		},
		"outdated hosts leave before older ones": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(28, 20)},
				Candidates:   []Candidate{candidate("a"), candidate("b", younger, outdated), candidate("c", younger)},
			},
			want: DownPlan{Leave: []string{"b"}},
		},
		"hosts of inactive releases are the least useful": {
			in: DownInput{
				SurplusSince: long,
				Channels:     []Channel{has(28, 20)},
				Candidates:   []Candidate{candidate("a", outdated), candidate("b", inactive, younger), candidate("c"), candidate("d")},
			},
			want: DownPlan{Leave: []string{"b", "a"}},
		},
		"no hosts": {
			in: DownInput{SurplusSince: long, Channels: []Channel{has(0, 0)}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := tc.in
			in.Now, in.Stabilization = now, 5*time.Minute
			if diff := cmp.Diff(tc.want, Down(in)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// randomDown makes up a region whose channels' counts are those of its hosts.
func randomDown(r *rand.Rand) DownInput {
	in := DownInput{Now: now, SurplusSince: long, Stabilization: time.Minute}
	for i := range 1 + r.IntN(3) {
		c := channel(fmt.Sprintf("ami-%d", i), func(c *Channel) {
			c.SlotsPerHost = 1 + r.Int32N(8)
			c.Pending = r.Int32N(4)
			c.DesiredFree = r.Int32N(30)
			c.MinInstances = r.Int32N(4)
		})
		for n := range r.IntN(12) {
			h := candidate(fmt.Sprintf("%s-%d", c.AMI, n), slots(1+r.Int32N(8)))
			h.AMI = c.AMI
			h.Empty, h.Protected = r.IntN(2) == 0, r.IntN(5) == 0
			h.Created = long.Add(time.Duration(r.IntN(5)) * time.Minute)
			c.Hosts++
			if h.Empty {
				c.Free += h.Slots
			} else {
				c.Free += r.Int32N(h.Slots)
			}
			in.Candidates = append(in.Candidates, h)
		}
		in.Channels = append(in.Channels, c)
	}
	return in
}

// TestUpNeverUndoesDown checks that no plan takes a host that must stay, and that
// what is left after it needs no host that it wouldn't have needed before.
func TestUpNeverUndoesDown(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	left := 0
	for range 10_000 {
		in := randomDown(r)
		before := Up(Region{Enabled: true, MaxInstances: 1000, Channels: in.Channels})
		plan := Down(in)
		left += len(plan.Leave)
		after := slices.Clone(in.Channels)
		for _, name := range plan.Leave {
			h := in.Candidates[slices.IndexFunc(in.Candidates, func(c Candidate) bool { return c.Name == name })]
			if !h.Empty || h.Protected {
				t.Fatalf("%s leaves: %+v", name, h)
			}
			at := slices.IndexFunc(after, func(c Channel) bool { return c.AMI == h.AMI })
			after[at].Free -= h.Slots
			after[at].Hosts--
		}
		got := Up(Region{Enabled: true, MaxInstances: 1000, Channels: after})
		if diff := cmp.Diff(before, got); diff != "" {
			t.Fatalf("%+v: after %v left, what is wanted changed:\n%s", in, plan.Leave, diff)
		}
		if again := Down(DownInput{Now: now, Stabilization: 0, Channels: after, Candidates: slices.DeleteFunc(
			slices.Clone(in.Candidates), func(c Candidate) bool { return slices.Contains(plan.Leave, c.Name) })}); len(again.Leave) > 0 {
			t.Fatalf("%+v: %v should have left with %v", in, again.Leave, plan.Leave)
		}
	}
	if left == 0 {
		t.Error("no host ever left: the cases are too tame")
	}
}
