// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
)

// lookForHosts is how often a Region that waits for EC2 to be empty looks again.
const lookForHosts = 5 * time.Second

// parallelWrites bounds the writes to the API server that one Region has under
// way at a time.
const parallelWrites = 8

// judgeOrphans has the Region stalled while hosts that belong to no Instance wait for
// a person to agree to their end. It goes on with everything else.
func (r *Reconciler) judgeOrphans(_ context.Context, s *scope) error {
	if r.Orphans == nil {
		return nil
	}
	if refusal := r.Orphans.Refusal(s.region.Name); refusal != "" {
		return &trouble.Stalled{Reason: v1alpha1.ReasonTooManyOrphans, Message: refusal}
	}
	return nil
}

// holdWithFinalizer has the Region stay until its hosts are gone; it is written
// before anything is made in AWS.
func (r *Reconciler) holdWithFinalizer(ctx context.Context, s *scope) error {
	if !controllerutil.AddFinalizer(s.region, v1alpha1.RegionFinalizer) {
		return nil
	}
	return r.writeMetadata(ctx, s, "adding the finalizer of")
}

// writeMetadata writes the Region's finalizers, which are replaced as a list.
func (r *Reconciler) writeMetadata(ctx context.Context, s *scope, what string) error {
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Patch(ctx, s.region, patch); err != nil {
		s.stale = true
		return fmt.Errorf("%s Region %s: %w", what, s.region.Name, err)
	}
	s.before = s.region.DeepCopy()
	return nil
}

// leave deletes the Instances of a Region that is being deleted, each of which
// waits for its sessions to end, and lets the Region go when none is left.
func (r *Reconciler) leave(ctx context.Context, s *scope) error {
	if err := r.deleteHosts(ctx, s); err != nil {
		return err
	}
	if len(s.hosts) > 0 {
		return &trouble.Waiting{Reason: v1alpha1.ReasonInUse, Message: fmt.Sprintf(
			"Being deleted: %s with %s are left. Sessions run until they end or are deleted.",
			trouble.Count(len(s.hosts), "host"), trouble.Count(s.total.Claimed, "session"))}
	}
	// The cache may not have heard of the last Instances yet: only the API server
	// can say that there is none.
	var live v1alpha1.InstanceList
	if err := r.Live.List(ctx, &live, client.MatchingFields{"spec.regionName": s.region.Name}, client.Limit(1)); err != nil {
		return fmt.Errorf("looking for Instances of Region %s: %w", s.region.Name, err)
	}
	if len(live.Items) > 0 {
		return &trouble.Waiting{Reason: v1alpha1.ReasonInUse, Message: "Being deleted: waits for its last hosts to go."}
	}
	if err := s.hostsLeft(); err != nil {
		s.lookAgain = earliest(s.lookAgain, lookForHosts)
		return err
	}
	if !controllerutil.RemoveFinalizer(s.region, v1alpha1.RegionFinalizer) {
		s.gone = true // Another finalizer holds it; there is nothing left to do here.
		return nil
	}
	if err := r.writeMetadata(ctx, s, "removing the finalizer of"); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.Regions.Remove(s.region.Name)
	r.settled.forget(s.region.UID)
	s.gone = true
	return nil
}

// hostsLeft says whether EC2 still has hosts of the region although no Instance is
// left: a launch that a crash cut off may have made one for nobody. They are
// removed by package orphan, which looks after regions that exist.
func (s *scope) hostsLeft() error {
	if s.region.Status.Decision == nil || s.open == nil {
		return nil // Nothing was ever launched, or the region can't be opened.
	}
	observer := s.open.Observer()
	if !after(observer.HostsListedAt(), s.region.DeletionTimestamp.Time) {
		return &trouble.Waiting{Reason: v1alpha1.ReasonInUse, Message: "Being deleted: waits for a listing of its hosts in EC2."}
	}
	left := 0
	for _, host := range observer.Hosts() {
		if !host.State.Gone() {
			left++
		}
	}
	if left == 0 {
		return nil
	}
	return &trouble.Waiting{Reason: v1alpha1.ReasonInUse, Message: fmt.Sprintf(
		"Being deleted: waits until %s in EC2 that no Instance owns are removed.", trouble.Count(left, "host"))}
}

// after says whether a time is surely after one that the API server wrote, which has
// lost its fraction of a second.
func after(t, written time.Time) bool { return !t.Before(written.Add(time.Second)) }

// deleteHosts deletes every Instance of the region that isn't being deleted yet.
func (r *Reconciler) deleteHosts(ctx context.Context, s *scope) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelWrites)
	for i := range s.hosts {
		host := &s.hosts[i]
		if !host.DeletionTimestamp.IsZero() {
			continue
		}
		group.Go(func() error {
			_, err := r.deleteHost(ctx, host.Name, client.Preconditions{UID: ptr.To(host.UID)})
			return err
		})
	}
	return group.Wait()
}

// deleteHost deletes an Instance and says whether it did: not if it is gone, or if
// the preconditions don't hold any more.
func (r *Reconciler) deleteHost(ctx context.Context, name string, only client.Preconditions) (bool, error) {
	host := &v1alpha1.Instance{}
	host.Name = name
	switch err := r.Delete(ctx, host, only); {
	case err == nil:
		return true, nil
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return false, nil
	default:
		return false, fmt.Errorf("deleting Instance %s: %w", name, err)
	}
}

// unchanged are the preconditions that an Instance is still as it was read, so
// that a claim which was written in between wins over the deletion.
func unchanged(host *v1alpha1.Instance) client.Preconditions {
	return client.Preconditions{UID: ptr.To[types.UID](host.UID), ResourceVersion: ptr.To(host.ResourceVersion)}
}
