// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// forcedAt is when the sessions that are left on a leaving host are ended; ok is
// false if they are left alone. A person, or a rollout with a drainTimeout, writes
// it as an annotation.
func forcedAt(i *v1alpha1.Instance) (at time.Time, ok bool) {
	value := i.Annotations[v1alpha1.AnnotationForceDrainAfter]
	if value == "" || !i.Leaving() {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, value)
	return at, err == nil
}

// endSessions stops the tasks of the sessions that are left on a leaving host, once
// the time has come that its annotation names. The claims go as for any session
// that is over.
func (r *Reconciler) endSessions(ctx context.Context, s *scope) error {
	at, forced := forcedAt(s.instance)
	if !forced || s.cloud == nil || !s.before.Closed() || len(s.instance.Status.Claims) == 0 {
		return nil
	}
	if left := at.Sub(s.now); left > 0 {
		s.after(left)
		return nil
	}
	s.after(lookAgain)
	var errs []error
	for _, claim := range s.instance.Status.Claims {
		for _, task := range s.cloud.Observer().TasksStartedBy(cloud.StartedBy(claim.UID, claim.Attempt)) {
			if task.Stopped() || task.DesiredStatus == cloud.TaskStopped {
				continue
			}
			reason := v1alpha1.ReasonDrainTimeout + ": its host had until " + at.UTC().Format(time.RFC3339) + " to drain"
			if err := s.cloud.API().StopTask(ctx, task.ARN, reason); err != nil {
				errs = append(errs, fmt.Errorf("stopping the task of %s/%s: %w", claim.Namespace, claim.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}
