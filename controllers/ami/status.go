// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

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

// maxRegions is how many regions the status has room for, maxRegionMessage how
// long a message of one may be, and maxProgress the line on all.
const (
	maxRegions       = 64
	maxRegionMessage = 1024
	maxProgress      = 4096
)

// writeStatus computes the status from the facts, writes it if it differs, and
// records Events for what a person should know of.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope, verdict trouble.Verdict) error {
	before := s.before.DeepCopy()
	s.computeStatus(verdict)
	rolled := before.Status.ActiveRevision != s.ami.Status.ActiveRevision ||
		!equality.Semantic.DeepEqual(before.Status.Revisions, s.ami.Status.Revisions) ||
		!maps.Equal(before.Swapped(), s.ami.Swapped())
	if err := status.Patch(ctx, r.Client, s.before, s.ami, rolled); err != nil {
		return err
	}
	if rolled && r.Released != nil {
		r.Released(s.ami.DeepCopy())
	}
	r.recordRollout(before, s.ami)
	r.recordTrouble(s.ami, before.Status.Conditions)
	return nil
}

// computeStatus says how the channel stands; the revisions were settled by the
// steps before.
func (s *scope) computeStatus(verdict trouble.Verdict) {
	st := &s.ami.Status
	st.ObservedGeneration = ptr.To(s.ami.Generation)
	st.LastHandledReconcileAt = v1alpha1.ReconcileAt(s.ami)
	st.Regions = s.regionStatuses()
	st.Progress = s.progressLine()
	conditions := status.New(&st.Conditions, s.ami.Generation)
	if !s.ami.DeletionTimestamp.IsZero() {
		s.setDeleting(conditions, verdict)
		return
	}
	s.setProgress(conditions, s.progress(verdict))
}

func (s *scope) setDeleting(conditions status.Writer, verdict trouble.Verdict) {
	reason, message := v1alpha1.ReasonDeleting, "The AMI is being deleted."
	if verdict.Says() {
		reason, message = verdict.Reason, verdict.Message
	}
	conditions.Set(v1alpha1.ConditionRolledOut, false, reason, message)
	conditions.Reconciling(reason, message)
}

// progress is how far the wanted release has come.
type progress struct {
	rolledOut bool
	// stalled and reconciling are as kstatus has them; a suspended rollout is neither.
	stalled, reconciling bool
	reason, message      string
}

func (s *scope) progress(verdict trouble.Verdict) progress {
	wanted := s.ami.Revision(s.wanted)
	switch {
	case verdict.Says():
		return progress{
			rolledOut: s.rolledOut(wanted),
			stalled:   verdict.Stalled, reconciling: !verdict.Stalled,
			reason: verdict.Reason, message: verdict.Message,
		}
	case s.rolledOut(wanted):
		return s.done(wanted)
	case s.ami.Suspended():
		return progress{reconciling: s.ami.Status.ActiveRevision == "", reason: v1alpha1.ReasonSuspended,
			message: "spec.suspend holds the rollout where it stands."}
	case wanted != nil && wanted.State == v1alpha1.RevisionFailed:
		reason, message := s.failure()
		return progress{stalled: true, reason: reason, message: message}
	}
	return progress{reconciling: true, reason: v1alpha1.ReasonRollingOut, message: s.rollingOut()}
}

// rolledOut says whether the wanted release is the active one in all regions.
func (s *scope) rolledOut(wanted *v1alpha1.Revision) bool {
	return wanted != nil && wanted.Name == s.ami.Status.ActiveRevision && wanted.State == v1alpha1.RevisionActive && !s.behind
}

// done is the progress of a release that is active in all regions, in some of
// which it may be launched no more.
func (s *scope) done(wanted *v1alpha1.Revision) progress {
	var stopped []string
	for i := range wanted.Regions {
		if why := s.neverActive(&wanted.Regions[i]); why != "" {
			stopped = append(stopped, fmt.Sprintf("in %s, since %s", wanted.Regions[i].Region, why))
		}
	}
	if len(stopped) > 0 {
		return progress{rolledOut: true, stalled: true, reason: v1alpha1.ReasonHostsNeverActive, message: fmt.Sprintf(
			"Revision %s is active, but launched no more %s. Roll out a sound image, or mend the Region's launch parameters.",
			wanted.Name, trouble.List(stopped))}
	}
	return progress{rolledOut: true, reason: v1alpha1.ReasonRolledOut,
		message: fmt.Sprintf("Revision %s is active in %s.%s", wanted.Name, regionList(wanted), s.drainingUntil())}
}

// drainingUntil says when sessions of replaced releases will be ended, if any will.
func (s *scope) drainingUntil() string {
	var sessions int
	var first time.Time
	for i := range s.hosts {
		host := &s.hosts[i]
		deadline, err := time.Parse(time.RFC3339, host.Annotations[v1alpha1.AnnotationForceDrainAfter])
		if err != nil || !host.Leaving() || len(host.Status.Claims) == 0 {
			continue
		}
		sessions += len(host.Status.Claims)
		if first.IsZero() || deadline.Before(first) {
			first = deadline
		}
	}
	if sessions == 0 {
		return ""
	}
	return fmt.Sprintf(" Of the releases before it, %s will be ended from %s on (spec.rollout.drainTimeout).",
		trouble.Count(sessions, "session"), first.UTC().Format(time.RFC3339))
}

