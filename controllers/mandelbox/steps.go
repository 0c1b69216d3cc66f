// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// maxAttempts is how often a session is given a slot before a start that
	// fails ends it.
	maxAttempts = 3
	// lookAgain is how long to wait for what should come by an event.
	lookAgain = 10 * time.Second
	// slowRetry is how long to wait before asking again for what a person must mend.
	slowRetry = time.Minute
	// oldIntent is the age from which a start that shows no task is no longer
	// repeated under its token: ECS forgets tokens within a day, and stopped tasks
	// within an hour.
	// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html.
	oldIntent = 45 * time.Minute
)

// wait offers a session without a slot to the Assigner, and takes in what that said.
func (r *Reconciler) wait(s *scope) error {
	m := s.mandelbox
	if m.Spec.AssignmentTimeout != nil {
		left := waitingSince(m).Add(m.Spec.AssignmentTimeout.Duration).Sub(s.now)
		if left <= 0 {
			return r.giveUp(s)
		}
		s.after(left)
	}
	r.Assigner.Offer(s.before)
	verdict, decided := r.Assigner.Verdict(m.UID)
	if !decided {
		return nil
	}
	s.waiting, s.waitingMessage = verdict.Reason, verdict.Message
	if verdict.Terminal {
		r.Assigner.Withdraw(keyOf(m))
		s.outcome = &outcome{reason: verdict.Reason, message: verdict.Message}
	}
	return nil
}

// waitingSince is when the session was created, or gave its last slot back.
func waitingSince(m *v1alpha1.Mandelbox) time.Time {
	assigned := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionAssigned)
	if m.Status.Attempt == 0 || assigned == nil {
		return m.CreationTimestamp.Time
	}
	return assigned.LastTransitionTime.Time
}

// giveUp ends a session that has waited too long, with the reason it waited for.
func (r *Reconciler) giveUp(s *scope) error {
	reason := v1alpha1.ReasonNoInstanceAvailable
	waited := "no slot was free"
	if verdict, ok := r.Assigner.Verdict(s.mandelbox.UID); ok {
		reason, waited = verdict.Reason, verdict.Message
	}
	r.Assigner.Withdraw(keyOf(s.mandelbox))
	s.outcome = &outcome{
		reason:  reason,
		message: fmt.Sprintf("not assigned within %s: %s", s.mandelbox.Spec.AssignmentTimeout.Duration, waited),
	}
	return nil
}

// findHost finds the Instance that the session was given a slot of, and what the
// cloud says of it. A session whose host is gone is lost.
func (r *Reconciler) findHost(ctx context.Context, s *scope) error {
	m := s.mandelbox
	if region, ok := r.Regions.Get(m.Status.Region); ok {
		s.region = region
	}
	i := &v1alpha1.Instance{}
	key := types.NamespacedName{Name: m.Status.InstanceName}
	err := r.Get(ctx, key, i, client.UnsafeDisableDeepCopy) // It is only read.
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, key, i)
	}
	if apierrors.IsNotFound(err) {
		outlives, err := r.outlivesInstance(ctx, s)
		if err == nil && !outlives {
			s.loseHost("no longer exists")
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("reading Instance %s: %w", key.Name, err)
	}
	s.instance = i
	if err := r.findRow(ctx, s); err != nil {
		return err
	}
	s.judgeHost()
	return nil
}

// judgeHost loses the session's host if the cloud says that it is gone, or stopped.
func (s *scope) judgeHost() {
	i := s.instance
	if s.region == nil || i.Status.Launch == nil {
		return
	}
	// Asked first, so that it never is of a later listing than what is said of the host.
	listed := s.region.Observer().HostsListedAt()
	host, presence := s.region.Observer().Host(i.Status.Launch.Token, i.Status.Launch.Index)
	switch {
	case presence == cloud.Present && host.State.Gone():
		s.loseHost("was terminated: " + host.StateReason)
	case presence == cloud.Present && host.State.Halted():
		s.loseHost("was stopped: " + host.StateReason)
	case presence == cloud.Gone && i.Status.InstanceID != "" && !listed.Before(i.Status.Launch.Time.Add(lostGrace)):
		// A listing that began sooner may be from before the launch.
		s.loseHost("is no longer known to EC2")
	}
}

