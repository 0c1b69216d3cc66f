// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package orphan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
)

// stopTasks stops the tasks of sessions that do not exist, each after its grace.
// A task is for the session whose uid and attempt it carries; a finalizer holds
// the Mandelbox until its task was seen stopped, so that a task without one means
// that somebody took the finalizer off by hand; and many of them, that the
// Mandelboxes were lost.
func (s *Sweeper) stopTasks(ctx context.Context, in inCloud, owners map[string]bool) error {
	region := in.open.Target().Region
	running, suspects := 0, map[string]string{}
	for _, task := range in.tasks {
		uid, _, ok := cloud.ParseStartedBy(task.StartedBy)
		if !ok || task.Stopped() || task.DesiredStatus == cloud.TaskStopped {
			continue
		}
		running++
		if !owners[uid] {
			suspects[task.ARN] = uid
		}
	}
	due := s.tasksDue(suspects)
	s.forgetTasks(region, suspects)
	if len(due) > 0 {
		alive, err := s.liveUIDs(ctx)
		if err != nil {
			return err
		}
		maps.DeleteFunc(suspects, func(_, uid string) bool { return alive[uid] })
		due = s.tasksDue(suspects)
	}
	s.Counts.OrphansFound(region, metrics.OrphanTask, len(suspects))
	s.forgetTasks(region, suspects)
	if s.DryRun || s.refuseTasks(in.region, len(due), running) {
		return nil
	}
	var errs []error
	for _, arn := range due {
		if err := in.open.API().StopTask(ctx, arn, "Orphaned: its Mandelbox does not exist"); err != nil {
			errs = append(errs, fmt.Errorf("stopping orphaned task %s: %w", arn, err))
			continue
		}
		s.Counts.OrphanRemoved(region, metrics.OrphanTask)
	}
	return errors.Join(errs...)
}

// refuseTasks says whether so many of the tasks that run are not to be stopped
// unasked, and has the Region say why.
func (s *Sweeper) refuseTasks(region *v1alpha1.Region, due, running int) bool {
	allowed := max(maxRemoved, running/fleetShare)
	if due <= allowed || due <= allowedBy(region) {
		s.refuse(region.Name, func(r *refusal) { r.tasks = "" })
		return false
	}
	s.refuse(region.Name, func(r *refusal) {
		r.tasks = fmt.Sprintf("%d of %d tasks that run belong to no Mandelbox, and at most %d are stopped at a time unasked. "+
			"If they are to end, annotate the Region with %s=%d", due, running, allowed, v1alpha1.AnnotationRemoveOrphans, due)
	})
	return true
}

// cachedUIDs are the uids of all Mandelboxes that the cache has.
func (s *Sweeper) cachedUIDs(ctx context.Context) (map[string]bool, error) {
	var list v1alpha1.MandelboxList
	if err := s.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Mandelboxes: %w", err)
	}
	return uids(&list), nil
}

// liveUIDs are the uids of all Mandelboxes that there are.
func (s *Sweeper) liveUIDs(ctx context.Context) (map[string]bool, error) {
	var list v1alpha1.MandelboxList
	if err := s.Live.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing Mandelboxes live: %w", err)
	}
	return uids(&list), nil
}

func uids(list *v1alpha1.MandelboxList) map[string]bool {
	all := make(map[string]bool, len(list.Items))
	for i := range list.Items {
		all[string(list.Items[i].UID)] = true
	}
	return all
}

// taskKey keeps the tasks of a region apart from its hosts in what was seen.
func taskKey(arn string) string { return "task/" + arn }

// tasksDue returns the suspects whose grace is over, in order.
func (s *Sweeper) tasksDue(suspects map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(suspects)), func(arn string) bool { return !s.taskDue(arn) })
}

func (s *Sweeper) taskDue(arn string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Clock.Now()
	since, known := s.seen[taskKey(arn)]
	if !known {
		s.seen[taskKey(arn)] = now
		since = now
	}
	return now.Sub(since) >= s.Grace
}

// forgetTasks forgets the region's tasks that are suspects no more.
func (s *Sweeper) forgetTasks(region string, suspects map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks == nil {
		s.tasks = map[string]map[string]bool{}
	}
	for arn := range s.tasks[region] {
		if _, still := suspects[arn]; !still {
			delete(s.seen, taskKey(arn))
		}
	}
	now := map[string]bool{}
	for arn := range suspects {
		now[arn] = true
	}
	s.tasks[region] = now
}
