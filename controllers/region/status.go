// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// writeStatus computes the status from the facts, writes it if it differs, and
// records an Event for what a person should know of.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope, verdict trouble.Verdict) error {
	before := s.before.Status.DeepCopy()
	s.computeStatus(verdict)
	decided := !equality.Semantic.DeepEqual(before.Decision, s.region.Status.Decision)
	if err := status.Patch(ctx, r.Client, s.before, s.region, decided); err != nil {
		return err
	}
	r.recordTrouble(s.region, before.Conditions)
	return nil
}

// computeStatus says what was found; it goes by nothing that the status said before.
func (s *scope) computeStatus(verdict trouble.Verdict) {
	st := &s.region.Status
	st.ObservedGeneration = ptr.To(s.region.Generation)
	st.LastHandledReconcileAt = v1alpha1.ReconcileAt(s.region)
	st.Free = ptr.To(s.free())
	st.Claimed = ptr.To(s.total.Claimed)
	st.Pending = ptr.To(s.waiting())
	st.Hosts = s.total.Phases()
	st.ActiveImages = s.activeImages()
	if s.catalog.Ready {
		st.Subnets, st.SecurityGroups, st.ECSClusterARN = s.subnets, s.securityGroups, s.clusterARN
	}
	st.OutdatedHosts = ptr.To(s.outdatedHosts())
	if s.region.DeletionTimestamp.IsZero() {
		st.Schedules, st.Launches = s.schedules, s.records
	}
	st.SurplusSince = nil
	if !s.surplusSince.IsZero() {
		st.SurplusSince = ptr.To(metav1.NewTime(s.surplusSince))
	}
	conditions := status.New(&st.Conditions, s.region.Generation)
	s.setAvailable(conditions)
	s.setEventsReceived(conditions)
	s.setReady(conditions, verdict)
}

