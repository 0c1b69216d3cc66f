// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package scaling decides how many hosts a region wants: how many slots a host
// has, how many hosts to launch for each channel, and which hosts may leave.
//
// The functions are pure: they make no call and read no clock. They know nothing
// of how a host is launched or drained.
package scaling

import (
	"cmp"
	"slices"
)

// Channel is one release of a channel in the region, and how much room it has.
type Channel struct {
	// AMI is the name of the channel.
	AMI string
	// Revision is the id of its release in the region.
	Revision string
	// Free is the number of free slots on open hosts.
	Free int32
	// OnTheWay is the number of slots on hosts that are in PreConnection, or that
	// were decided on and aren't made yet.
	OnTheWay int32
	// Pending is the number of sessions that wait for a slot of this release here.
	Pending int32
	// Hosts is the number of hosts that are open or on the way.
	Hosts int32
	// SlotsPerHost is the number of slots that the next host is planned to have.
	SlotsPerHost int32
	// DesiredFree is the number of slots to keep free for sessions to come.
	DesiredFree int32
	// MinInstances is the least number of hosts to keep.
	MinInstances int32
	// Launchable says that hosts of the release can be launched now.
	Launchable bool
}

// Region is a region whose channels share a bound on hosts.
type Region struct {
	// Enabled says whether hosts are launched at all.
	Enabled bool
	// MaxInstances is the greatest number of hosts in the region.
	MaxInstances int32
	// Hosts is the number of hosts that exist or are on the way: draining ones
	// included, terminating ones not.
	Hosts int32
	// Channels are the releases that want hosts, in any order.
	Channels []Channel
}

// Launch is a number of hosts of one release to launch.
type Launch struct {
	// AMI is the name of the channel.
	AMI string
	// Revision is the id of its release in the region.
	Revision string
	// Count is how many hosts, at least 1.
	Count int32
}

// UpPlan is what a region should launch now.
type UpPlan struct {
	// Launches are by AMI, then Revision.
	Launches []Launch
	// Wanted is how many hosts the channels want, launched now or not.
	Wanted int32
	// Denied is how many of them MaxInstances does not allow.
	Denied int32
}

// demand is what one channel wants, and what it has been granted.
type demand struct {
	Channel
	// pending is how many hosts the waiting sessions need.
	pending int32
	// total is pending and what the buffer and MinInstances need beside it.
	total   int32
	granted int32
}

// Up plans the hosts to launch. A channel wants as many as its waiting sessions
// and its free buffer need beyond the slots it has free or on the way, and at
// least MinInstances in all; so a channel without any host gets its first one as
// soon as it has a buffer to keep, a minimum or a waiting session.
//
// Where MaxInstances doesn't allow them all, hosts for waiting sessions go before
// hosts for buffers, and among these the channels get one host after another in
// turn, those with fewer hosts first, then by name. A region that isn't enabled
// launches nothing, and neither does a channel that isn't Launchable or whose
// hosts would have no slot.
func Up(r Region) UpPlan {
	if !r.Enabled {
		return UpPlan{}
	}
	var plan UpPlan
	var demands []*demand
	for _, c := range r.Channels {
		if d := demandOf(c); d.total > 0 {
			demands = append(demands, d)
			plan.Wanted += d.total
		}
	}
	room := max(0, r.MaxInstances-r.Hosts)
	room = share(room, demands, func(d *demand) int32 { return d.pending })
	share(room, demands, func(d *demand) int32 { return d.total })

	plan.Denied = plan.Wanted
	slices.SortFunc(demands, func(a, b *demand) int { return byName(a.Channel, b.Channel) })
	for _, d := range demands {
		if d.granted > 0 {
			plan.Launches = append(plan.Launches, Launch{AMI: d.AMI, Revision: d.Revision, Count: d.granted})
			plan.Denied -= d.granted
		}
	}
	return plan
}

func demandOf(c Channel) *demand {
	if !c.Launchable || c.SlotsPerHost <= 0 {
		return &demand{Channel: c}
	}
	missing := c.Pending - c.Free - c.OnTheWay
	return &demand{
		Channel: c,
		pending: hostsFor(missing, c.SlotsPerHost),
		total:   max(hostsFor(missing+c.DesiredFree, c.SlotsPerHost), c.MinInstances-c.Hosts),
	}
}

// hostsFor is the number of hosts that have so many slots together.
func hostsFor(slots, perHost int32) int32 {
	if slots <= 0 {
		return 0
	}
	return (slots-1)/perHost + 1
}

// share grants hosts in turn until each demand has its limit or no room is left,
// and returns the room that is.
func share(room int32, demands []*demand, limit func(*demand) int32) int32 {
	for room > 0 {
		var next *demand
		for _, d := range demands {
			if d.granted < limit(d) && (next == nil || goesFirst(d, next) < 0) {
				next = d
			}
		}
		if next == nil {
			break
		}
		next.granted++
		room--
	}
	return room
}

func goesFirst(a, b *demand) int {
	return cmp.Or(cmp.Compare(a.granted, b.granted), cmp.Compare(a.Hosts, b.Hosts), byName(a.Channel, b.Channel))
}

func byName(a, b Channel) int {
	return cmp.Or(cmp.Compare(a.AMI, b.AMI), cmp.Compare(a.Revision, b.Revision))
}
