// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

const (
	taskHealthy = "HEALTHY"
	// starting is the message while the task was asked for, or is about to be.
	starting = "the task is being started"
)

// setStatus computes the status from the facts of the scope.
func setStatus(s *scope, err error) {
	m := s.mandelbox
	switch {
	case !m.DeletionTimestamp.IsZero():
		setDying(s)
	case m.Finished():
	case s.outcome != nil:
		setFinished(m, *s.outcome, s.now)
	case s.anew != nil:
		setPlacedAnew(m, *s.anew)
	case s.waiting != "":
		setWaiting(m, s.waiting, s.waitingMessage)
	case !m.Committed():
		return // Offered and not decided: nothing to say yet.
	default:
		setCommitted(s, err)
	}
	setTrouble(s, err)
	m.Status.ObservedGeneration = ptr.To(m.Generation)
}

func conditions(m *v1alpha1.Mandelbox) status.Writer {
	return status.New(&m.Status.Conditions, m.Generation)
}

// setWaiting is the status of a session without a slot.
func setWaiting(m *v1alpha1.Mandelbox, reason, message string) {
	m.Status.Phase = v1alpha1.MandelboxPending
	c := conditions(m)
	c.Set(v1alpha1.ConditionAssigned, false, reason, message)
	c.Set(v1alpha1.ConditionFinished, false, reason, message)
	c.Reconciling(reason, message)
}

// setAssigned is the status of a session that is given a slot: the commit.
func setAssigned(m *v1alpha1.Mandelbox, i *v1alpha1.Instance, claim v1alpha1.Claim, now metav1.Time) {
	st := &m.Status
	st.Phase = v1alpha1.MandelboxAllocated
	st.InstanceName, st.Slot, st.Attempt = i.Name, ptr.To(claim.Slot), claim.Attempt
	st.Region, st.IP = i.Spec.RegionName, i.IP()
	st.AssignedTime = &now
	st.RunningTime, st.Ports, st.TaskARN = nil, nil, ""
	st.ObservedGeneration = ptr.To(m.Generation)
	c := conditions(m)
	c.Set(v1alpha1.ConditionAssigned, true, v1alpha1.ReasonAssigned, fmt.Sprintf("slot %d of Instance %s", claim.Slot, i.Name))
	c.Set(v1alpha1.ConditionFinished, false, v1alpha1.ReasonStarting, starting)
	c.Reconciling(v1alpha1.ReasonStarting, starting)
}

// setPlacedAnew is the status of a session whose attempt failed and that waits
// for another slot. The attempt stays, so that the old claim is outdated.
func setPlacedAnew(m *v1alpha1.Mandelbox, why outcome) {
	st := &m.Status
	st.InstanceName, st.Slot, st.Region, st.IP = "", nil, "", ""
	st.Ports, st.TaskARN, st.AssignedTime, st.RunningTime = nil, "", nil, nil
	setWaiting(m, why.reason, fmt.Sprintf("attempt %d of %d failed, placing anew: %s", st.Attempt, maxAttempts, why.message))
}

// setCommitted is the status of a session that holds a slot; err is what keeps it
// from going on, if anything does.
func setCommitted(s *scope, err error) {
	m := s.mandelbox
	c := conditions(m)
	if s.task != nil {
		m.Status.TaskARN = taskARN(m, s)
	}
	switch {
	case s.task != nil && s.task.DesiredStatus == cloud.TaskStopped:
		m.Status.Phase = v1alpha1.MandelboxDying
		const stopping = "the task was told to stop"
		c.Set(v1alpha1.ConditionFinished, false, v1alpha1.ReasonStopping, stopping)
		c.Reconciling(v1alpha1.ReasonStopping, stopping)
	case running(s):
		m.Status.Phase = v1alpha1.MandelboxRunning
		if m.Status.RunningTime == nil {
			m.Status.RunningTime = ptr.To(metav1.NewTime(startOf(s)))
		}
		m.Status.Ports = portsOf(s)
		if s.instance != nil && s.instance.IP() != "" {
			m.Status.IP = s.instance.IP()
		}
		const runs = "the session is running"
		c.Set(v1alpha1.ConditionFinished, false, v1alpha1.ReasonRunning, runs)
		c.Ready(v1alpha1.ReasonRunning, runs)
	case s.task == nil && m.Status.RunningTime != nil:
		// Right after a start of the manager its task wasn't listed yet: nothing new is
		// known of it, and it would be written twice.
	case err == nil:
		c.Reconciling(v1alpha1.ReasonStarting, starting)
	}
}

// taskARN is written only with the change to Running or Dying: before, it would
// be a write of its own, and the task is found by what it was started for.
func taskARN(m *v1alpha1.Mandelbox, s *scope) string {
	if running(s) || s.task.DesiredStatus == cloud.TaskStopped {
		return s.task.ARN
	}
	return m.Status.TaskARN
}