func (s *scope) rollingOut() string {
	behind := ""
	if s.behind {
		behind = " The spec's release waits until this one is done: three are in service already."
	}
	if len(s.waiting) == 0 {
		return fmt.Sprintf("Revision %s is on its way.%s", s.wanted, behind)
	}
	return fmt.Sprintf("Revision %s waits: %s.%s", s.wanted, s.waits(), behind)
}

func (s *scope) waits() string {
	var waits []string
	for _, region := range slices.Sorted(maps.Keys(s.waiting)) {
		waits = append(waits, fmt.Sprintf("in %s %s", region, s.waiting[region]))
	}
	return trouble.List(waits)
}

// failure says why a revision failed and what it lacked. It is known in the
// reconcile that fails it, and kept from then on: its hosts leave, and what can be
// seen later is not why it failed.
func (s *scope) failure() (reason, message string) {
	if was := s.before.Revision(s.wanted); was != nil && was.State == v1alpha1.RevisionFailed {
		told := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionRolledOut)
		if told != nil && (told.Reason == v1alpha1.ReasonBufferTimeout || told.Reason == v1alpha1.ReasonRolloutFailed) {
			return told.Reason, told.Message
		}
	}
	lacked := ""
	if len(s.waiting) > 0 {
		lacked = ": " + s.waits()
	}
	next := "What served before goes on serving; change or revert the spec to go on."
	if s.failedFor == v1alpha1.ReasonRolloutFailed {
		return s.failedFor, fmt.Sprintf("Revision %s can't be launched%s. %s", s.wanted, lacked, next)
	}
	return v1alpha1.ReasonBufferTimeout, fmt.Sprintf("Revision %s was not ready within spec.rollout.bufferTimeout (%s)%s. %s",
		s.wanted, bufferTimeout(s.ami), lacked, next)
}

// setProgress sets RolledOut by the wanted release and Ready by the active one,
// which serves on while another is on its way, or fails to be.
func (s *scope) setProgress(conditions status.Writer, p progress) {
	conditions.Set(v1alpha1.ConditionRolledOut, p.rolledOut, p.reason, p.message)
	serving, lacks := s.serving()
	switch {
	case p.stalled:
		conditions.Stalled(p.reason, p.message)
	case p.reconciling:
		conditions.Reconciling(p.reason, p.message)
	case lacks != "":
		conditions.Reconciling(v1alpha1.ReasonProgressing, lacks)
	case p.reason == v1alpha1.ReasonSuspended:
		conditions.Ready(v1alpha1.ReasonSuspended, serving+" "+p.message)
	default:
		conditions.Ready(v1alpha1.ReasonReady, serving)
	}
	if lacks == "" && (p.stalled || p.reconciling) {
		conditions.Set(v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, serving)
	}
}

// serving says what the active release does: where it serves, or where it lacks
// the hosts to. A region that is switched off, or keeps no room, needs none.
func (s *scope) serving() (serving, lacks string) {
	active := s.ami.Revision(s.ami.Status.ActiveRevision)
	if active == nil {
		return "", "No release is active yet."
	}
	var without []string
	for i := range active.Regions {
		region := active.Regions[i].Region
		if s.needsHost(region) && s.count(s.ami.ActiveRow(region)).Open == 0 {
			without = append(without, region)
		}
	}
	if len(without) > 0 {
		return "", fmt.Sprintf("No host of the active release takes sessions in %s yet.", trouble.List(without))
	}
	return fmt.Sprintf("Revision %s serves in %s.", active.Name, regionList(active)), ""
}

func (s *scope) needsHost(name string) bool {
	region := s.regions[name].region
	if region == nil {
		return true
	}
	desired, minInstances := census.Desired(s.ami, region, s.now)
	return region.Enabled() && (desired > 0 || minInstances > 0)
}

// wasSuspended says whether the status told of a suspended rollout.
func wasSuspended(ami *v1alpha1.AMI) bool {
	told := meta.FindStatusCondition(ami.Status.Conditions, v1alpha1.ConditionRolledOut)
	return told != nil && told.Reason == v1alpha1.ReasonSuspended
}

func regionList(revision *v1alpha1.Revision) string {
	var names []string
	for _, row := range revision.Regions {
		names = append(names, row.Region)
	}
	return trouble.List(names)
}

// recordTrouble records an Event when the AMI comes to be stalled or throttled, or
// is so for another reason than before.
func (r *Reconciler) recordTrouble(ami *v1alpha1.AMI, before []metav1.Condition) {
	now, was := troubleIn(ami.Status.Conditions), troubleIn(before)
	if now == nil || was != nil && was.Reason == now.Reason && was.Message == now.Message {
		return
	}
	r.Events.Eventf(ami, nil, corev1.EventTypeWarning, now.Reason, "RollOut", "%s", now.Message)
}

func troubleIn(conditions []metav1.Condition) *metav1.Condition {
	if stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled); stalled != nil {
		return stalled
	}
	rolledOut := meta.FindStatusCondition(conditions, v1alpha1.ConditionRolledOut)
	if rolledOut != nil && (rolledOut.Reason == v1alpha1.ReasonThrottled || rolledOut.Reason == v1alpha1.ReasonCloudError) {
		return rolledOut
	}
	return nil
}
