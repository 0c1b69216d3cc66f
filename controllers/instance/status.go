// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/scaling"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// setStatus computes the status from the facts of the scope.
func setStatus(s *scope, err error) {
	i := s.instance
	c := status.New(&i.Status.Conditions, i.Generation)
	setFacts(s)
	setLaunched(s, c)
	setRegistered(s, c)
	setHealthy(s, c)
	if s.warmReason != "" {
		c.Set(v1alpha1.ConditionWarmed, s.warm, s.warmReason, s.warmMessage)
	}
	i.Status.Phase = phaseOf(s)
	if i.Status.Phase == v1alpha1.InstanceActive && i.Status.ActiveTime == nil {
		i.Status.ActiveTime = ptr.To(metav1.NewTime(s.now))
		claimRebuilt(s)
		// From now on it is written with the claims; before, there are none.
		i.Status.Claimed = ptr.To(int32(len(i.Status.Claims)))
	}
	setDrained(s, c)
	setReady(s, c, err)
	i.Status.ObservedGeneration = ptr.To(i.Generation)
}

// setFacts takes over what EC2 and ECS say. What is no longer to be seen stays.
func setFacts(s *scope) {
	st := &s.instance.Status
	if s.presence == cloud.Present {
		st.InstanceID, st.InstanceType = s.host.InstanceID, s.host.InstanceType
		st.SubnetID, st.AvailabilityZone = s.host.SubnetID, s.host.Zone
		if s.host.PrivateIP != "" {
			st.PrivateIP = s.host.PrivateIP
		}
		if s.host.PublicIP != "" {
			st.PublicIP = s.host.PublicIP
		}
		if !s.host.LaunchTime.IsZero() {
			st.LaunchedTime = ptr.To(metav1.NewTime(s.host.LaunchTime.Truncate(time.Second)))
		}
	}
	if planned, ok := s.planned(); ok && st.ActiveTime == nil {
		st.PlannedCapacity = ptr.To(planned)
	}
	if s.member != nil {
		st.ContainerInstanceARN = s.member.ARN
	}
}

func setLaunched(s *scope, c status.Writer) {
	switch {
	case s.lost():
		c.Set(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonTerminated, "EC2 no longer runs the host")
	case s.present() && s.host.State.Halted():
		c.Set(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonStoppedOutside, s.haltedMessage())
	case s.presence == cloud.Present && s.host.State == cloud.HostRunning:
		c.Set(v1alpha1.ConditionLaunched, true, v1alpha1.ReasonLaunched, fmt.Sprintf("%s runs in %s", s.host.InstanceID, s.host.Zone))
	case s.presence == cloud.Present:
		c.Set(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonLaunching, fmt.Sprintf("%s is %s", s.host.InstanceID, s.host.State))
	case s.refusal != nil:
		c.Set(v1alpha1.ConditionLaunched, false, refusalReason(s.refusal), s.refusal.err.Error())
	case s.adopting:
		c.Set(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonLaunching, "finding out whether a host that belongs to no Instance can be taken over")
	case s.instance.Status.InstanceID == "":
		c.Set(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonLaunching, launchingMessage(s.instance))
	}
}

func launchingMessage(i *v1alpha1.Instance) string {
	if i.Status.Launch == nil {
		return "about to be launched"
	}
	return "asked EC2 for a host of type " + i.Status.InstanceType
}

func refusalReason(r *refusal) string {
	if errors.Is(r.err, errHalfIntended) || errors.Is(r.err, errNotIntended) {
		return v1alpha1.ReasonLaunching
	}
	switch cloud.KindOf(r.err) {
	case cloud.KindThrottled:
		return v1alpha1.ReasonThrottled
	case cloud.KindQuota:
		return v1alpha1.ReasonQuotaExceeded
	case cloud.KindUnauthorized:
		return v1alpha1.ReasonUnauthorized
	case cloud.KindInvalid, cloud.KindNotFound:
		return v1alpha1.ReasonInvalidParameter
	case cloud.KindCapacity:
		return v1alpha1.ReasonInsufficientCapacity
	}
	return v1alpha1.ReasonCloudError
}