// outlivesInstance says whether a session whose Instance was taken away by force ends
// as its task does, since that is there: the host is left to it, as an orphan.
func (r *Reconciler) outlivesInstance(ctx context.Context, s *scope) (bool, error) {
	m := s.mandelbox
	if m.Status.RunningTime == nil {
		return false, nil
	}
	if s.region == nil {
		// Nothing is lost while the Region is only yet to be opened.
		err := r.Get(ctx, types.NamespacedName{Name: m.Status.Region}, &v1alpha1.Region{})
		return err == nil, client.IgnoreNotFound(err)
	}
	observer := s.region.Observer()
	if !observer.TasksSynced() {
		return true, nil // Neither is it while it isn't known what runs.
	}
	return len(observer.TasksStartedBy(cloud.StartedBy(string(m.UID), m.Status.Attempt))) > 0, nil
}

// findRow finds what the host's revision of the channel runs.
func (r *Reconciler) findRow(ctx context.Context, s *scope) error {
	var ami v1alpha1.AMI
	if err := r.Get(ctx, types.NamespacedName{Name: s.instance.Spec.AMIName}, &ami, client.UnsafeDisableDeepCopy); err != nil {
		return client.IgnoreNotFound(err)
	}
	s.row = ami.RowByID(s.instance.Spec.RegionName, s.instance.Spec.Revision)
	return nil
}

// loseHost ends a session whose host is lost; one that wasn't running yet has lost
// nothing by it and is placed anew.
func (s *scope) loseHost(how string) {
	s.fail(outcome{reason: v1alpha1.ReasonHostLost, message: fmt.Sprintf("Instance %s %s", s.mandelbox.Status.InstanceName, how)})
}

// hold puts the finalizer on, before the first call that makes something, unless the
// session came with it: by the webhook that adds it, see package webhook. Then nothing
// proves before the call that this version is the newest, as writing it does: what is
// started for a session that was deleted, or placed anew, is found by remove's listing,
// by stopEarlier or as an orphan, and stopped.
func (r *Reconciler) hold(ctx context.Context, s *scope) error {
	if controllerutil.ContainsFinalizer(s.mandelbox, v1alpha1.MandelboxFinalizer) {
		return nil
	}
	return r.patchFinalizer(ctx, s, controllerutil.AddFinalizer)
}

// release takes the finalizer off, after which the object may be gone.
func (r *Reconciler) release(ctx context.Context, s *scope) error {
	if !controllerutil.ContainsFinalizer(s.mandelbox, v1alpha1.MandelboxFinalizer) {
		return nil
	}
	if err := r.patchFinalizer(ctx, s, controllerutil.RemoveFinalizer); err != nil {
		return err
	}
	r.started.remove(keyOf(s.mandelbox), s.mandelbox.UID)
	return nil
}

func (r *Reconciler) patchFinalizer(ctx context.Context, s *scope, change func(client.Object, string) bool) error {
	after := s.before.DeepCopy()
	change(after, v1alpha1.MandelboxFinalizer)
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Patch(ctx, after, patch); err != nil {
		s.gone = apierrors.IsNotFound(err)
		if s.gone {
			return nil
		}
		return fmt.Errorf("writing the finalizer: %w", err)
	}
	r.Assigner.written.note(after)
	// What the steps have changed so far is the status alone.
	next := after.DeepCopy()
	s.mandelbox.Status.DeepCopyInto(&next.Status)
	s.before, s.mandelbox = after, next
	return nil
}

// findTask finds the task of this attempt among what was observed. One that isn't
// on the session's host was started under an assignment that is lost; start then
// meets its token, and has it stopped.
func (r *Reconciler) findTask(_ context.Context, s *scope) error {
	if s.region == nil {
		s.after(lookAgain)
		return nil
	}
	m := s.mandelbox
	s.tasksListed = s.region.Observer().TasksListedAt()
	for _, task := range s.region.Observer().TasksStartedBy(cloud.StartedBy(string(m.UID), m.Status.Attempt)) {
		elsewhere := m.Status.RunningTime == nil && task.ContainerHostARN != s.instance.Status.ContainerInstanceARN
		if !elsewhere && (s.task == nil || s.task.Stopped()) {
			s.task = &task
		}
	}
	switch {
	case s.task == nil:
	case s.task.Stopped():
		s.ended()
	case s.task.LastStatus == cloud.TaskRunning && !running(s):
		// It moves no more, but its health is still to be known.
		s.region.Observer().TouchTask(s.task.ARN)
		s.after(lookAgain)
	}
	return nil
}

