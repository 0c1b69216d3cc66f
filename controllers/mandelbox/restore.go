// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

const (
	// restoreWait is how long after the start of the manager a session without
	// status waits for the tasks of every region to be listed, and one that has a
	// task for the Instance of its host to be found.
	restoreWait = 2 * time.Minute
	// restorePause is the time between two looks meanwhile.
	restorePause = 250 * time.Millisecond
)

// restore gives a session whose status was lost, as from a backup that omits it, what
// its task says: the slot and the attempt it runs under, or how it ended. It returns
// false for a session that never had a task. Sessions that are newer than this
// manager wait for nothing.
func (r *Reconciler) restore(ctx context.Context, s *scope) (restoring bool, err error) {
	m := s.mandelbox
	if m.Status.Phase != "" || m.Status.Attempt > 0 {
		return false, nil
	}
	patient := s.now.Before(r.begun.Add(restoreWait))
	region, task, attempt, known, err := r.lastTask(ctx, m)
	switch {
	case err != nil:
		return false, err
	case task == nil && (known || !patient || !m.CreationTimestamp.Time.Before(r.begun)):
		return false, nil
	case task == nil:
		s.after(restorePause)
		return true, nil
	case task.Stopped():
		s.restoreEnd(region, task, attempt)
		return true, nil
	}
	i, claim, err := r.claimOf(ctx, m, region, task)
	if err != nil {
		return false, err
	}
	if claim != nil && claim.Attempt == attempt {
		return true, r.recommit(ctx, s, i, *claim, task)
	}
	if patient {
		s.after(restorePause)
		return true, nil
	}
	// Its host belongs to nobody. The attempt has the next one stop this task.
	m.Status.Attempt = attempt
	return false, nil
}

// lastTask finds the session's task of the highest attempt in any region; known says
// whether the tasks of every region have been listed.
func (r *Reconciler) lastTask(ctx context.Context, m *v1alpha1.Mandelbox) (in *cloud.Region, last *cloud.Task, attempt int32, known bool, err error) {
	var regions v1alpha1.RegionList
	if err := r.List(ctx, &regions, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, 0, false, fmt.Errorf("listing Regions: %w", err)
	}
	known = true
	for i := range regions.Items {
		open, ok := r.Regions.Get(regions.Items[i].Name)
		if !ok {
			known = false
			continue
		}
		known = known && open.Observer().TasksSynced()
		for _, task := range open.Observer().TasksOfSession(string(m.UID)) {
			if _, n, _ := cloud.ParseStartedBy(task.StartedBy); last == nil || n > attempt || n == attempt && last.Stopped() {
				in, last, attempt = open, &task, n
			}
		}
	}
	return in, last, attempt, known, nil
}

// restoreEnd takes in how the session's last task stopped.
func (s *scope) restoreEnd(region *cloud.Region, task *cloud.Task, attempt int32) {
	st := &s.mandelbox.Status
	st.Attempt, st.Region, st.TaskARN = attempt, region.Target().Region, task.ARN
	if !task.StartedAt.IsZero() {
		st.RunningTime = ptr.To(metav1.NewTime(task.StartedAt))
	}
	s.region, s.task = region, task
	s.ended()
}

// claimOf finds the claim that the Instance of the task's host has for the session:
// the controller of Instances rebuilds it.
func (r *Reconciler) claimOf(ctx context.Context, m *v1alpha1.Mandelbox, region *cloud.Region, task *cloud.Task) (*v1alpha1.Instance, *v1alpha1.Claim, error) {
	member, ok := region.Observer().ContainerHostByARN(task.ContainerHostARN)
	if !ok {
		return nil, nil, nil
	}
	var list v1alpha1.InstanceList
	if err := r.List(ctx, &list, client.MatchingFields{index.InstanceByHost: member.InstanceID}); err != nil {
		return nil, nil, fmt.Errorf("finding the Instance of %s: %w", member.InstanceID, err)
	}
	if len(list.Items) == 0 {
		return nil, nil, nil
	}
	return &list.Items[0], list.Items[0].ClaimOf(string(m.UID)), nil
}

// recommit writes the assignment that was lost. As for any commit, the version that
// was read before guards it: a claim is released only after the attempt was raised.
func (r *Reconciler) recommit(ctx context.Context, s *scope, i *v1alpha1.Instance, claim v1alpha1.Claim, task *cloud.Task) error {
	after := s.before.DeepCopy()
	setAssigned(after, i, claim, metav1.NewTime(task.CreatedAt))
	if err := status.Patch(ctx, r.Client, s.before, after, true); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.Assigner.written.note(after)
	s.gone = true // The rest is for the version with the assignment.
	return nil
}
