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

// unseenGrace is how long a task may exist without being listed: what a listing
// that began later lacks was never started.
const unseenGrace = 5 * time.Second

// lostGrace is the same for a session that is ended because its task isn't listed:
// that can't be taken back, so that reads are given more time to catch up.
const lostGrace = time.Minute

// remove stops the task of a session that is being deleted, and lets the object go
// once the task was seen stopped. The slot is released by the Instance's
// controller, which then finds no Mandelbox.
func (r *Reconciler) remove(ctx context.Context, s *scope) error {
	m := s.mandelbox
	if m.Finished() || m.Status.Attempt == 0 || !controllerutil.ContainsFinalizer(m, v1alpha1.MandelboxFinalizer) {
		return r.letGo(ctx, s)
	}
	if region, ok := r.Regions.Get(m.Status.Region); ok {
		s.region = region
	}
	if s.region == nil {
		return r.removeWithoutRegion(ctx, s)
	}
	listed := s.region.Observer().TasksListedAt()
	tasks, err := r.stopTasks(ctx, m.UID, m.Status.Attempt, "Deleted: the Mandelbox was deleted")
	if err != nil {
		return err
	}
	stopped, seen := true, false
	for _, task := range tasks {
		// An earlier attempt's task says nothing of this one's.
		seen = seen || task.StartedBy == cloud.StartedBy(string(m.UID), m.Status.Attempt)
		if !task.Stopped() {
			stopped = false
			s.task = &task
		}
	}
	if !stopped {
		return r.awaitStop(ctx, s)
	}
	if !seen && listed.Before(m.DeletionTimestamp.Add(unseenGrace)) {
		s.after(time.Second)
		return nil
	}
	return r.letGo(ctx, s)
}

// awaitStop waits for the task, unless its host is gone and with it the task.
func (r *Reconciler) awaitStop(ctx context.Context, s *scope) error {
	if s.mandelbox.Status.InstanceName != "" {
		if err := r.findHost(ctx, s); err != nil {
			return err
		}
	}
	if s.outcome != nil || s.anew != nil {
		return r.letGo(ctx, s)
	}
	s.after(lookAgain)
	return nil
}

// removeWithoutRegion lets a session of a region go that does not exist any more:
// a Region leaves only after its hosts.
func (r *Reconciler) removeWithoutRegion(ctx context.Context, s *scope) error {
	if s.mandelbox.Status.Region == "" {
		return r.letGo(ctx, s) // It gave its slot back, after its task had stopped.
	}
	var region v1alpha1.Region
	err := r.Live.Get(ctx, types.NamespacedName{Name: s.mandelbox.Status.Region}, &region)
	if apierrors.IsNotFound(err) {
		return r.letGo(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("reading Region %s: %w", s.mandelbox.Status.Region, err)
	}
	s.after(lookAgain)
	return nil
}

// letGo takes the finalizer off.
func (r *Reconciler) letGo(ctx context.Context, s *scope) error {
	err := r.release(ctx, s)
	s.gone = true
	return err
}

// tidy lets go of a finished session and deletes it after its time to live.
func (r *Reconciler) tidy(ctx context.Context, s *scope) error {
	last := s.mandelbox.Status.Attempt
	if over := meta.FindStatusCondition(s.mandelbox.Status.Conditions, v1alpha1.ConditionFinished); over != nil && over.Reason == v1alpha1.ReasonHostLost {
		// Should the host live after all, because only its Instance was lost, then
		// the user goes on: an orphan with running tasks is left to them.
		last--
	}
	if _, err := r.stopTasks(ctx, s.mandelbox.UID, last, "Finished: the session is over"); err != nil {
		return err
	}
	if err := r.release(ctx, s); err != nil || s.gone {
		return err
	}
	m := s.mandelbox
	if m.Spec.TTLAfterFinished == nil || m.Status.FinishedTime == nil {
		return nil
	}
	if left := m.Status.FinishedTime.Add(m.Spec.TTLAfterFinished.Duration).Sub(s.now); left > 0 {
		s.after(left)
		return nil
	}
	s.gone = true
	if err := r.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the finished Mandelbox: %w", err)
	}
	return nil
}