// stopEarlier stops tasks of earlier attempts, which nobody will look at again. An
// attempt is given up only when its task has stopped or was refused; a task that
// is still there came of a call whose answer was taken for lost.
func (r *Reconciler) stopEarlier(ctx context.Context, s *scope) error {
	return r.stopOutdated(ctx, s, s.mandelbox.Status.Attempt-1)
}

// stopOutdated stops the tasks of all attempts up to the last.
func (r *Reconciler) stopOutdated(ctx context.Context, s *scope, last int32) error {
	_, err := r.stopTasks(ctx, s.mandelbox.UID, last, "Outdated: the session was placed anew")
	return err
}

// start runs the task unless it was seen already. The token makes a repeated
// call, after a crash or a lost answer, return the same task.
func (r *Reconciler) start(ctx context.Context, s *scope) error {
	m := s.mandelbox
	if s.task != nil || s.region == nil {
		return nil
	}
	if m.Status.RunningTime != nil || s.now.Sub(m.Status.AssignedTime.Time) > oldIntent {
		return r.lostTask(s)
	}
	if s.instance.Status.InstanceID == "" || s.instance.Status.ContainerInstanceARN == "" {
		s.after(lookAgain)
		return nil
	}
	if s.row == nil || s.row.TaskDefinition == "" {
		s.after(lookAgain)
		return nil
	}
	if !gpusKnown(s) {
		s.after(time.Second)
		return nil
	}
	r.started.add(m)
	task, err := s.region.API().RunTask(ctx, taskRun(s))
	switch cloud.KindOf(err) {
	case cloud.KindNoRoom, cloud.KindHostUnavailable, cloud.KindConflict:
		s.fail(outcome{reason: v1alpha1.ReasonTaskFailed, message: err.Error()})
		return err
	case cloud.KindUnauthorized, cloud.KindInvalid, cloud.KindThrottled:
		s.after(slowRetry / 10)
		return fmt.Errorf("starting the task: %w", err)
	}
	if err != nil {
		return fmt.Errorf("starting the task: %w", err)
	}
	s.task = &task
	return nil
}

// lostTask ends a session whose task can't be seen any more, nor how it ended: it
// was running, or was asked for so long ago that its token may be forgotten. To
// ask for it again could start the session twice.
func (r *Reconciler) lostTask(s *scope) error {
	m := s.mandelbox
	last := m.Status.AssignedTime.Time
	if m.Status.RunningTime != nil && m.Status.RunningTime.After(last) {
		last = m.Status.RunningTime.Time
	}
	if s.tasksListed.Before(last.Add(lostGrace)) {
		s.after(time.Second)
		return nil
	}
	s.outcome = &outcome{
		reason: v1alpha1.ReasonTaskFailed,
		message: fmt.Sprintf("ECS no longer knows the task of attempt %d, which was assigned at %s",
			m.Status.Attempt, m.Status.AssignedTime.UTC().Format(time.RFC3339)),
	}
	return nil
}

// enforceLimits stops a session that takes too long to start, or has run as long
// as it may.
func (r *Reconciler) enforceLimits(ctx context.Context, s *scope) error {
	m := s.mandelbox
	if s.task == nil || s.task.DesiredStatus == cloud.TaskStopped {
		return nil
	}
	if running(s) {
		if m.Spec.MaxSessionDuration == nil {
			return nil
		}
		return r.stopAfter(ctx, s, startOf(s).Add(m.Spec.MaxSessionDuration.Duration),
			v1alpha1.ReasonMaxDurationReached, fmt.Sprintf("the session ran for %s", m.Spec.MaxSessionDuration.Duration))
	}
	if m.Spec.StartTimeout == nil || m.Status.RunningTime != nil {
		return nil
	}
	return r.stopAfter(ctx, s, m.Status.AssignedTime.Add(m.Spec.StartTimeout.Duration),
		v1alpha1.ReasonStartTimeout, fmt.Sprintf("the task was not running within %s", m.Spec.StartTimeout.Duration))
}

// stopAfter stops the task once the time has come. ECS keeps the reason with the
// stopped task, where it is read again.
func (r *Reconciler) stopAfter(ctx context.Context, s *scope, at time.Time, reason, message string) error {
	if left := at.Sub(s.now); left > 0 {
		s.after(left)
		return nil
	}
	if err := s.region.API().StopTask(ctx, s.task.ARN, reason+": "+message); err != nil {
		return fmt.Errorf("stopping the task (%s): %w", reason, err)
	}
	s.task.DesiredStatus = cloud.TaskStopped
	s.after(lookAgain)
	return nil
}
