// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// started remembers the sessions whose task this manager asked for and whose
// finalizer it has not taken off.
//
// A finalizer does not hold an object for certain: the API server deletes at once
// what had none when the deletion was asked for, even if one was written before
// the deletion is carried out. A session deleted in the instant before its start
// is then gone while its task is on its way. Who remembers it can stop the task
// right away; after a restart of the manager the search for orphans finds it.
type started struct {
	mu       sync.Mutex
	sessions map[types.NamespacedName]startedSession
}

// startedSession says which tasks a session may have.
type startedSession struct {
	uid     types.UID
	attempt int32
}

func (s *started) add(m *v1alpha1.Mandelbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == nil {
		s.sessions = map[types.NamespacedName]startedSession{}
	}
	s.sessions[keyOf(m)] = startedSession{uid: m.UID, attempt: m.Status.Attempt}
}

// remove forgets the session of that name and uid.
func (s *started) remove(key types.NamespacedName, uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[key].uid == uid {
		delete(s.sessions, key)
	}
}

// other returns the session of that name that has another uid than the object
// which has the name now.
func (s *started) other(key types.NamespacedName, now types.UID) (startedSession, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.sessions[key]
	return session, ok && session.uid != now
}

// stopLeft stops the tasks of a session that had this name and is gone in spite of
// its finalizer; now is the uid of the object that has the name, empty if none.
func (r *Reconciler) stopLeft(ctx context.Context, key types.NamespacedName, now types.UID) error {
	session, ok := r.started.other(key, now)
	if !ok {
		return nil
	}
	if _, err := r.stopTasks(ctx, session.uid, session.attempt, "Deleted: the Mandelbox was deleted"); err != nil {
		return err
	}
	r.started.remove(key, session.uid)
	return nil
}

// stopTasks stops the tasks of all attempts up to the last, unless they were told
// to before, and returns all that were seen of them. Each attempt may have been
// in another region.
func (r *Reconciler) stopTasks(ctx context.Context, uid types.UID, last int32, reason string) ([]cloud.Task, error) {
	var seen []cloud.Task
	for _, region := range r.Regions.All() {
		for attempt := int32(1); attempt <= last; attempt++ {
			tasks := region.Observer().TasksStartedBy(cloud.StartedBy(string(uid), attempt))
			seen = append(seen, tasks...)
			for _, task := range tasks {
				if task.Stopped() || task.DesiredStatus == cloud.TaskStopped {
					continue
				}
				if err := region.API().StopTask(ctx, task.ARN, reason); err != nil {
					return seen, fmt.Errorf("stopping the task of attempt %d: %w", attempt, err)
				}
			}
		}
	}
	return seen, nil
}
