// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package scaling

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// channel is a launchable channel of 8 slots to a host.
func channel(name string, set func(*Channel)) Channel {
	c := Channel{AMI: name, Revision: "r1", SlotsPerHost: 8, Launchable: true}
	set(&c)
	return c
}

func TestUpForOneChannel(t *testing.T) {
	for name, tc := range map[string]struct {
		channel Channel
		want    int32
	}{
		"no host at all": {
			channel: channel("a", func(c *Channel) { c.DesiredFree = 1 }),
			want:    1,
		},
		"no host at all and one waits, without a buffer": {
			channel: channel("a", func(c *Channel) { c.Pending = 1 }),
			want:    1,
		},
		"no host, no buffer, nobody waits: scaled to zero": {
			channel: channel("a", func(*Channel) {}),
		},
		"the buffer of 20 from nothing": {
			channel: channel("a", func(c *Channel) { c.DesiredFree = 20 }),
			want:    3,
		},
		"free equals desired": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.Free, c.Hosts = 20, 20, 3 }),
		},
		"free is one less than desired: one host": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.Free, c.Hosts = 20, 19, 3 }),
			want:    1,
		},
		"what is on its way counts": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.Free, c.OnTheWay, c.Hosts = 20, 4, 16, 3 }),
		},
		"the queue comes on top of the buffer": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.Pending, c.OnTheWay, c.Hosts = 20, 200, 20, 3 }),
			want:    25,
		},
		"at least minInstances": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.Free, c.MinInstances, c.Hosts = 8, 16, 5, 2 }),
			want:    3,
		},
		"minInstances is met by what the buffer needs": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.MinInstances = 40, 2 }),
			want:    5,
		},
		"a channel that can't be launched": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.Pending, c.Launchable = 20, 5, false }),
		},
		"hosts that would have no slot": {
			channel: channel("a", func(c *Channel) { c.DesiredFree, c.MinInstances, c.SlotsPerHost = 20, 5, 0 }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := Region{Enabled: true, MaxInstances: 100, Hosts: tc.channel.Hosts, Channels: []Channel{tc.channel}}
			want := UpPlan{Wanted: tc.want}
			if tc.want > 0 {
				want.Launches = []Launch{{AMI: "a", Revision: "r1", Count: tc.want}}
			}
			if diff := cmp.Diff(want, Up(r)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUpWithinMaxInstances(t *testing.T) {
	buffer := func(hosts int32) func(*Channel) {
		return func(c *Channel) { c.DesiredFree, c.Hosts = 80, hosts }
	}
	queue := func(pending int32) func(*Channel) {
		return func(c *Channel) { c.Pending = pending }
	}
	both := func(c *Channel) { c.DesiredFree, c.Pending = 80, 16 }
	for name, tc := range map[string]struct {
		region Region
		want   UpPlan
	}{
		"a region that isn't enabled launches nothing": {
			region: Region{MaxInstances: 10, Channels: []Channel{channel("a", both)}},
		},
		"room for some": {
			region: Region{Enabled: true, MaxInstances: 10, Hosts: 6, Channels: []Channel{channel("a", buffer(6))}},
			want:   UpPlan{Launches: []Launch{{"a", "r1", 4}}, Wanted: 10, Denied: 6},
		},
		"room for none": {
			region: Region{Enabled: true, MaxInstances: 10, Hosts: 10, Channels: []Channel{channel("a", buffer(5))}},
			want:   UpPlan{Wanted: 10, Denied: 10},
		},
		"more hosts than allowed, since the bound was lowered": {
			region: Region{Enabled: true, MaxInstances: 5, Hosts: 10, Channels: []Channel{channel("a", buffer(10))}},
			want:   UpPlan{Wanted: 10, Denied: 10},
		},
		"the queue before the buffer": {
			region: Region{Enabled: true, MaxInstances: 3, Channels: []Channel{
				channel("a", buffer(0)), channel("b", queue(24)),
			}},
			want: UpPlan{Launches: []Launch{{"b", "r1", 3}}, Wanted: 13, Denied: 10},
		},
		"buffers share what the queue leaves": {
			region: Region{Enabled: true, MaxInstances: 6, Channels: []Channel{
				channel("a", buffer(0)), channel("b", both),
			}},
			want: UpPlan{Launches: []Launch{{"a", "r1", 3}, {"b", "r1", 3}}, Wanted: 22, Denied: 16},
		},
		"queues share in turn": {
			region: Region{Enabled: true, MaxInstances: 5, Channels: []Channel{
				channel("b", queue(800)), channel("a", queue(800)), channel("c", queue(8)),
			}},
			want: UpPlan{Launches: []Launch{{"a", "r1", 2}, {"b", "r1", 2}, {"c", "r1", 1}}, Wanted: 201, Denied: 196},
		},
		"the last host goes to the channel with fewer": {
			region: Region{Enabled: true, MaxInstances: 6, Hosts: 5, Channels: []Channel{
				channel("a", buffer(3)), channel("b", buffer(2)),
			}},
			want: UpPlan{Launches: []Launch{{"b", "r1", 1}}, Wanted: 20, Denied: 19},
		},
		"two releases of a channel": {
			region: Region{Enabled: true, MaxInstances: 100, Channels: []Channel{
				channel("a", func(c *Channel) { c.Revision, c.DesiredFree = "r2", 8 }), channel("a", queue(1)),
			}},
			want: UpPlan{Launches: []Launch{{"a", "r1", 1}, {"a", "r2", 1}}, Wanted: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Up(tc.region)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func randomRegion(r *rand.Rand) Region {
	region := Region{Enabled: true, MaxInstances: r.Int32N(60)}
	for i := range 1 + r.IntN(4) {
		c := channel(fmt.Sprintf("ami-%d", i), func(c *Channel) {
			c.Hosts = r.Int32N(8)
			c.SlotsPerHost = r.Int32N(9)
			c.Free = r.Int32N(20)
			c.OnTheWay = r.Int32N(20)
			c.Pending = r.Int32N(40)
			c.DesiredFree = r.Int32N(30)
			c.MinInstances = r.Int32N(6)
			c.Launchable = r.IntN(6) > 0
		})
		region.Channels = append(region.Channels, c)
		region.Hosts += c.Hosts
	}
	return region
}

// TestUpHoldsItsPromises checks what must be true of every plan.
func TestUpHoldsItsPromises(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 10_000 {
		region := randomRegion(r)
		plan := Up(region)
		var launched int32
		after := region
		after.Channels = slices.Clone(region.Channels)
		for _, l := range plan.Launches {
			launched += l.Count
			at := slices.IndexFunc(after.Channels, func(c Channel) bool { return c.AMI == l.AMI })
			after.Channels[at].Hosts += l.Count
			after.Channels[at].OnTheWay += l.Count * after.Channels[at].SlotsPerHost
		}
		after.Hosts += launched
		if launched > 0 && after.Hosts > region.MaxInstances {
			t.Fatalf("%+v launches %d, more than allowed", region, launched)
		}
		if plan.Wanted != launched+plan.Denied {
			t.Fatalf("%+v: wanted %d, launched %d, denied %d", region, plan.Wanted, launched, plan.Denied)
		}
		if again := Up(after); again.Wanted != plan.Denied || len(again.Launches) > 0 {
			t.Fatalf("%+v: carried out, the plan is followed by %+v", region, again)
		}
		r.Shuffle(len(region.Channels), func(i, j int) {
			region.Channels[i], region.Channels[j] = region.Channels[j], region.Channels[i]
		})
		if diff := cmp.Diff(plan, Up(region)); diff != "" {
			t.Fatalf("the order of the channels matters:\n%s", diff)
		}
	}
}
