// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
)

// defaultBufferTimeout is the API's default of spec.rollout.bufferTimeout.
const defaultBufferTimeout = 15 * time.Minute

// activate swaps the wanted revision in once it has what it needs in every
// region: task definitions, and, unless it is the channel's first, a warm buffer.
// The first one becomes active at once, since Mandelboxes can only wait for hosts
// of a release that is. A revision that has no buffer in time fails, and the one
// before it goes on serving.
//
// The swap is the write of the status at the end of this reconcile: it carries
// activeRevision and the states of both revisions, and fails if anything else was
// written since.
func (r *Reconciler) activate(_ context.Context, s *scope) error {
	wanted := s.ami.Revision(s.wanted)
	if wanted == nil || wanted.State != v1alpha1.RevisionWarming || s.ami.Suspended() {
		return nil
	}
	active := s.ami.Revision(s.ami.Status.ActiveRevision)
	for i := range wanted.Regions {
		if s.waiting[wanted.Regions[i].Region] != "" || active == nil {
			continue
		}
		if lacks := s.lacks(&wanted.Regions[i], active); lacks != "" {
			s.waiting[wanted.Regions[i].Region] = lacks
		}
	}
	switch {
	case len(s.waiting) == 0:
		r.swap(s, wanted, active)
	case active != nil:
		r.giveUpInTime(s, wanted)
	}
	return nil
}

// lacks says what a row of the coming revision still lacks before its region can
// swap; "" if nothing.
func (s *scope) lacks(row *v1alpha1.RevisionRegion, active *v1alpha1.Revision) string {
	before := active.Row(row.Region)
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
	desired, _ := census.Desired(s.ami, place.region)
	want, have := census.Buffer(desired, s.count(before).Free), s.count(row)
	if have.Free >= want {
		return ""
	}
	return fmt.Sprintf("%d of %d slots of the new release are free, on %d hosts that are ready and %d on their way",
		have.Free, want, have.Open, have.Hosts-have.Open)
}

func (r *Reconciler) swap(s *scope, wanted, active *v1alpha1.Revision) {
	s.become(wanted, v1alpha1.RevisionActive)
	if active != nil {
		s.become(active, v1alpha1.RevisionRetiring)
	}
	s.ami.Status.ActiveRevision = wanted.Name
}

// giveUpInTime fails a revision that has been warming for too long, or has the
// AMI looked at again when it will have been.
func (r *Reconciler) giveUpInTime(s *scope, wanted *v1alpha1.Revision) {
	left := wanted.Time.Add(bufferTimeout(s.ami)).Sub(s.now)
	if left > 0 {
		s.lookAgain = left
		return
	}
	s.become(wanted, v1alpha1.RevisionFailed)
}

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
	for i := range now.Status.Revisions {
		revision := &now.Status.Revisions[i]
		was := before.Revision(revision.Name)
		if revision.State == v1alpha1.RevisionWarming && (was == nil || was.State != v1alpha1.RevisionWarming) {
			r.Events.Eventf(now, nil, corev1.EventTypeNormal, v1alpha1.ReasonRollingOut, "RollOut",
				"Rolling out revision %s (commit %s) to %s", revision.Name, revision.ClientCommitHash, regionList(revision))
		}
	}
}