// setFinished is the status of a session that is over.
func setFinished(m *v1alpha1.Mandelbox, o outcome, now time.Time) {
	m.Status.Phase = v1alpha1.MandelboxFinished
	m.Status.FinishedTime = ptr.To(metav1.NewTime(now))
	m.Status.ExitCode = o.exitCode
	c := conditions(m)
	c.Set(v1alpha1.ConditionFinished, true, o.reason, o.message)
	if meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionAssigned) == nil || !m.Committed() {
		c.Set(v1alpha1.ConditionAssigned, false, o.reason, o.message)
	}
	if endedWell(o.reason) {
		c.Done()
		return
	}
	c.Stalled(o.reason, o.message)
}

// endedWell says whether a session that ended so did what it was meant to.
func endedWell(reason string) bool {
	switch reason {
	case v1alpha1.ReasonCompleted, v1alpha1.ReasonMaxDurationReached, v1alpha1.ReasonStopped:
		return true
	}
	return false
}

// setDying is the status of a session that is being deleted while its task stops.
func setDying(s *scope) {
	m := s.mandelbox
	if s.task == nil {
		return
	}
	m.Status.Phase = v1alpha1.MandelboxDying
	const deleting = "deleted; the task was told to stop"
	c := conditions(m)
	c.Set(v1alpha1.ConditionFinished, false, v1alpha1.ReasonStopping, deleting)
	c.Reconciling(v1alpha1.ReasonDeleting, deleting)
}

// setTrouble says what the cloud refused, where the session goes on trying.
func setTrouble(s *scope, err error) {
	if err == nil || s.mandelbox.Finished() || s.anew != nil {
		return
	}
	c := conditions(s.mandelbox)
	switch cloud.KindOf(err) {
	case cloud.KindThrottled:
		c.Reconciling(v1alpha1.ReasonThrottled, "AWS asked for fewer calls; the operator slows down")
	case cloud.KindUnauthorized:
		c.Stalled(v1alpha1.ReasonUnauthorized, err.Error())
	case cloud.KindInvalid:
		c.Stalled(v1alpha1.ReasonInvalidParameter, err.Error())
	}
}

// running says whether the session's task runs, and is healthy where that is asked for.
func running(s *scope) bool {
	if s.task == nil || s.task.LastStatus != cloud.TaskRunning {
		return false
	}
	if s.mandelbox.Status.RunningTime != nil {
		return true
	}
	checked := s.row != nil && ptr.Deref(s.row.HealthCheck, false)
	return !checked || s.task.Health == taskHealthy
}

// startOf is when the session was running first.
func startOf(s *scope) time.Time {
	switch {
	case s.mandelbox.Status.RunningTime != nil:
		return s.mandelbox.Status.RunningTime.Time
	case s.task != nil && !s.task.StartedAt.IsZero():
		return s.task.StartedAt
	}
	return s.now
}

// portsOf names the host ports of the session after the channel's task.
func portsOf(s *scope) []v1alpha1.PortBinding {
	var ports []v1alpha1.PortBinding
	for _, p := range s.task.Ports {
		protocol := v1alpha1.Protocol(strings.ToUpper(p.Protocol))
		name := strings.ToLower(fmt.Sprintf("%s-%d", protocol, p.ContainerPort))
		if s.row != nil {
			for _, named := range s.row.Ports {
				if named.ContainerPort == p.ContainerPort && named.Protocol == protocol {
					name = named.Name
				}
			}
		}
		ports = append(ports, v1alpha1.PortBinding{Name: name, ContainerPort: p.ContainerPort, HostPort: p.HostPort, Protocol: protocol})
	}
	return ports
}

// tell writes an Event for a wait or a failure that is new; there is none on a
// session's happy path.
func (r *Reconciler) tell(s *scope) {
	before := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionFinished)
	after := meta.FindStatusCondition(s.mandelbox.Status.Conditions, v1alpha1.ConditionFinished)
	if after == nil || (before != nil && before.Reason == after.Reason && before.Status == after.Status) {
		return
	}
	switch {
	case after.Status == metav1.ConditionTrue && !endedWell(after.Reason):
		r.Events.Eventf(s.mandelbox, nil, corev1.EventTypeWarning, after.Reason, "Finish", "%s", after.Message)
	case s.waiting != "":
		r.Events.Eventf(s.mandelbox, nil, corev1.EventTypeNormal, after.Reason, "Assign", "%s", after.Message)
	case s.anew != nil:
		r.Events.Eventf(s.mandelbox, nil, corev1.EventTypeWarning, after.Reason, "PlaceAnew", "%s", after.Message)
	}
}
