// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Outcomes of a rollout.
const (
	succeeded  = "Succeeded"
	failed     = "Failed"
	superseded = "Superseded"
)

// deleted is the reason of sessions that were deleted before they finished.
const deleted = "Deleted"

// Changes turn two versions of an object into durations and counts. Times are
// taken from the clock where both ends were seen, since the API's own have whole
// seconds only; what happened before this manager led is read from the object.
//
// Sessions, hosts and channels may each be told of by a goroutine of their own.
type Changes struct {
	counts *Counts
	clock  clock.PassiveClock
	// since is when each session that is not running yet came into the state that
	// it is in: waiting, or holding a slot.
	since map[types.UID]time.Time
}

// NewChanges returns Changes that nothing has been told.
func NewChanges(counts *Counts, clk clock.PassiveClock) *Changes {
	return &Changes{counts: counts, clock: clk, since: map[types.UID]time.Time{}}
}

// SessionAdded takes in a session that was not known. It is old if it existed
// before anybody looked.
func (c *Changes) SessionAdded(m *v1alpha1.Mandelbox, old bool) {
	switch {
	case m.Finished() || m.Status.RunningTime != nil:
	case m.Committed() && m.Status.AssignedTime != nil:
		c.since[m.UID] = m.Status.AssignedTime.Time
	case !old && m.Status.Attempt == 0:
		c.since[m.UID] = c.clock.Now()
	default:
		c.since[m.UID] = waitingSince(m)
	}
}

// SessionChanged takes in a new version of a session.
func (c *Changes) SessionChanged(before, after *v1alpha1.Mandelbox) {
	if before.UID != after.UID {
		c.SessionDeleted(before)
		c.SessionAdded(after, false)
		return
	}
	switch {
	case after.Committed() && !before.Committed():
		c.next(after.UID, c.counts.assignment.WithLabelValues(after.Status.Region))
	case before.Committed() && !after.Committed() && !after.Finished():
		c.counts.placedAnew.WithLabelValues(before.Status.Region, reason(after.Status.Conditions, v1alpha1.ConditionFinished)).Inc()
		c.since[after.UID] = c.clock.Now()
	case after.Status.Attempt > before.Status.Attempt && !after.Committed():
		c.counts.outdated.WithLabelValues().Inc()
	}
	if before.Status.RunningTime == nil && after.Status.RunningTime != nil {
		c.next(after.UID, c.counts.start.WithLabelValues(after.Status.Region))
		delete(c.since, after.UID)
	}
	if !before.Finished() && after.Finished() {
		delete(c.since, after.UID)
		c.finished(after, reason(after.Status.Conditions, v1alpha1.ConditionFinished))
	}
}

// SessionDeleted takes in that a session is gone.
func (c *Changes) SessionDeleted(m *v1alpha1.Mandelbox) {
	delete(c.since, m.UID)
	if !m.Finished() {
		c.finished(m, deleted)
	}
}

func (c *Changes) finished(m *v1alpha1.Mandelbox, reason string) {
	region := m.Status.Region
	if region == "" {
		region = noRegion
	}
	c.counts.finished.WithLabelValues(region, reason).Inc()
}

// next observes how long the session was in its state, and begins another.
func (c *Changes) next(uid types.UID, duration interface{ Observe(float64) }) {
	now := c.clock.Now()
	if since, known := c.since[uid]; known {
		duration.Observe(max(0, now.Sub(since).Seconds()))
	}
	c.since[uid] = now
}

// HostChanged takes in a new version of a host.
func (c *Changes) HostChanged(before, after *v1alpha1.Instance) {
	if before.UID != after.UID {
		c.HostDeleted(before)
		return
	}
	region := after.Spec.RegionName
	if before.Status.LaunchedTime == nil && after.Status.LaunchedTime != nil {
		c.counts.launch.WithLabelValues(region).Observe(between(after.CreationTimestamp, after.Status.LaunchedTime))
	}
	if before.Status.ActiveTime == nil && after.Status.ActiveTime != nil && after.Status.LaunchedTime != nil {
		c.counts.boot.WithLabelValues(region).Observe(between(*after.Status.LaunchedTime, after.Status.ActiveTime))
	}
	for _, claim := range before.Status.Claims {
		if !slices.Contains(after.Status.Claims, claim) {
			c.counts.released.WithLabelValues(region).Inc()
		}
	}
}

// HostDeleted takes in that a host is gone.
func (c *Changes) HostDeleted(i *v1alpha1.Instance) {
	c.counts.removed.WithLabelValues(i.Spec.RegionName, i.Spec.AMIName).Inc()
}

// RegionDeleted takes in that a Region is gone, and with it whoever counts orphans there.
func (c *Changes) RegionDeleted(r *v1alpha1.Region) {
	c.counts.orphans.DeletePartialMatch(prometheus.Labels{"region": r.Name})
}

// ChannelChanged takes in a new version of a channel: each revision that was
// warming and isn't any more ends a rollout.
func (c *Changes) ChannelChanged(before, after *v1alpha1.AMI) {
	if before.UID != after.UID || before.Status.ActiveRevision == "" {
		return
	}
	for i := range before.Status.Revisions {
		was := &before.Status.Revisions[i]
		if was.State != v1alpha1.RevisionWarming {
			continue
		}
		outcome, ended := superseded, metav1.NewTime(c.clock.Now())
		if now := after.Revision(was.Name); now != nil {
			switch now.State {
			case v1alpha1.RevisionWarming:
				continue
			case v1alpha1.RevisionActive:
				outcome = succeeded
			case v1alpha1.RevisionFailed:
				outcome = failed
			}
			ended = now.Time
		}
		c.counts.rollouts.WithLabelValues(after.Name, outcome).Inc()
		c.counts.rollout.WithLabelValues(outcome).Observe(between(was.Time, &ended))
	}
}

// between is the time from one moment to another in seconds, never negative:
// clocks of several machines are compared.
func between(from metav1.Time, to *metav1.Time) float64 {
	return max(0, to.Sub(from.Time).Seconds())
}

// waitingSince is when a session without a slot was created, or gave its last one back.
func waitingSince(m *v1alpha1.Mandelbox) time.Time {
	assigned := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionAssigned)
	if m.Status.Attempt == 0 || assigned == nil {
		return m.CreationTimestamp.Time
	}
	return assigned.LastTransitionTime.Time
}

// reason is the reason of a condition, "Unknown" where there is none.
func reason(conditions []metav1.Condition, conditionType string) string {
	if c := meta.FindStatusCondition(conditions, conditionType); c != nil {
		return c.Reason
	}
	return "Unknown"
}
