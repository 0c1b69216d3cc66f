// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// claimKey is a claim on a slot: whose, and where.
type claimKey struct {
	instance string
	slot     int32
	uid      string
	attempt  int32
}

// span is from when until when something was true, in resource versions; to is 0
// as long as it is.
type span struct {
	from, to uint64
	// lost says that it ended with the Instance's deletion: nobody else can have
	// got the slot.
	lost bool
}

func (s *span) covers(revision uint64) bool {
	return s.from <= revision && (s.to == 0 || s.to > revision)
}

// commit is the time in which a Mandelbox held its slot.
type commit struct {
	span
	key claimKey
}

// host is what is remembered of an Instance.
type host struct {
	name, uid, region, ami, revision string
	instanceID                       string
	phase                            v1alpha1.InstancePhase
	draining, deleting               bool
	free                             int32
	claims                           map[claimKey]bool
	// launches are all (token, index) that the Instance ever had.
	launches map[string]bool
}

// instance takes in a version of an Instance.
func (c *Checker) instance(now time.Time, revision uint64, i *v1alpha1.Instance, deleted bool) {
	h := c.hosts[i.Name]
	if h == nil || h.uid != string(i.UID) {
		h = &host{name: i.Name, uid: string(i.UID), claims: map[claimKey]bool{}, launches: map[string]bool{}}
		c.hosts[i.Name] = h
	}
	h.region, h.ami, h.revision = i.Spec.RegionName, i.Spec.AMIName, i.Spec.Revision
	h.instanceID = i.Status.InstanceID
	if key := i.LaunchKey(); key != "" {
		h.launches[key] = true
		c.cloud.launchers[key] = i.Name
	}
	c.checkSlots(now, i)
	grew := c.followClaims(now, revision, h, i, deleted)
	c.checkActive(now, h, i)
	h.phase, h.draining, h.deleting = i.Status.Phase, i.Draining(), !i.DeletionTimestamp.IsZero()
	free := i.FreeSlots()
	if deleted {
		free = 0
		delete(c.hosts, i.Name)
	}
	c.followRoom(now, revision, h, free, grew)
}

// checkSlots holds one version of an Instance to its capacity.
func (c *Checker) checkSlots(now time.Time, i *v1alpha1.Instance) {
	if n := int32(len(i.Status.Claims)); n > i.Slots() {
		c.report(now, OneSlot, RuleCapacity, describe(i), "version %s has %d claims on %d slots", i.ResourceVersion, n, i.Slots())
	}
	taken := map[int32]string{}
	for _, claim := range i.Status.Claims {
		if claim.Slot < 0 || claim.Slot >= i.Slots() {
			c.report(now, OneSlot, RuleSlot, describe(i), "version %s has a claim of %s/%s on slot %d, of %d slots",
				i.ResourceVersion, claim.Namespace, claim.Name, claim.Slot, i.Slots())
		}
		if other, twice := taken[claim.Slot]; twice {
			c.report(now, OneSlot, RuleSlot, describe(i), "version %s has claims of %s and %s/%s on slot %d",
				i.ResourceVersion, other, claim.Namespace, claim.Name, claim.Slot)
		}
		taken[claim.Slot] = claim.Namespace + "/" + claim.Name
	}
}

// followClaims records from when until when each claim was there, and says
// whether there are new ones.
func (c *Checker) followClaims(now time.Time, revision uint64, h *host, i *v1alpha1.Instance, deleted bool) bool {
	grew := false
	present := map[claimKey]bool{}
	for _, claim := range i.Status.Claims {
		key := claimKey{h.name, claim.Slot, claim.UID, claim.Attempt}
		present[key] = !deleted
		if !h.claims[key] {
			grew = true
			c.claims[key] = append(c.claims[key], &span{from: revision})
		}
	}
	for key := range h.claims {
		if present[key] {
			continue
		}
		spans := c.claims[key]
		last := spans[len(spans)-1]
		last.to, last.lost = revision, deleted
		if s := c.sessions[key.uid]; s != nil && s.commit != nil && s.commit.key == key {
			c.judgeCommit(now, s, s.commit)
		}
	}
	for key, still := range present {
		if !still {
			delete(present, key)
		}
	}
	h.claims = present
	return grew
}

// followCommit records from when until when a Mandelbox held its slot.
func (c *Checker) followCommit(now time.Time, revision uint64, s *session, m *v1alpha1.Mandelbox, deleted bool) {
	holds := m.Committed() && !m.Finished() && !deleted
	var key claimKey
	if holds {
		key = claimKey{m.Status.InstanceName, *m.Status.Slot, s.uid, m.Status.Attempt}
	}
	if s.commit != nil && (!holds || s.commit.key != key) {
		if holds && s.commit.key.attempt == key.attempt {
			c.report(now, OneSlot, RuleAssignment, s.name, "attempt %d moved from slot %d of %s to slot %d of %s",
				key.attempt, s.commit.key.slot, s.commit.key.instance, key.slot, key.instance)
		}
		s.commit.to = revision
		s.commit = nil
	}
	if holds && s.commit == nil {
		s.commit = &commit{span: span{from: revision}, key: key}
		c.judgeCommit(now, s, s.commit)
	}
}

// judgeCommit judges, once both kinds' watches have caught up, whether the claim
// was there when the session was given the slot, and for as long as it held it.
func (c *Checker) judgeCommit(now time.Time, s *session, held *commit) {
	c.later(now, func(now time.Time) {
		var backing *span
		for _, claimed := range c.claims[held.key] {
			if claimed.covers(held.from) || claimed.lost && claimed.from <= held.from {
				backing = claimed
			}
		}
		where := held.key
		switch {
		case backing == nil:
			c.report(now, OneSlot, RuleBacked, s.name, "attempt %d was committed to slot %d of Instance %s at version %d, which has no such claim",
				where.attempt, where.slot, where.instance, held.from)
		case backing.to != 0 && !backing.lost && (held.to == 0 || held.to > backing.to):
			c.report(now, OneSlot, RuleBacked, s.name, "its claim of attempt %d on slot %d of Instance %s went at version %d while it held the slot",
				where.attempt, where.slot, where.instance, backing.to)
		}
	})
}