func (s *scope) activeImages() []string {
	var images []string
	for _, release := range s.releases {
		if release.active {
			images = append(images, release.row.ImageID)
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}

func (s *scope) setAvailable(conditions status.Writer) {
	switch {
	case !s.region.DeletionTimestamp.IsZero():
		conditions.Set(v1alpha1.ConditionAvailable, false, v1alpha1.ReasonDeleting, "The Region is being deleted.")
	case !s.region.Enabled():
		conditions.Set(v1alpha1.ConditionAvailable, false, v1alpha1.ReasonDisabled, "spec.enabled is false.")
	case len(s.releases) == 0:
		conditions.Set(v1alpha1.ConditionAvailable, false, v1alpha1.ReasonNoChannel, "No AMI names this Region.")
	case s.free() == 0:
		conditions.Set(v1alpha1.ConditionAvailable, false, v1alpha1.ReasonNoRoom, "No slot is free.")
	default:
		conditions.Set(v1alpha1.ConditionAvailable, true, v1alpha1.ReasonHasRoom, "A Mandelbox can be assigned now.")
	}
}

// setEventsReceived says how the event queue stands. It never keeps the Region from
// being Ready: without events, changes are seen by listing.
func (s *scope) setEventsReceived(conditions status.Writer) {
	switch {
	case s.region.Spec.EventQueueURL == "":
		conditions.Remove(v1alpha1.ConditionEventsReceived)
	case s.eventsErr != nil:
		judged := trouble.Judge(s.eventsErr)
		if !judged.Says() {
			judged.Reason, judged.Message = v1alpha1.ReasonCloudError, trouble.Text(s.eventsErr)
		}
		conditions.Set(v1alpha1.ConditionEventsReceived, false, judged.Reason, judged.Message)
	case s.eventsReceived:
		conditions.Set(v1alpha1.ConditionEventsReceived, true, v1alpha1.ReasonEventsReceived, "Changes are seen by the events of spec.eventQueueURL.")
	default:
		conditions.Unknown(v1alpha1.ConditionEventsReceived, v1alpha1.ReasonObserving, "spec.eventQueueURL has not been read yet.")
	}
}

func (s *scope) setReady(conditions status.Writer, verdict trouble.Verdict) {
	if verdict.Says() {
		if verdict.Stalled {
			conditions.Stalled(verdict.Reason, verdict.Message)
		} else {
			conditions.Reconciling(verdict.Reason, verdict.Message)
		}
		return
	}
	switch short, obstacle, stopped := s.shortfall(), s.firstObstacle(), s.stopped(); {
	case !s.region.DeletionTimestamp.IsZero():
		conditions.Reconciling(v1alpha1.ReasonDeleting, "The Region is being deleted.")
	case !s.region.Enabled():
		conditions.Ready(v1alpha1.ReasonDisabled, "spec.enabled is false: no host is launched and no Mandelbox assigned.")
	case s.region.Suspended():
		// Nothing will change by itself, and nothing is wrong: a pipeline has nothing to wait for.
		conditions.Ready(v1alpha1.ReasonSuspended, "spec.suspend is true: no host is launched, told to leave or drained."+s.held(short))
	case len(s.releases) == 0:
		conditions.Ready(v1alpha1.ReasonNoChannel, "The region is prepared; no AMI has a release for it yet.")
	case stopped != "":
		conditions.Stalled(v1alpha1.ReasonHostsNeverActive, stopped)
	case obstacle != "":
		conditions.Reconciling(v1alpha1.ReasonProgressing, obstacle)
	case s.plan.Denied > 0:
		conditions.Ready(v1alpha1.ReasonMaxInstancesReached, fmt.Sprintf(
			"%s more would be needed; spec.capacity.maxInstances is %d.",
			trouble.Count(s.plan.Denied, "host"), ptr.Deref(s.region.Spec.Capacity.MaxInstances, 0)))
	case short != "":
		conditions.Reconciling(v1alpha1.ReasonScalingUp, "Making room: "+short)
	case s.region.Spec.EventQueueURL != "" && s.eventsErr != nil:
		conditions.Ready(v1alpha1.ReasonEventsNotReceived,
			"Every channel has the room it should have, but changes are seen by listing alone: see the condition EventsReceived.")
	default:
		conditions.Ready(v1alpha1.ReasonReady, "Every channel has the room it should have.")
	}
}

// held says what a Region that is suspended would do otherwise; "" if nothing.
func (s *scope) held(short string) string {
	held := ""
	if decision := s.region.Status.Decision; decision != nil && !ptr.Deref(decision.Done, false) {
		held = fmt.Sprintf(" Scaling decision %d waits.", decision.Number)
	}
	if short != "" {
		held += " Room is missing: " + short
	}
	return held
}

// firstObstacle says which active channel can launch no host, and why.
func (s *scope) firstObstacle() string {
	for _, key := range s.keys() {
		release := s.releases[key]
		if obstacle := s.obstacle(release); release.active && obstacle != "" {
			return fmt.Sprintf("No host can be launched for channel %s: %s.", key.AMI, obstacle)
		}
	}
	return ""
}

// shortfall says which active channels have fewer free slots than they should.
func (s *scope) shortfall() string {
	var short []string
	for _, c := range s.activeChannels() {
		if c.Free >= c.DesiredFree && c.Hosts >= c.MinInstances && c.Pending == 0 {
			continue
		}
		waiting := ""
		if c.Pending > 0 {
			waiting = fmt.Sprintf(", and %s for room", verb(c.Pending))
		}
		short = append(short, fmt.Sprintf("channel %s has %d of %d free slots, %s on the way%s",
			c.AMI, c.Free, c.DesiredFree, trouble.Count(c.Hosts-s.counts[census.Release{
				Region: s.region.Name, AMI: c.AMI, Revision: c.Revision}].Open, "host"), waiting))
	}
	if len(short) == 0 {
		return ""
	}
	return trouble.List(short) + "."
}

func verb(waiting int32) string {
	if waiting == 1 {
		return "1 session waits"
	}
	return fmt.Sprintf("%d sessions wait", waiting)
}

// recordTrouble records an Event when the Region comes to be stalled, throttled, at
// its limit or without its events, or is so for another reason than before.
func (r *Reconciler) recordTrouble(region *v1alpha1.Region, before []metav1.Condition) {
	now := troubleIn(region.Status.Conditions)
	was := troubleIn(before)
	if now == nil || was != nil && was.Reason == now.Reason && was.Message == now.Message {
		return
	}
	if was != nil && was.Reason == now.Reason && now.Reason == v1alpha1.ReasonMaxInstancesReached {
		return // Only the number of missing hosts changed.
	}
	r.Events.Eventf(region, nil, corev1.EventTypeWarning, now.Reason, "Reconcile", "%s", now.Message)
}

func troubleIn(conditions []metav1.Condition) *metav1.Condition {
	if stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled); stalled != nil {
		return stalled
	}
	if ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready != nil {
		switch ready.Reason {
		case v1alpha1.ReasonMaxInstancesReached, v1alpha1.ReasonThrottled, v1alpha1.ReasonCloudError:
			return ready
		}
	}
	if events := meta.FindStatusCondition(conditions, v1alpha1.ConditionEventsReceived); events != nil && events.Status == metav1.ConditionFalse {
		return events
	}
	return nil
}
