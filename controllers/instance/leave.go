// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// These are the defaults of Region.spec.hostTimeouts.
const (
	defaultPreConnection = 15 * time.Minute
	defaultDisconnected  = 2 * time.Minute
	defaultImpaired      = 5 * time.Minute
)

// giveUp deletes an Instance whose host is no more, never came up, can't be told
// anything and has no session, or is in trouble by what EC2 says: one that still runs
// then leaves once its sessions have ended. What the Region still wants is launched
// anew by its controller.
func (r *Reconciler) giveUp(ctx context.Context, s *scope) error {
	i := s.instance
	if !i.DeletionTimestamp.IsZero() {
		return nil
	}
	switch {
	case s.lost():
		s.expired, s.expiredMessage = v1alpha1.ReasonTerminated, "EC2 no longer runs the host"
		if s.host.StateReason != "" {
			s.expiredMessage += ": " + s.host.StateReason
		}
	case s.troubled():
	case s.before.Status.Phase == v1alpha1.InstanceUnresponsive && silent(s) && len(i.Status.Claims) == 0:
		s.expired = v1alpha1.ReasonAgentDisconnected
		s.expiredMessage = "the host's agent is disconnected, and no session is left"
	case s.present() && i.Status.ActiveTime == nil && s.member == nil:
		left := launchedAt(s).Add(r.preConnection(s)).Sub(s.now)
		if left > 0 {
			s.after(left)
			return nil
		}
		s.expired = v1alpha1.ReasonRegistrationTimeout
		s.expiredMessage = fmt.Sprintf("the host's agent did not register within %s", r.preConnection(s))
	default:
		return nil
	}
	deleted, err := r.delete(ctx, s)
	if deleted {
		// Told here, where only one look at the host can come by, however late the
		// cache is with the deletion.
		r.Launcher.Counts.HostGivenUp(i, s.expired)
		r.Events.Eventf(i, nil, corev1.EventTypeWarning, s.expired, "GiveUp", "%s", s.expiredMessage)
	}
	return err
}

func launchedAt(s *scope) time.Time {
	if !s.host.LaunchTime.IsZero() {
		return s.host.LaunchTime
	}
	return s.instance.Status.Launch.Time.Time
}

func (r *Reconciler) preConnection(s *scope) time.Duration {
	if s.region == nil || s.region.Spec.HostTimeouts.PreConnection == nil {
		return defaultPreConnection
	}
	return s.region.Spec.HostTimeouts.PreConnection.Duration
}

// delete deletes the Instance as it was read, and says whether it was there to be: a
// drain that was taken back in the meantime, or a host that came up after all, is seen
// first.
func (r *Reconciler) delete(ctx context.Context, s *scope) (deleted bool, err error) {
	only := client.Preconditions{UID: &s.before.UID, ResourceVersion: &s.before.ResourceVersion}
	switch err := r.Delete(ctx, s.before.DeepCopy(), only); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("deleting the Instance: %w", err)
	}
	return true, nil
}

// leave leads a host out. The phase Draining is written before anything else, so
// that the API server refuses a new claim; only a version of the object that has
// that phase, and no claim, is proof that none will come.
func (r *Reconciler) leave(ctx context.Context, s *scope) error {
	i := s.instance
	if !i.Leaving() {
		return nil
	}
	if !s.before.Closed() || len(i.Status.Claims) > 0 && !s.lost() {
		return nil
	}
	if i.DeletionTimestamp.IsZero() {
		_, err := r.delete(ctx, s)
		return err
	}
	if s.cloud == nil {
		return r.leaveWithoutCloud(ctx, s)
	}
	switch {
	case s.present():
		return r.terminate(ctx, s)
	case s.lost():
		return r.cleanUp(ctx, s)
	case i.Status.Launch == nil:
		return r.letGo(ctx, s)
	}
	return r.awaitLaunch(ctx, s)
}

// terminate has ECS start nothing more on the host, and EC2 terminate it, whatever
// ECS says to that.
func (r *Reconciler) terminate(ctx context.Context, s *scope) error {
	s.terminating = true
	s.after(lookAgain)
	var errs []error
	if s.member != nil && s.member.Status == cloud.ContainerHostActive {
		if err := s.cloud.API().DrainHosts(ctx, []string{s.member.ARN}); err != nil {
			errs = append(errs, fmt.Errorf("draining the container instance: %w", err))
		}
	}
	if err := s.cloud.API().TerminateHost(ctx, s.host.InstanceID); err != nil {
		errs = append(errs, fmt.Errorf("terminating %s: %w", s.host.InstanceID, err))
	}
	return errors.Join(errs...)
}

// cleanUp takes out of ECS what is left of a host that was terminated, once EC2
// says that it is.
func (r *Reconciler) cleanUp(ctx context.Context, s *scope) error {
	s.terminating = true
	if s.presence == cloud.Present && s.host.State != cloud.HostTerminated {
		s.after(lookAgain)
		return nil
	}
	if s.member != nil {
		if err := s.cloud.API().DeregisterHost(ctx, s.member.ARN); err != nil {
			return fmt.Errorf("deregistering %s: %w", s.member.ARN, err)
		}
	}
	return r.letGo(ctx, s)
}

// awaitLaunch waits until it is sure whether a launch that was asked for made a
// host: the answer may have been lost, and what was made is listed late.
func (r *Reconciler) awaitLaunch(ctx context.Context, s *scope) error {
	if !r.Launcher.Cancel(s.instance.UID) {
		return nil
	}
	if r.Launcher.Refused(s.instance) {
		return r.letGo(ctx, s)
	}
	// Gone looks back to this manager's last call and its start; the time of the
	// intent, to the calls of one that led before.
	if s.presence != cloud.Gone || !s.launchOver {
		s.after(lookAgain)
		return nil
	}
	return r.letGo(ctx, s)
}

// leaveWithoutCloud waits for the region to be opened, unless nothing was launched
// or the Region doesn't exist any more: then no host can be either, since a Region
// leaves after its hosts.
func (r *Reconciler) leaveWithoutCloud(ctx context.Context, s *scope) error {
	if s.instance.Status.Launch == nil || s.region == nil {
		return r.letGo(ctx, s)
	}
	s.after(lookAgain)
	return nil
}

// letGo takes the finalizer off, unless the call that launched the host is still under
// way: one whose answer was lost is repeated under its token, and then would launch for
// an Instance that is no more. Its answer wakes this one.
func (r *Reconciler) letGo(ctx context.Context, s *scope) error {
	if !r.Launcher.Cancel(s.instance.UID) {
		return nil
	}
	r.Launcher.Forget(s.instance.UID)
	r.forgetReservations(s.instance.Name)
	s.gone = true
	return client.IgnoreNotFound(r.patchFinalizer(ctx, s, controllerutil.RemoveFinalizer))
}
