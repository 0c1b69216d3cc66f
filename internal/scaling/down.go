// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package scaling

import (
	"cmp"
	"slices"
	"time"
)

// Candidate is a host that is not leaving yet. For an active release it is open;
// for any other it may be on its way, too.
type Candidate struct {
	// Name of the Instance.
	Name string
	// AMI is the name of its channel.
	AMI string
	// Revision is the id of its release in the region.
	Revision string
	// ActiveRevision says that new Mandelboxes may go to its release. A release
	// that is warming its buffer counts as active, or is protected.
	ActiveRevision bool
	// Protected keeps the host whatever else is true: a rollout needs it.
	Protected bool
	// Empty says that the host has no claim.
	Empty bool
	// Outdated says that the host was launched with other parameters than the next
	// one would be.
	Outdated bool
	// Created is when the Instance was created.
	Created time.Time
	// Slots is the host's capacity.
	Slots int32
}

// DownInput is what Down goes by.
type DownInput struct {
	// Disabled says that the region is switched off: its hosts leave as their
	// sessions end.
	Disabled bool
	// Channels are the active releases: Free, Pending, DesiredFree and MinInstances
	// of each are read. Candidates of an active release that is missing stay.
	Channels []Channel
	// Candidates are the hosts of the region, empty or not, in any order.
	Candidates []Candidate
	// SurplusSince is what the last plan returned; zero if there was no surplus.
	SurplusSince time.Time
	// Now is the time of the decision.
	Now time.Time
	// Stabilization is how long there must have been a host too many before one leaves.
	Stabilization time.Duration
}

// DownPlan is which hosts leave.
type DownPlan struct {
	// Leave names the hosts, the least useful first: those of releases that are not
	// active, then outdated ones, then the oldest.
	Leave []string
	// SurplusSince is since when some active release of the region has had a host
	// too many that didn't leave; zero if none has.
	SurplusSince time.Time
}

// Down plans the hosts that leave. None leaves that is protected or has a session.
//
// Hosts of a release that is not active, or of a region that is switched off,
// leave at once. An active release has a host too many while its free slots,
// less those that waiting sessions will take, are at least DesiredFree and the
// average capacity of its hosts, and it has more than MinInstances hosts. Once
// that has been so in the region for Stabilization, its hosts leave, outdated ones
// and then the oldest first, as many as are too many; a host whose own slots would be missing from
// DesiredFree stays, so that Up never asks for what Down just let go.
func Down(in DownInput) DownPlan {
	var plan DownPlan
	leaving := map[string]bool{}
	active := map[release][]Candidate{}
	for _, c := range in.Candidates {
		switch {
		case in.Disabled || !c.ActiveRevision:
			leaving[c.Name] = c.Empty && !c.Protected
		default:
			of := release{c.AMI, c.Revision}
			if active[of] == nil { // Nearly all are of one release.
				active[of] = make([]Candidate, 0, len(in.Candidates))
			}
			active[of] = append(active[of], c)
		}
	}

	since := in.SurplusSince
	if since.IsZero() {
		since = in.Now
	}
	stable := in.Now.Sub(since) >= in.Stabilization
	for _, channel := range in.Channels {
		s := stockOf(channel, active[release{channel.AMI, channel.Revision}])
		if stable {
			for _, name := range s.release() {
				leaving[name] = true
			}
		}
		if s.surplus() {
			plan.SurplusSince = since
		}
	}
	plan.Leave = named(in.Candidates, leaving)
	return plan
}

// release names one release of a channel in the region.
type release struct{ ami, revision string }

// stock is the room of one active release while its hosts are told to leave.
type stock struct {
	// free is the number of free slots that no waiting session will take.
	free int32
	// slots is the capacity of all its hosts together.
	slots       int32
	desiredFree int32
	minHosts    int
	hosts       []Candidate
}

func stockOf(c Channel, hosts []Candidate) *stock {
	s := &stock{
		free:        c.Free - c.Pending,
		desiredFree: c.DesiredFree,
		minHosts:    int(c.MinInstances),
		hosts:       hosts,
	}
	for _, h := range hosts {
		s.slots += h.Slots
	}
	return s
}

// surplus says whether the release has a host too many: free >= desired + slots/hosts,
// multiplied out so that the average isn't rounded.
func (s *stock) surplus() bool {
	n := len(s.hosts)
	return n > s.minHosts && int64(s.free-s.desiredFree)*int64(n) >= int64(s.slots)
}

// release takes out the hosts that may leave and names them.
func (s *stock) release() []string {
	if !s.surplus() {
		return nil
	}
	var names []string
	s.hosts = slices.SortedFunc(slices.Values(s.hosts), lessUseful)
	for s.surplus() {
		at := slices.IndexFunc(s.hosts, func(c Candidate) bool {
			return c.Empty && !c.Protected && s.free-c.Slots >= s.desiredFree
		})
		if at < 0 {
			break
		}
		names = append(names, s.hosts[at].Name)
		s.free -= s.hosts[at].Slots
		s.slots -= s.hosts[at].Slots
		s.hosts = slices.Delete(s.hosts, at, at+1)
	}
	return names
}

// named names the candidates that leave, the least useful first.
func named(candidates []Candidate, leaving map[string]bool) []string {
	var least []Candidate
	for _, c := range candidates {
		if leaving[c.Name] {
			least = append(least, c)
		}
	}
	slices.SortFunc(least, lessUseful)
	var names []string
	for _, c := range least {
		names = append(names, c.Name)
	}
	return names
}

func lessUseful(a, b Candidate) int {
	return cmp.Or(
		trueFirst(!a.ActiveRevision, !b.ActiveRevision), trueFirst(a.Outdated, b.Outdated),
		a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
