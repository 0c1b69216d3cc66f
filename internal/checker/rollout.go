// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"fmt"
	"sort"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// rolloutWindow is how long after a swap the release before it may still be
// leaving; a host that closes later than that does so for another reason.
const rolloutWindow = 30 * time.Second

// disturbedWindow is how long after the loss of a host another one of its release may
// still close on what was known before it.
const disturbedWindow = 5 * time.Second

// roomKey is a release of a channel in a region.
type roomKey struct{ region, ami, revision string }

// room is the history of how many slots of a release are free: on hosts that are
// Active, not draining and not being deleted.
type room struct {
	free   map[string]int32 // by Instance
	points []point
	// disturbed is when a host of the release was last seen that was taken away or
	// cut off: what closes then may have been too many with it.
	disturbed time.Time
}

type point struct {
	revision uint64
	time     time.Time
	free     int32
}

func (r *room) total() int32 {
	var n int32
	for _, free := range r.free {
		n += free
	}
	return n
}

// at is how many slots were free at a resource version.
func (r *room) at(revision uint64) int32 {
	n := sort.Search(len(r.points), func(i int) bool { return r.points[i].revision > revision })
	if n == 0 {
		return 0
	}
	return r.points[n-1].free
}

// channel is what is remembered of an AMI.
type channel struct {
	// swaps are what was active since when; the last one is now.
	swaps   []swap
	active  string
	warming bool
}

// swap is the write that makes a release the active one: its id by region.
type swap struct {
	revision uint64
	time     time.Time
	ids      map[string]string
}

// at is the swap that was in force at a resource version; nil if there was none.
func (ch *channel) at(revision uint64) *swap {
	n := sort.Search(len(ch.swaps), func(i int) bool { return ch.swaps[i].revision > revision })
	if n == 0 {
		return nil
	}
	return &ch.swaps[n-1]
}

// ami takes in a version of an AMI.
func (c *Checker) ami(now time.Time, revision uint64, a *v1alpha1.AMI, deleted bool) {
	if deleted {
		delete(c.channels, a.Name)
		return
	}
	ch := c.channels[a.Name]
	if ch == nil {
		ch = &channel{}
		c.channels[a.Name] = ch
	}
	ch.warming = false
	for i := range a.Status.Revisions {
		ch.warming = ch.warming || a.Status.Revisions[i].State == v1alpha1.RevisionWarming
	}
	if a.Status.ActiveRevision == "" || a.Status.ActiveRevision == ch.active {
		return
	}
	ch.active = a.Status.ActiveRevision
	next := swap{revision: revision, time: now, ids: map[string]string{}}
	if active := a.Revision(ch.active); active != nil {
		for _, row := range active.Regions {
			next.ids[row.Region] = row.ID
		}
	}
	if len(ch.swaps) > 0 {
		c.judgeSwap(now, a.Name, ch.swaps[len(ch.swaps)-1], next)
	}
	ch.swaps = append(ch.swaps, next)
}

// judgeSwap judges whether the new release had room wherever the old one had, at
// the very version that swapped them.
func (c *Checker) judgeSwap(now time.Time, name string, before, after swap) {
	c.later(now, func(now time.Time) {
		for region, id := range after.ids {
			old, offered := before.ids[region]
			if !offered || old == id || c.ending || c.disturbedIn(roomKey{region, name, id}) {
				continue
			}
			had, has := c.freeAt(roomKey{region, name, old}, after.revision), c.freeAt(roomKey{region, name, id}, after.revision)
			if had > 0 && has == 0 {
				c.report(now, NoDowntime, RuleSwap, "AMI "+name, "the swap of version %d took the last of %d free slots in %s: release %s has none",
					after.revision, had, region, id)
			}
		}
	})
}

func (c *Checker) freeAt(key roomKey, revision uint64) int32 {
	if r := c.room[key]; r != nil {
		return r.at(revision)
	}
	return 0
}

// disturbedIn says whether a host of the release was taken away or cut off.
func (c *Checker) disturbedIn(key roomKey) bool {
	for _, h := range c.hosts {
		if h.region == key.region && h.ami == key.ami && h.revision == key.revision && c.cloud.disturbed[h.instanceID] {
			return true
		}
	}
	return false
}

// followRoom records how many slots of the Instance's release are free, and looks
// whether the last ones have gone with a host instead of to a session.
func (c *Checker) followRoom(now time.Time, revision uint64, h *host, free int32, claimed bool) {
	key := roomKey{h.region, h.ami, h.revision}
	r := c.room[key]
	if r == nil {
		r = &room{free: map[string]int32{}}
		c.room[key] = r
	}
	if c.cloud.disturbed[h.instanceID] {
		r.disturbed = now
	}
	before := r.total()
	r.free[h.name] = free
	if free == 0 {
		delete(r.free, h.name)
	}
	h.free = free
	after := r.total()
	if before == after {
		return
	}
	r.points = append(r.points, point{revision: revision, time: now, free: after})
	for len(r.points) > 2 && now.Sub(r.points[1].time) > rolloutWindow {
		r.points = r.points[1:]
	}
	if before == 0 || after > 0 || claimed || now.Sub(r.disturbed) < disturbedWindow {
		return
	}
	c.judgeClosing(now, revision, h, before)
}

// judgeClosing judges whether a host that closed with the last free slots of its
// release did so in a rollout of the channel, and out of the release in use.
func (c *Checker) judgeClosing(now time.Time, revision uint64, h *host, free int32) {
	warming := c.channels[h.ami] != nil && c.channels[h.ami].warming
	how := fmt.Sprintf("phase %s, draining: %t, being deleted: %t", h.phase, h.draining, h.deleting)
	c.later(now, func(now time.Time) {
		ch := c.channels[h.ami]
		if ch == nil || c.ending || c.cloud.disturbed[h.instanceID] {
			return
		}
		active := ch.at(revision)
		if active == nil || active.ids[h.region] != h.revision {
			return
		}
		recent := len(ch.swaps) > 1 && now.Sub(active.time) < rolloutWindow
		if warming || recent {
			c.report(now, NoDowntime, RuleRoom, "AMI "+h.ami, "Instance %s closed (%s) at version %d with the last %d free slots of the active release %s in %s",
				h.name, how, revision, free, h.revision, h.region)
		}
	})
}
