// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	newHash     = "bbbbbbb"
	oldHash     = "aaaaaaa"
	warmingHash = "ccccccc"
	alienHash   = "ddddddd"
)

// stableRows is the channel "stable" in one region: one release that was
// replaced, the active one, and one that is warming.
func stableRows() []Channel {
	return []Channel{
		{AMI: "stable", CommitHash: warmingHash, Revision: "r3"},
		{AMI: "stable", CommitHash: oldHash, Revision: "r1", Superseded: true},
		{AMI: "stable", CommitHash: newHash, Revision: "r2", Active: true},
	}
}

func region(rows []Channel, fallback ...string) RegionInfo {
	return RegionInfo{Exists: true, Enabled: true, Fallback: fallback, Channels: rows}
}

func disabled(info RegionInfo) RegionInfo {
	info.Enabled = false
	return info
}

func active(region string) Key  { return Key{Region: region, AMI: "stable", Revision: "r2"} }
func retired(region string) Key { return Key{Region: region, AMI: "stable", Revision: "r1"} }
func warming(region string) Key { return Key{Region: region, AMI: "stable", Revision: "r3"} }

func wants(hash string, regions ...string) Request {
	return Request{Namespace: "default", Name: "box", UID: "1", ClientCommitHash: hash, Regions: regions}
}

func avoiding(host string, req Request) Request {
	req.Avoid = host
	return req
}