// setRegistered settles the capacity once, when the host has registered: what it
// registered divided by what a task needs.
func setRegistered(s *scope, c status.Writer) {
	st := &s.instance.Status
	switch {
	case s.connected():
		c.Set(v1alpha1.ConditionRegistered, true, v1alpha1.ReasonRegistered, "the ECS agent is connected")
	case s.member != nil:
		c.Set(v1alpha1.ConditionRegistered, false, v1alpha1.ReasonAgentDisconnected, "the ECS agent is not connected")
	case st.ContainerInstanceARN == "":
		c.Set(v1alpha1.ConditionRegistered, false, v1alpha1.ReasonRegistering, "the ECS agent has not registered yet")
	case s.cloud != nil && s.cloud.Observer().Synced():
		c.Set(v1alpha1.ConditionRegistered, false, v1alpha1.ReasonAgentDisconnected, "the host is no longer registered in ECS")
	}
	if st.Capacity != nil || s.member == nil {
		return
	}
	if s.row == nil || st.PlannedCapacity == nil {
		s.after(time.Second) // What the channel wants, or what the type is, may be known by then.
		return
	}
	planned := *st.PlannedCapacity
	capacity := scaling.SlotsRegistered(
		scaling.Resources{CPU: s.member.Registered.CPU, MemoryMiB: s.member.Registered.MemoryMiB, GPUs: s.member.Registered.GPUs},
		scaling.Resources{
			CPU: ptr.Deref(s.row.Resources.CPU, 0), MemoryMiB: ptr.Deref(s.row.Resources.MemoryMiB, 0), GPUs: ptr.Deref(s.row.Resources.GPUs, 0),
		}, planned)
	st.Capacity = ptr.To(capacity)
	if capacity < planned {
		c.Set(v1alpha1.ConditionCapacityAsPlanned, false, v1alpha1.ReasonLessThanPlanned, fmt.Sprintf(
			"room for %d Mandelboxes registered where %s promises %d: task.cpu or task.memoryMiB of the channel is too large for it",
			capacity, st.InstanceType, planned))
		return
	}
	c.Set(v1alpha1.ConditionCapacityAsPlanned, true, v1alpha1.ReasonAsPlanned, fmt.Sprintf("room for %d Mandelboxes", capacity))
}

// phaseOf says where the host is in its life.
func phaseOf(s *scope) v1alpha1.InstancePhase {
	i := s.instance
	switch {
	case s.terminating || s.lost():
		return v1alpha1.InstanceTerminating
	case i.Leaving():
		return v1alpha1.InstanceDraining
	case silent(s):
		return v1alpha1.InstanceUnresponsive
	case i.Status.ActiveTime != nil:
		return activeOr(s)
	case s.connected() && s.warm && i.Status.Capacity != nil && i.Status.InstanceID != "":
		return v1alpha1.InstanceActive
	}
	return v1alpha1.InstancePreConnection
}

// activeOr is the phase of a host that was Active before: a host that is back
// after it was unresponsive, or was not to leave after all, is so again once its
// agent is connected.
func activeOr(s *scope) v1alpha1.InstancePhase {
	phase := s.instance.Status.Phase
	if s.connected() || phase == v1alpha1.InstanceActive {
		return v1alpha1.InstanceActive
	}
	if phase == v1alpha1.InstanceDraining || phase == "" {
		return v1alpha1.InstanceUnresponsive
	}
	return phase
}

// silent says whether the agent of a host that had registered has been
// disconnected, or taken out of ECS, for longer than it may, by the time of the
// condition that says so.
func silent(s *scope) bool {
	registered := meta.FindStatusCondition(s.instance.Status.Conditions, v1alpha1.ConditionRegistered)
	if s.connected() || registered == nil || registered.Reason != v1alpha1.ReasonAgentDisconnected {
		return false
	}
	limit := defaultDisconnected
	if s.region != nil && s.region.Spec.HostTimeouts.AgentDisconnected != nil {
		limit = s.region.Spec.HostTimeouts.AgentDisconnected.Duration
	}
	left := registered.LastTransitionTime.Add(limit).Sub(s.now)
	if left > 0 {
		s.after(left)
	}
	return left <= 0
}

func setDrained(s *scope, c status.Writer) {
	i := s.instance
	switch {
	case !i.Leaving():
		c.Remove(v1alpha1.ConditionDrained)
	case len(i.Status.Claims) == 0:
		c.Set(v1alpha1.ConditionDrained, true, v1alpha1.ReasonDrained, "no session is left")
	default:
		c.Set(v1alpha1.ConditionDrained, false, v1alpha1.ReasonDraining, sessionsLeft(i))
	}
}

