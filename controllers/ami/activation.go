// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
	"github.com/mandelbox/mandelbox-operator/internal/schedule"
)

// defaultBufferTimeout is the API's default of spec.rollout.bufferTimeout.
const defaultBufferTimeout = 15 * time.Minute

// pendingPoll is how soon a rollout that waits for Mandelboxes to find room, which
// changes nothing that is watched, looks again.
const pendingPoll = 5 * time.Second

// heldAfter is how long after a revision began to warm it is certain that its
// hosts are held: caches have caught up by then.
const heldAfter = 3 * time.Second

// activate swaps the wanted revision in once it has what it needs in every
// region: task definitions, and, unless it is the channel's first, a warm buffer.
// The first one becomes active at once, since Mandelboxes can only wait for hosts
// of a release that is. Where the strategy is PerRegion, each region swaps as soon
// as it has its own. A revision that has no buffer in time fails, and what serves
// goes on serving.
//
// The swap is the write of the status at the end of this reconcile: it carries
// activeRevision and the states of both revisions, and fails if anything else was
// written since.
func (r *Reconciler) activate(_ context.Context, s *scope) error {
	wanted := s.ami.Revision(s.wanted)
	if wanted == nil || wanted.State != v1alpha1.RevisionWarming || s.ami.Suspended() {
		return nil
	}
	first := s.ami.Status.ActiveRevision == ""
	if !first {
		s.findLacks(wanted)
	}
	switch {
	case len(s.waiting) == 0:
		s.swap(wanted)
	case !first:
		if s.ami.Spec.Rollout.Strategy == v1alpha1.RolloutPerRegion {
			s.swapReadyRegions(wanted)
		}
		s.giveUp(wanted)
	}
	return nil
}

// findLacks notes what each region waits for.
func (s *scope) findLacks(wanted *v1alpha1.Revision) {
	for i := range wanted.Regions {
		row := &wanted.Regions[i]
		if s.waiting[row.Region] != "" {
			continue
		}
		if lacks := s.lacks(wanted, row); lacks != "" {
			s.waiting[row.Region] = lacks
		}
	}
}

// lacks says what a row of the coming revision still lacks before its region can
// swap; "" if nothing.
func (s *scope) lacks(wanted *v1alpha1.Revision, row *v1alpha1.RevisionRegion) string {
	before := s.ami.ActiveRow(row.Region)
	if before != nil && before.ID == row.ID {
		return "" // The release doesn't change the region: its hosts go on serving.
	}
	place := s.regions[row.Region]
	if place.region == nil {
		return place.obstacle(row.Region)
	}
	if !place.region.Enabled() {
		return "" // Nothing is launched or assigned there, before the swap or after it.
	}
	if why := s.neverActive(row); why != "" {
		return why
	}
	want, have := s.buffer(row, before), s.count(row)
	if have.Free >= want {
		return s.unsure(wanted, row)
	}
	held := ""
	if place.region.Suspended() {
		held = "; the Region launches no more while its spec.suspend is true"
	}
	return fmt.Sprintf("%d of %d slots of the new release are free, on %d hosts that are ready and %d on their way%s",
		have.Free, want, have.Open, have.Hosts-have.Open, held)
}

// unsure says that the hosts which were counted may be leaving: those of a release
// that comes back were let go until a moment ago, by a Region that may not have
// heard of the change. Hosts that were made for it are not among them; one of the
// second in which it began to warm was, for no other could be up by now.
func (s *scope) unsure(wanted *v1alpha1.Revision, row *v1alpha1.RevisionRegion) string {
	left := wanted.Time.Add(heldAfter).Sub(s.now)
	cameBack := slices.ContainsFunc(s.hosts, func(i v1alpha1.Instance) bool {
		return i.Spec.RegionName == row.Region && i.Spec.Revision == row.ID && i.CreationTimestamp.Before(&wanted.Time)
	})
	if left <= 0 || !cameBack {
		return ""
	}
	s.after(left)
	return "its hosts are ready, and are counted once more in a moment"
}

// buffer is how many slots a row must have free before its region can swap.
func (s *scope) buffer(row, before *v1alpha1.RevisionRegion) int32 {
	place := s.regions[row.Region]
	desired, _ := census.Desired(s.ami, place.region, s.now)
	var pending int32
	if before != nil {
		pending = place.pending[placement.Key{Region: row.Region, AMI: s.ami.Name, Revision: before.ID}]
	}
	if pending > 0 {
		s.after(pendingPoll)
	}
	if next := schedule.At(place.region.Spec.Capacity.Schedules, s.now).Next; !next.IsZero() {
		s.after(next.Sub(s.now))
	}
	return census.Buffer(desired, s.count(before).Free, pending)
}