func TestDecide(t *testing.T) {
	channel := func(name string, regions ...string) Request {
		return Request{AMIName: name, Regions: regions}
	}
	for name, tc := range map[string]struct {
		req   Request
		cat   Catalog
		hosts []Host
		want  Verdict
	}{
		"the fullest host of the client's commit hash": {
			req: wants(newHash, "east"),
			cat: Catalog{"east": region(stableRows())},
			hosts: []Host{
				openHost("empty", active("east"), 4, 0),
				openHost("fuller", active("east"), 4, 1, 0),
				openHost("old", retired("east"), 4, 0, 0, 1),
			},
			want: Verdict{Assigned: true, Host: "fuller", Slot: 1, Key: active("east"), Reason: v1alpha1.ReasonAssigned},
		},
		"another host than the one to avoid": {
			req: avoiding("fuller", wants(newHash, "east")),
			cat: Catalog{"east": region(stableRows())},
			hosts: []Host{
				openHost("empty", active("east"), 4, 0),
				openHost("fuller", active("east"), 4, 1, 0),
			},
			want: Verdict{Assigned: true, Host: "empty", Slot: 0, Key: active("east"), Reason: v1alpha1.ReasonAssigned},
		},
		"no room but on the host to avoid": {
			req:   avoiding("only", wants(newHash, "east")),
			cat:   Catalog{"east": region(stableRows())},
			hosts: []Host{openHost("only", active("east"), 4, 0)},
			want:  Verdict{Reason: v1alpha1.ReasonNoInstanceAvailable, WaitsFor: active("east")},
		},
		"the first region with room": {
			req: wants(newHash, "east", "west"),
			cat: Catalog{"east": region(stableRows()), "west": region(stableRows())},
			hosts: []Host{
				openHost("east", active("east"), 1, 0, 0),
				openHost("west", active("west"), 4, 0),
			},
			want: Verdict{Assigned: true, Host: "west", Key: active("west"), Reason: v1alpha1.ReasonAssigned},
		},
		"a region's fallback before the next region": {
			req: wants(newHash, "east", "west"),
			cat: Catalog{"east": region(stableRows(), "south"), "south": region(stableRows()), "west": region(stableRows())},
			hosts: []Host{
				openHost("west", active("west"), 4, 0, 0),
				openHost("south", active("south"), 4, 0),
			},
			want: Verdict{Assigned: true, Host: "south", Key: active("south"), Reason: v1alpha1.ReasonAssigned},
		},
		"a region that isn't enabled is passed over, with its fallback": {
			req: wants(newHash, "east", "west"),
			cat: Catalog{
				"east":  disabled(region(stableRows(), "south")),
				"south": region(stableRows()),
				"west":  region(stableRows()),
			},
			hosts: []Host{
				openHost("east", active("east"), 4, 0),
				openHost("south", active("south"), 4, 0),
				openHost("west", active("west"), 4, 0),
			},
			want: Verdict{Assigned: true, Host: "west", Key: active("west"), Reason: v1alpha1.ReasonAssigned},
		},
		"a fallback that isn't enabled is passed over": {
			req:   wants(newHash, "east"),
			cat:   Catalog{"east": region(stableRows(), "south"), "south": disabled(region(stableRows()))},
			hosts: []Host{openHost("south", active("south"), 4, 0)},
			want:  Verdict{Reason: v1alpha1.ReasonNoInstanceAvailable, WaitsFor: active("east")},
		},
		"no region enabled waits": {
			req: wants(newHash, "east", "nowhere"),
			cat: Catalog{"east": disabled(region(stableRows()))},
			want: Verdict{Reason: v1alpha1.ReasonRegionNotEnabled,
				Message: "None of the requested regions is enabled: east is disabled, nowhere does not exist. " +
					"Waits until one of them exists with spec.enabled true."},
		},
		"no room waits in the first region that offers the release": {
			req: wants(newHash, "north", "east", "west"),
			cat: Catalog{"north": region(nil), "east": region(stableRows()), "west": region(stableRows())},
			hosts: []Host{
				openHost("full", active("east"), 1, 0, 0),
				closed(openHost("draining", active("west"), 1, 0)),
				openHost("old", retired("east"), 4, 0),
			},
			want: Verdict{Reason: v1alpha1.ReasonNoInstanceAvailable, WaitsFor: active("east")},
		},
		"a release that was replaced everywhere ends the session": {
			req:   wants(oldHash, "east", "west"),
			cat:   Catalog{"east": region(stableRows()), "west": region(nil)},
			hosts: []Host{openHost("old", retired("east"), 4, 0), openHost("new", active("east"), 4, 0)},
			want:  Verdict{Terminal: true, Reason: v1alpha1.ReasonCommitHashMismatch},
		},
		"a release that is still active in one region asked does not end it": {
			req: wants(oldHash, "east", "west"),
			cat: Catalog{
				"east": region(stableRows()),
				"west": region([]Channel{{AMI: "stable", CommitHash: oldHash, Revision: "r1", Active: true}}),
			},
			want: Verdict{Reason: v1alpha1.ReasonNoInstanceAvailable, WaitsFor: retired("west")},
		},
		"nor one that is still active in a region that isn't enabled": {
			req: wants(oldHash, "east", "west"),
			cat: Catalog{
				"east": region(stableRows()),
				"west": disabled(region([]Channel{{AMI: "stable", CommitHash: oldHash, Revision: "r1", Active: true}})),
			},
			want: Verdict{Reason: v1alpha1.ReasonCommitHashUnknown},
		},
		"a release that is warming waits, though its hosts have room": {
			req:   wants(warmingHash, "east"),
			cat:   Catalog{"east": region(stableRows())},
			hosts: []Host{openHost("warming", warming("east"), 4, 0)},
			want:  Verdict{Reason: v1alpha1.ReasonCommitHashUnknown},
		},
		"room on another commit hash alone is a mismatch that waits": {
			req:   wants(alienHash, "north", "east"),
			cat:   Catalog{"north": region(nil), "east": region(stableRows())},
			hosts: []Host{openHost("new", active("east"), 4, 0)},
			want:  Verdict{Reason: v1alpha1.ReasonCommitHashMismatch},
		},
		"a hash that nobody offers waits": {
			req:  wants(alienHash, "east"),
			cat:  Catalog{"east": region(stableRows())},
			want: Verdict{Reason: v1alpha1.ReasonCommitHashUnknown},
		},
		"a channel's active release, whatever its hash": {
			req:   channel("stable", "east"),
			cat:   Catalog{"east": region(stableRows())},
			hosts: []Host{openHost("old", retired("east"), 4, 0, 0), openHost("new", active("east"), 4, 0)},
			want:  Verdict{Assigned: true, Host: "new", Key: active("east"), Reason: v1alpha1.ReasonAssigned},
		},
		"a channel that isn't there waits": {
			req:   channel("beta", "east"),
			cat:   Catalog{"east": region(stableRows())},
			hosts: []Host{openHost("new", active("east"), 4, 0)},
			want:  Verdict{Reason: v1alpha1.ReasonChannelNotFound},
		},
		"a channel without an active release waits, even if it had one": {
			req:  channel("stable", "east"),
			cat:  Catalog{"east": region(stableRows()[:2])},
			want: Verdict{Reason: v1alpha1.ReasonChannelNotFound},
		},
		"a developer's client takes whatever is active, by name": {
			req: wants(v1alpha1.LocalDevCommitHash, "east"),
			cat: Catalog{"east": region(append(stableRows(), Channel{AMI: "beta", CommitHash: "eeeeeee", Revision: "b1", Active: true}))},
			hosts: []Host{
				openHost("stable", active("east"), 4, 0, 0),
				openHost("beta", Key{Region: "east", AMI: "beta", Revision: "b1"}, 4, 0),
			},
			want: Verdict{Assigned: true, Host: "beta", Key: Key{Region: "east", AMI: "beta", Revision: "b1"}, Reason: v1alpha1.ReasonAssigned},
		},
		"a developer's client takes the next channel when the first is full": {
			req:   wants(v1alpha1.LocalDevCommitHash, "east"),
			cat:   Catalog{"east": region(append(stableRows(), Channel{AMI: "beta", CommitHash: "eeeeeee", Revision: "b1", Active: true}))},
			hosts: []Host{openHost("stable", active("east"), 4, 0)},
			want:  Verdict{Assigned: true, Host: "stable", Key: active("east"), Reason: v1alpha1.ReasonAssigned},
		},
		"a developer's client without any active release waits": {
			req:  wants(v1alpha1.LocalDevCommitHash, "east"),
			cat:  Catalog{"east": region(stableRows()[:2])},
			want: Verdict{Reason: v1alpha1.ReasonCommitHashUnknown},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(tc.req, tc.cat, fleetOf(tc.hosts...))
			if got.Message == "" {
				t.Error("the verdict has no message")
			}
			ignored := cmp.Options{}
			if tc.want.Message == "" {
				ignored = append(ignored, cmpopts.IgnoreFields(Verdict{}, "Message"))
			}
			if diff := cmp.Diff(tc.want, got, ignored); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
			fits := func(h Host) bool { return Against(tc.req, tc.cat, h) == NoObjection }
			if slices.ContainsFunc(tc.hosts, fits) != got.Assigned {
				t.Errorf("the objections contradict the verdict: %v", objections(tc.req, tc.cat, tc.hosts))
			}
		})
	}
}