func sessionsLeft(i *v1alpha1.Instance) string {
	names := make([]string, 0, len(i.Status.Claims))
	for _, claim := range i.Status.Claims {
		names = append(names, claim.Namespace+"/"+claim.Name)
	}
	message := fmt.Sprintf("waiting for %d sessions to end: %s", len(names), strings.Join(names, ", "))
	if at, forced := forcedAt(i); forced {
		message += "; those that are left are ended at " + at.UTC().Format(time.RFC3339)
	}
	return message
}

// setReady sums up.
func setReady(s *scope, c status.Writer, err error) {
	i := s.instance
	switch i.Status.Phase {
	case v1alpha1.InstanceActive:
		c.Ready(v1alpha1.ReasonReady, "takes sessions")
	case v1alpha1.InstanceTerminating:
		c.Reconciling(v1alpha1.ReasonTerminating, "the host is being terminated")
	case v1alpha1.InstanceDraining:
		message := "no session is left"
		if len(i.Status.Claims) > 0 {
			message = sessionsLeft(i)
		}
		c.Reconciling(v1alpha1.ReasonDraining, message)
	case v1alpha1.InstanceUnresponsive:
		c.Stalled(v1alpha1.ReasonAgentDisconnected, "the ECS agent is not connected; sessions may still run, new ones go elsewhere")
	default:
		setNotReady(s, c)
	}
	switch cloud.KindOf(err) {
	case cloud.KindThrottled:
		c.Reconciling(v1alpha1.ReasonThrottled, "AWS asked for fewer calls; the operator slows down")
	case cloud.KindUnauthorized:
		c.Stalled(v1alpha1.ReasonUnauthorized, err.Error())
	case cloud.KindInvalid:
		c.Stalled(v1alpha1.ReasonInvalidParameter, err.Error())
	}
	if err != nil && settled(err) == nil {
		s.after(slowRetry / 6)
	}
}

// setNotReady says what a host on its way up is waiting for.
func setNotReady(s *scope, c status.Writer) {
	switch {
	case s.region == nil:
		c.Reconciling(v1alpha1.ReasonRegionNotFound, fmt.Sprintf("there is no Region %s", s.instance.Spec.RegionName))
	case s.refusal != nil && needsPerson(s.refusal):
		c.Stalled(refusalReason(s.refusal), s.refusal.err.Error())
	case s.refusal != nil:
		c.Reconciling(refusalReason(s.refusal), s.refusal.err.Error())
	case s.warmReason == v1alpha1.ReasonRevisionNotFound, s.warmReason == v1alpha1.ReasonWarmupFailed:
		c.Stalled(s.warmReason, s.warmMessage)
	case !s.present():
		c.Reconciling(v1alpha1.ReasonLaunching, launchingMessage(s.instance))
	case s.member == nil:
		c.Reconciling(v1alpha1.ReasonRegistering, "waiting for the ECS agent to register")
	case !s.warm:
		c.Reconciling(s.warmReason, s.warmMessage)
	default:
		c.Reconciling(v1alpha1.ReasonProgressing, "waiting for what EC2 says of the instance type")
	}
}

func needsPerson(r *refusal) bool {
	switch cloud.KindOf(r.err) {
	case cloud.KindUnauthorized, cloud.KindInvalid, cloud.KindNotFound, cloud.KindQuota:
		return true
	}
	return false
}

// tell writes an Event for each step in a host's life.
func (r *Reconciler) tell(s *scope) {
	before, after := s.before.Status, s.instance.Status
	if s.refusal != nil && reasonOf(before, v1alpha1.ConditionLaunched) != refusalReason(s.refusal) {
		r.Events.Eventf(s.instance, nil, corev1.EventTypeWarning, refusalReason(s.refusal), "Launch", "%s", s.refusal.err.Error())
	}
	if before.Phase == after.Phase {
		return
	}
	eventType, note := corev1.EventTypeNormal, "the host is "+string(after.Phase)
	if after.Phase == v1alpha1.InstanceUnresponsive {
		eventType = corev1.EventTypeWarning
	}
	r.Events.Eventf(s.instance, nil, eventType, string(after.Phase), "ChangePhase", "%s", note)
}

func reasonOf(st v1alpha1.InstanceStatus, conditionType string) string {
	for _, c := range st.Conditions {
		if c.Type == conditionType {
			return c.Reason
		}
	}
	return ""
}
