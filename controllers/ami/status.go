// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"fmt"
	"maps"
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

// maxRegions is how many regions the status has room for, and maxRegionMessage
// how long a message of one may be.
const (
	maxRegions       = 64
	maxRegionMessage = 1024
)

// writeStatus computes the status from the facts, writes it if it differs, and
// records Events for what a person should know of.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope, verdict trouble.Verdict) error {
	before := s.before.DeepCopy()
	s.computeStatus(verdict)
	rolled := before.Status.ActiveRevision != s.ami.Status.ActiveRevision ||
		!equality.Semantic.DeepEqual(before.Status.Revisions, s.ami.Status.Revisions)
	if err := status.Patch(ctx, r.Client, s.before, s.ami, rolled); err != nil {
		return err
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
	st.Regions = s.regionStatuses()
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
			rolledOut: wanted != nil && s.wanted == s.ami.Status.ActiveRevision,
			stalled:   verdict.Stalled, reconciling: !verdict.Stalled,
			reason: verdict.Reason, message: verdict.Message,
		}
	case wanted != nil && wanted.Name == s.ami.Status.ActiveRevision:
		return progress{rolledOut: true, reason: v1alpha1.ReasonRolledOut,
			message: fmt.Sprintf("Revision %s is active in %s.", wanted.Name, regionList(wanted))}
	case s.ami.Suspended():
		return progress{reconciling: s.ami.Status.ActiveRevision == "", reason: v1alpha1.ReasonSuspended,
			message: "spec.suspend holds the rollout where it stands."}
	case wanted != nil && wanted.State == v1alpha1.RevisionFailed:
		return progress{stalled: true, reason: v1alpha1.ReasonBufferTimeout, message: s.failure()}
	}
	return progress{reconciling: true, reason: v1alpha1.ReasonRollingOut, message: s.rollingOut()}
}

func (s *scope) rollingOut() string {
	if len(s.waiting) == 0 {
		return fmt.Sprintf("Revision %s is on its way.", s.wanted)
	}
	return fmt.Sprintf("Revision %s waits: %s.", s.wanted, s.waits())
}

func (s *scope) waits() string {
	var waits []string
	for _, region := range slices.Sorted(maps.Keys(s.waiting)) {
		waits = append(waits, fmt.Sprintf("in %s %s", region, s.waiting[region]))
	}
	return trouble.List(waits)
}

// failure says what a failed revision lacked when its time was up. It is known in
// the reconcile that fails it, and kept from then on: its hosts leave, and what
// can be seen later is not why it failed.
func (s *scope) failure() string {
	if was := s.before.Revision(s.wanted); was != nil && was.State == v1alpha1.RevisionFailed {
		told := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionRolledOut)
		if told != nil && told.Reason == v1alpha1.ReasonBufferTimeout {
			return told.Message
		}
	}
	lacked := ""
	if len(s.waiting) > 0 {
		lacked = ": " + s.waits()
	}
	return fmt.Sprintf("Revision %s was not ready within spec.rollout.bufferTimeout (%s)%s. "+
		"The release before it goes on serving; change or revert the spec to go on.", s.wanted, bufferTimeout(s.ami), lacked)
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
		row := &active.Regions[i]
		if s.needsHost(row.Region) && s.count(row).Open == 0 {
			without = append(without, row.Region)
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
	desired, minInstances := census.Desired(s.ami, region)
	return region.Enabled() && (desired > 0 || minInstances > 0)
}

// regionStatuses say how the channel stands in each region that its spec or its
// active release names, or where it has hosts.
func (s *scope) regionStatuses() []v1alpha1.AMIRegionStatus {
	hosts := map[string]census.Count{}
	for release, count := range s.counts {
		hosts[release.Region] = hosts[release.Region].Plus(count)
	}
	names := map[string]bool{}
	for name := range hosts {
		names[name] = true
	}
	for _, image := range s.ami.Spec.Images {
		names[image.Region] = true
	}
	if active := s.ami.Revision(s.ami.Status.ActiveRevision); active != nil {
		for _, row := range active.Regions {
			names[row.Region] = true
		}
	}
	var statuses []v1alpha1.AMIRegionStatus
	for _, name := range slices.Sorted(maps.Keys(names)) {
		statuses = append(statuses, s.regionStatus(name, hosts[name]))
	}
	return statuses[:min(maxRegions, len(statuses))]
}

func (s *scope) regionStatus(name string, hosts census.Count) v1alpha1.AMIRegionStatus {
	active := s.ami.ActiveRow(name)
	st := v1alpha1.AMIRegionStatus{
		Region:                 name,
		Active:                 ptr.To(active != nil && s.ami.DeletionTimestamp.IsZero()),
		ProtectedFromScaleDown: ptr.To(s.warming(name, active)),
		Hosts:                  hosts.Phases(),
		Free:                   ptr.To(s.count(active).Free),
		Message:                shorten(s.waiting[name]),
	}
	switch image := s.ami.Image(name); {
	case active != nil:
		st.ImageID = active.ImageID
	case image != nil:
		st.ImageID = image.ImageID
	}
	if region := s.regions[name].region; st.Message == "" && region == nil {
		st.Message = fmt.Sprintf("Region %s does not exist", name)
	}
	return st
}

// warming says whether a coming release fills a buffer of its own in a region.
func (s *scope) warming(name string, active *v1alpha1.RevisionRegion) bool {
	for i := range s.ami.Status.Revisions {
		revision := &s.ami.Status.Revisions[i]
		row := revision.Row(name)
		if revision.State == v1alpha1.RevisionWarming && row != nil && (active == nil || row.ID != active.ID) {
			return true
		}
	}
	return false
}

func shorten(message string) string {
	return message[:min(maxRegionMessage, len(message))]
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
