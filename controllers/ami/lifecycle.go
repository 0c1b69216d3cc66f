// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
)

// holdWithFinalizer has the AMI stay until its hosts are gone; it is written
// before anything is made in AWS.
func (r *Reconciler) holdWithFinalizer(ctx context.Context, s *scope) error {
	if !controllerutil.AddFinalizer(s.ami, v1alpha1.AMIFinalizer) {
		return nil
	}
	return r.writeMetadata(ctx, s, "adding the finalizer of")
}

// writeMetadata writes the AMI's finalizers, which are replaced as a list.
func (r *Reconciler) writeMetadata(ctx context.Context, s *scope, what string) error {
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Patch(ctx, s.ami, patch); err != nil {
		s.stale = true
		return fmt.Errorf("%s AMI %s: %w", what, s.ami.Name, err)
	}
	s.before = s.ami.DeepCopy()
	return nil
}

// leave lets an AMI that is being deleted go when no host of it is left. The
// Region controller takes its releases for inactive, so that its hosts leave as
// their sessions end.
func (r *Reconciler) leave(ctx context.Context, s *scope) error {
	if len(s.hosts) > 0 {
		var all census.Count
		for _, c := range s.counts {
			all = all.Plus(c)
		}
		return &trouble.Waiting{Reason: v1alpha1.ReasonInUse, Message: fmt.Sprintf(
			"Being deleted: %s with %s are left. Sessions run until they end or are deleted.",
			trouble.Count(len(s.hosts), "host"), trouble.Count(all.Claimed, "session"))}
	}
	// The cache may not have heard of the last Instances yet: only the API server
	// can say that there is none.
	var live v1alpha1.InstanceList
	if err := r.Live.List(ctx, &live, client.MatchingFields{"spec.amiName": s.ami.Name}, client.Limit(1)); err != nil {
		return fmt.Errorf("looking for Instances of AMI %s: %w", s.ami.Name, err)
	}
	if len(live.Items) > 0 {
		return &trouble.Waiting{Reason: v1alpha1.ReasonInUse, Message: "Being deleted: waits for its last hosts to go."}
	}
	if !controllerutil.RemoveFinalizer(s.ami, v1alpha1.AMIFinalizer) {
		s.gone = true // Another finalizer holds it; there is nothing left to do here.
		return nil
	}
	if err := r.writeMetadata(ctx, s, "removing the finalizer of"); err != nil {
		return client.IgnoreNotFound(err)
	}
	s.gone = true
	return nil
}

// ownCommitHash stalls an AMI whose commit hash an older one offers, or rolls
// out, in one of the same regions: a client with that hash must find one channel.
func (r *Reconciler) ownCommitHash(_ context.Context, s *scope) error {
	for i := range s.others {
		owner := &s.others[i]
		if !older(owner, s.ami) || !owner.DeletionTimestamp.IsZero() {
			continue
		}
		for _, image := range s.ami.Spec.Images {
			if offers(owner, s.ami.Spec.ClientCommitHash, image.Region) {
				return &trouble.Stalled{Reason: v1alpha1.ReasonCommitHashTaken, Message: fmt.Sprintf(
					"Commit hash %s belongs to AMI %s in %s: give this AMI another hash, or take the region out of one of them.",
					s.ami.Spec.ClientCommitHash, owner.Name, image.Region)}
			}
		}
	}
	return nil
}

func older(a, b *v1alpha1.AMI) bool {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.Name < b.Name
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}

// offers says whether a channel has, or wants, a release of that hash in a region.
func offers(ami *v1alpha1.AMI, hash, region string) bool {
	if ami.Spec.ClientCommitHash == hash && ami.Image(region) != nil {
		return true
	}
	for i := range ami.Status.Revisions {
		revision := &ami.Status.Revisions[i]
		live := revision.State == v1alpha1.RevisionActive || revision.State == v1alpha1.RevisionWarming
		if live && revision.ClientCommitHash == hash && revision.Row(region) != nil {
			return true
		}
	}
	return false
}
