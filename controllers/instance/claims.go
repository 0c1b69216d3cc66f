// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// reservationGrace is how long a reservation may go without its commit before it
// is outdated: a commit follows its reserve within milliseconds.
const reservationGrace = 3 * time.Second

// releaseClaims frees the slots of sessions that are over, gone, or elsewhere. The
// cache says which to look at; a live read decides.
func (r *Reconciler) releaseClaims(ctx context.Context, s *scope) error {
	var released []v1alpha1.Claim
	for _, claim := range s.instance.Status.Claims {
		var m v1alpha1.Mandelbox
		err := r.Get(ctx, keyOfClaim(claim), &m)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading the Mandelbox of slot %d: %w", claim.Slot, err)
		}
		if err == nil && holds(&m, s.instance.Name, claim) {
			continue
		}
		free, err := r.releasable(ctx, s, claim)
		if err != nil {
			return err
		}
		if free {
			released = append(released, claim)
		}
	}
	if len(released) == 0 {
		return nil
	}
	after := s.before.DeepCopy()
	after.Status.Claims = slices.DeleteFunc(after.Status.Claims, func(c v1alpha1.Claim) bool { return slices.Contains(released, c) })
	after.Status.Claimed = ptr.To(int32(len(after.Status.Claims)))
	if err := status.Patch(ctx, r.Client, s.before, after, true); err != nil {
		return fmt.Errorf("releasing %d slots: %w", len(released), err)
	}
	s.before, s.instance = after, after.DeepCopy()
	return nil
}

func keyOfClaim(c v1alpha1.Claim) types.NamespacedName {
	return types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
}

// holds says whether the session has the right to the slot.
func holds(m *v1alpha1.Mandelbox, instance string, c v1alpha1.Claim) bool {
	return string(m.UID) == c.UID && !m.Finished() && m.Status.InstanceName == instance &&
		m.Status.Attempt == c.Attempt && m.Status.Slot != nil && *m.Status.Slot == c.Slot
}

// releasable says whether a claim can go. Its session is read live; one that is
// alive and not committed is in the middle of its assignment, or was left there
// by a crash: after a grace its attempt is raised first, so that a commit that is
// still on its way must fail.
func (r *Reconciler) releasable(ctx context.Context, s *scope, claim v1alpha1.Claim) (bool, error) {
	m := &v1alpha1.Mandelbox{}
	err := r.Live.Get(ctx, keyOfClaim(claim), m)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading the Mandelbox of slot %d live: %w", claim.Slot, err)
	case string(m.UID) != claim.UID, m.Finished():
		return true, nil
	case holds(m, s.instance.Name, claim):
		return false, nil
	case m.Status.Attempt >= claim.Attempt:
		return true, nil // Placed anew, or outdated.
	}
	if s.runs(claim) {
		// Its session lost its status, and takes the claim up again.
		s.after(reservationGrace)
		return false, nil
	}
	if left := r.reservedFor(s, claim); left > 0 {
		s.after(left)
		return false, nil
	}
	after := m.DeepCopy()
	after.Status.Attempt = claim.Attempt
	if err := status.Patch(ctx, r.Client, m, after, true); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			s.after(conflictPause)
			return false, nil
		}
		return false, fmt.Errorf("outdating attempt %d of %s/%s: %w", claim.Attempt, claim.Namespace, claim.Name, err)
	}
	return true, nil
}

// reservedFor is how much of its grace a reservation has left.
func (r *Reconciler) reservedFor(s *scope, claim v1alpha1.Claim) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reserved == nil {
		r.reserved = map[reservation]time.Time{}
	}
	key := reservation{s.instance.Name, claim.UID, claim.Attempt}
	since, known := r.reserved[key]
	if !known {
		r.reserved[key] = s.now
		return reservationGrace
	}
	left := since.Add(reservationGrace).Sub(s.now)
	if left <= 0 {
		delete(r.reserved, key)
	}
	return left
}

// reservation is a claim that was seen without its commit.
type reservation struct {
	instance, uid string
	attempt       int32
}

// forgetReservations drops what is remembered of a host's reservations.
func (r *Reconciler) forgetReservations(instance string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.reserved {
		if key.instance == instance {
			delete(r.reserved, key)
		}
	}
}