func TestRegionsForNamesEachOnce(t *testing.T) {
	cat := Catalog{
		"a": region(nil, "c", "b"),
		"b": region(nil, "a", "d"),
		"c": region(nil, "e"),
		"d": region(nil),
		"e": region(nil),
	}
	got := cat.regionsFor(wants(newHash, "a", "c", "b"))
	// A fallback's own fallbacks don't count unless it was asked for itself.
	want := []string{"a", "c", "b", "e", "d"}
	if !slices.Equal(got, want) {
		t.Errorf("regions = %v, want %v", got, want)
	}
}

func TestMessagesStayShort(t *testing.T) {
	var regions []string
	for i := range 16 {
		regions = append(regions, fmt.Sprintf("region-%d", i))
	}
	message := Decide(wants(newHash, regions...), Catalog{}, NewFleet()).Message
	if !strings.Contains(message, "region-4 does not exist and 11 more.") {
		t.Errorf("message = %q", message)
	}
}

// TestTwoHundredAtOnce fills hosts in order: no host is begun while an older one
// has room, and none is lost or doubled.
func TestTwoHundredAtOnce(t *testing.T) {
	const sessions, capacity = 200, 8
	f := NewFleet()
	for i := range sessions / capacity {
		f.Set(openHost(fmt.Sprintf("host-%02d", i), active("east"), capacity, i))
	}
	cat := Catalog{"east": region(stableRows())}
	for i := range sessions {
		v := Decide(wants(newHash, "east"), cat, f)
		wantHost, wantSlot := fmt.Sprintf("host-%02d", i/capacity), int32(i%capacity)
		if v.Host != wantHost || v.Slot != wantSlot {
			t.Fatalf("session %d goes to slot %d of %s, want slot %d of %s", i, v.Slot, v.Host, wantSlot, wantHost)
		}
		if !f.Assume(v.Host, v.Slot, fmt.Sprint(i)) {
			t.Fatalf("session %d can't have its slot", i)
		}
	}
	if v := Decide(wants(newHash, "east"), cat, f); v.Reason != v1alpha1.ReasonNoInstanceAvailable {
		t.Errorf("one session more: %+v", v)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, hosts := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			f := NewFleet()
			for i := range hosts {
				f.Set(openHost(fmt.Sprintf("host-%d", i), active("east"), 8, i, 0))
			}
			cat := Catalog{"west": region(stableRows(), "east"), "east": region(stableRows())}
			req := wants(newHash, "west")
			b.ReportAllocs()
			for b.Loop() {
				v := Decide(req, cat, f)
				if !f.Assume(v.Host, v.Slot, req.UID) {
					b.Fatal("the slot is not free")
				}
				f.Forget(v.Host, v.Slot, req.UID)
			}
		})
	}
}

func BenchmarkDecideNoRoom(b *testing.B) {
	f := NewFleet()
	for i := range 10_000 {
		f.Set(openHost(fmt.Sprintf("host-%d", i), active("east"), 1, i, 0))
	}
	cat := Catalog{"east": region(stableRows())}
	b.ReportAllocs()
	for b.Loop() {
		if v := Decide(wants(newHash, "east"), cat, f); v.Assigned {
			b.Fatal("there is no room")
		}
	}
}
