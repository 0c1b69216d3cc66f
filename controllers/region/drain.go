// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
)

// toBeDrained are the hosts of releases that are not active any more which still have
// sessions.
func (s *scope) toBeDrained() []*v1alpha1.Instance {
	var retired []*v1alpha1.Instance
	for i := range s.hosts {
		host := &s.hosts[i]
		_, wanted := s.releases[census.ReleaseOf(host)]
		if !wanted && s.mayLeave(host) && !host.Draining() && len(host.Status.Claims) > 0 {
			retired = append(retired, host)
		}
	}
	return retired
}

// drainRetired keeps new sessions off the hosts of releases that are not active
// any more; those that are there run on until they end.
func (r *Reconciler) drainRetired(ctx context.Context, s *scope, retired []*v1alpha1.Instance) error {
	var errs []error
	for _, host := range retired {
		if ctx.Err() != nil {
			s.lookAgain = earliest(s.lookAgain, retryStale) // What was found must be found again.
			break
		}
		err := r.drain(ctx, s, host)
		switch {
		case apierrors.IsConflict(err):
			s.lookAgain = earliest(s.lookAgain, retryStale)
		case client.IgnoreNotFound(err) != nil:
			errs = append(errs, fmt.Errorf("draining Instance %s: %w", host.Name, err))
		}
	}
	return errors.Join(errs...)
}

// drain has a host leave. Where the rollout that replaced its release has a time
// for that, the host carries from the same write on when its sessions will be
// ended, and an Event says so.
func (r *Reconciler) drain(ctx context.Context, s *scope, host *v1alpha1.Instance) error {
	drained := host.DeepCopy()
	drained.Spec.Drain = ptr.To(true)
	timeout := drainTimeout(s.amis, host)
	deadline := s.now.Add(timeout).UTC().Format(time.RFC3339)
	if timeout > 0 {
		metav1.SetMetaDataAnnotation(&drained.ObjectMeta, v1alpha1.AnnotationForceDrainAfter, deadline)
	}
	if err := r.Patch(ctx, drained, client.MergeFromWithOptions(host, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	if timeout > 0 {
		r.Events.Eventf(drained, nil, corev1.EventTypeWarning, v1alpha1.ReasonDrainTimeout, "Drain",
			"The release of the host was replaced: %s will be ended at %s, by spec.rollout.drainTimeout of AMI %s",
			trouble.Count(len(host.Status.Claims), "session"), deadline, host.Spec.AMIName)
	}
	return nil
}

// drainTimeout is how long the sessions of a replaced release may run on; 0 for as
// long as they like. A channel that is being deleted isn't rolling out.
func drainTimeout(amis []v1alpha1.AMI, host *v1alpha1.Instance) time.Duration {
	for i := range amis {
		if ami := &amis[i]; ami.Name == host.Spec.AMIName && ami.DeletionTimestamp.IsZero() && ami.Spec.Rollout.DrainTimeout != nil {
			return ami.Spec.Rollout.DrainTimeout.Duration
		}
	}
	return 0
}
