// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
)

// rebuildClaims finds whose sessions run on an adopted host. They get their claims in
// the very write that makes the host Active: before it none is accepted, and after it
// others could take their slots.
func (r *Reconciler) rebuildClaims(ctx context.Context, s *scope) error {
	s.warmReason, s.warmMessage = v1alpha1.ReasonAdopted, "looking for the sessions that run on the host"
	if s.member == nil || s.cloud == nil || !s.cloud.Observer().TasksSynced() {
		s.after(time.Second)
		return nil
	}
	claims, err := r.committedTo(ctx, s.instance.Name)
	if err != nil {
		return err
	}
	for _, task := range s.cloud.Observer().Tasks() {
		if task.ContainerHostARN != s.member.ARN {
			continue
		}
		m, attempt, err := r.sessionOf(ctx, task)
		if err != nil {
			return err
		}
		if claim, ok := claimFor(m, task, attempt); ok && !m.Committed() {
			claims = append(claims, claim)
		}
	}
	s.warm, s.rebuilt = true, distinct(claims)
	return nil
}

// claimFor is the claim that a session's task speaks for; ok is false if none, or one
// that was given up since.
func claimFor(m *v1alpha1.Mandelbox, task cloud.Task, attempt int32) (claim v1alpha1.Claim, ok bool) {
	slot, err := strconv.ParseInt(task.Tags[cloud.TagSlot], 10, 32)
	if m == nil || err != nil || slot < 0 || m.Status.Attempt >= attempt {
		return v1alpha1.Claim{}, false
	}
	return v1alpha1.Claim{Slot: int32(slot), Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), Attempt: attempt}, true
}

// committedTo are the claims of the sessions that say themselves that they hold a
// slot of the Instance.
func (r *Reconciler) committedTo(ctx context.Context, instance string) ([]v1alpha1.Claim, error) {
	var list v1alpha1.MandelboxList
	if err := r.List(ctx, &list, client.MatchingFields{index.MandelboxByInstance: instance}); err != nil {
		return nil, fmt.Errorf("listing the sessions of the Instance: %w", err)
	}
	var claims []v1alpha1.Claim
	for i := range list.Items {
		if m := &list.Items[i]; m.Committed() && !m.Finished() {
			claims = append(claims, v1alpha1.Claim{
				Slot: *m.Status.Slot, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), Attempt: m.Status.Attempt,
			})
		}
	}
	return claims, nil
}

// distinct puts the claims in the order of their slots; of two for one slot the first
// stays.
func distinct(claims []v1alpha1.Claim) []v1alpha1.Claim {
	slices.SortStableFunc(claims, func(a, b v1alpha1.Claim) int { return cmp.Compare(a.Slot, b.Slot) })
	return slices.CompactFunc(claims, func(a, b v1alpha1.Claim) bool { return a.Slot == b.Slot })
}

// claimRebuilt takes in the claims of the sessions that run on an adopted host, as far
// as it has such slots.
func claimRebuilt(s *scope) {
	for _, claim := range s.rebuilt {
		if claim.Slot < s.instance.Slots() {
			s.instance.Status.Claims = append(s.instance.Status.Claims, claim)
		}
	}
}

// runs says whether the task of a claim runs on the host.
func (s *scope) runs(claim v1alpha1.Claim) bool {
	if s.cloud == nil || s.member == nil {
		return false
	}
	return slices.ContainsFunc(s.cloud.Observer().TasksStartedBy(cloud.StartedBy(claim.UID, claim.Attempt)), func(task cloud.Task) bool {
		return task.ContainerHostARN == s.member.ARN && !task.Stopped() && task.DesiredStatus != cloud.TaskStopped
	})
}