// neverActive says why the Region launches no more hosts of a row; "" if it does.
func (s *scope) neverActive(row *v1alpha1.RevisionRegion) string {
	region := s.regions[row.Region].region
	if region == nil {
		return ""
	}
	return census.NeverActive(census.RecordOf(region, census.Release{Region: row.Region, AMI: s.ami.Name, Revision: row.ID}))
}

// swap makes the wanted revision the active one of all regions.
func (s *scope) swap(wanted *v1alpha1.Revision) {
	if active := s.ami.Revision(s.ami.Status.ActiveRevision); active != nil && active.Name != wanted.Name {
		s.become(active, v1alpha1.RevisionRetiring)
	}
	s.become(wanted, v1alpha1.RevisionActive)
	s.ami.Status.ActiveRevision = wanted.Name
	for i := range s.ami.Status.Regions {
		s.ami.Status.Regions[i].ActiveRevision = ""
	}
}

// swapReadyRegions makes the wanted revision the active one of the regions that
// wait for nothing.
func (s *scope) swapReadyRegions(wanted *v1alpha1.Revision) {
	for _, row := range wanted.Regions {
		if s.waiting[row.Region] != "" {
			continue
		}
		own := wanted.Name
		if own == s.ami.Status.ActiveRevision {
			own = ""
		}
		at := slices.IndexFunc(s.ami.Status.Regions, func(r v1alpha1.AMIRegionStatus) bool { return r.Region == row.Region })
		if at < 0 {
			s.ami.Status.Regions = append(s.ami.Status.Regions, v1alpha1.AMIRegionStatus{Region: row.Region})
			at = len(s.ami.Status.Regions) - 1
		}
		s.ami.Status.Regions[at].ActiveRevision = own
	}
}

// giveUp fails a revision whose hosts never become Active in a region, or that has
// been warming for too long; else it has the AMI looked at again when it will have
// been. The active revision, which takes back regions, is not given up.
func (s *scope) giveUp(wanted *v1alpha1.Revision) {
	if wanted.Name == s.ami.Status.ActiveRevision {
		return
	}
	for i := range wanted.Regions {
		row := &wanted.Regions[i]
		if s.waiting[row.Region] != "" && s.neverActive(row) != "" {
			s.failedFor = v1alpha1.ReasonRolloutFailed
		}
	}
	if left := wanted.Time.Add(bufferTimeout(s.ami)).Sub(s.now); left > 0 {
		s.after(left)
	} else if s.failedFor == "" {
		s.failedFor = v1alpha1.ReasonBufferTimeout
	}
	if s.failedFor != "" {
		s.become(wanted, v1alpha1.RevisionFailed)
	}
}

// after has the AMI looked at again in d at the latest.
func (s *scope) after(d time.Duration) { s.lookAgain = earliest(s.lookAgain, max(d, time.Millisecond)) }

func bufferTimeout(ami *v1alpha1.AMI) time.Duration {
	if timeout := ami.Spec.Rollout.BufferTimeout; timeout != nil {
		return timeout.Duration
	}
	return defaultBufferTimeout
}

// recordRollout records how a rollout began and ended, once that is written.
func (r *Reconciler) recordRollout(before, now *v1alpha1.AMI) {
	if before.Status.ActiveRevision != now.Status.ActiveRevision {
		r.Events.Eventf(now, nil, corev1.EventTypeNormal, v1alpha1.ReasonRolledOut, "Activate",
			"Revision %s (commit %s) is active in %s", now.Status.ActiveRevision, now.Spec.ClientCommitHash,
			regionList(now.Revision(now.Status.ActiveRevision)))
		return
	}
	for _, region := range now.Status.Regions {
		was, is := before.ActiveRevisionIn(region.Region), now.ActiveRevisionIn(region.Region)
		if is != nil && (was == nil || was.Name != is.Name) {
			r.Events.Eventf(now, nil, corev1.EventTypeNormal, v1alpha1.ReasonRolledOut, "Activate",
				"Revision %s (commit %s) is active in %s", is.Name, is.ClientCommitHash, region.Region)
		}
	}
	for i := range now.Status.Revisions {
		revision := &now.Status.Revisions[i]
		was := before.Revision(revision.Name)
		if revision.State == v1alpha1.RevisionWarming && (was == nil || was.State != v1alpha1.RevisionWarming) {
			r.Events.Eventf(now, nil, corev1.EventTypeNormal, v1alpha1.ReasonRollingOut, "RollOut",
				"Rolling out revision %s (commit %s) to %s", revision.Name, revision.ClientCommitHash, regionList(revision))
		}
	}
}
