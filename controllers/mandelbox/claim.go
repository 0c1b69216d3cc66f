// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// commitTries is how often a commit is tried on newer versions of the Mandelbox.
const commitTries = 3

// reservation is what one pass gives of one host.
type reservation struct {
	instance *v1alpha1.Instance
	claims   []pendingClaim
	// standing says that the host has the claims already: only the commits lack.
	standing bool
}

// pendingClaim is one claim of a reservation, with the version of the Mandelbox
// that was read before it.
type pendingClaim struct {
	v1alpha1.Claim
	mandelbox *v1alpha1.Mandelbox
}

func (r *reservation) add(m *v1alpha1.Mandelbox, slot, attempt int32) v1alpha1.Claim {
	claim := v1alpha1.Claim{Slot: slot, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), Attempt: attempt}
	r.claims = append(r.claims, pendingClaim{mandelbox: m, Claim: claim})
	return claim
}

// reserve writes the claims on the Instance, guarded by its resourceVersion. When
// that is behind, it reads the newest version once and tries on it if the same
// slots are free there; and if the claims are there already, that is as good.
func (a *Assigner) reserve(ctx context.Context, r *reservation) (*v1alpha1.Instance, error) {
	reserved, err := a.reserveOn(ctx, r.instance, r.claims)
	if err == nil || apierrors.IsNotFound(err) {
		return reserved, err
	}
	live := &v1alpha1.Instance{}
	if err := a.Live.Get(ctx, client.ObjectKeyFromObject(r.instance), live); err != nil {
		return nil, fmt.Errorf("reading the newest version: %w", err)
	}
	a.observe(live)
	switch {
	case holdsAll(live, r.claims):
		return live, nil // It was written, and only the answer was lost.
	case apierrors.IsConflict(err) && fits(live, r.claims):
		return a.reserveOn(ctx, live, r.claims)
	}
	return nil, err
}

func holdsAll(i *v1alpha1.Instance, claims []pendingClaim) bool {
	return !slices.ContainsFunc(claims, func(c pendingClaim) bool { return !slices.Contains(i.Status.Claims, c.Claim) })
}

func (a *Assigner) reserveOn(ctx context.Context, i *v1alpha1.Instance, claims []pendingClaim) (*v1alpha1.Instance, error) {
	after := i.DeepCopy()
	for _, c := range claims {
		after.Status.Claims = append(after.Status.Claims, c.Claim)
	}
	slices.SortFunc(after.Status.Claims, func(x, y v1alpha1.Claim) int { return int(x.Slot - y.Slot) })
	after.Status.Claimed = ptr.To(int32(len(after.Status.Claims)))
	if err := status.Patch(ctx, a.Client, i, after, true); err != nil {
		return nil, err
	}
	return after, nil
}

// fits says whether the host still takes sessions and has the slots free.
func fits(i *v1alpha1.Instance, claims []pendingClaim) bool {
	return i.Open() && !slices.ContainsFunc(claims, func(c pendingClaim) bool {
		return c.Slot >= i.Slots() || slices.ContainsFunc(i.Status.Claims, func(taken v1alpha1.Claim) bool {
			return taken.Slot == c.Slot
		})
	})
}

// commit writes the assignment on the Mandelbox. Its guard is the resourceVersion
// read before the reserve. When that is behind, a newer version may be committed
// just as well as long as nobody has outdated the attempt: a reservation is
// released only after the attempt was raised, which this version would show, or
// which will make this write fail. A commit that could not be written is tried again
// by a later pass, on the claim that stands.
func (a *Assigner) commit(ctx context.Context, i *v1alpha1.Instance, c pendingClaim) error {
	m := c.mandelbox
	for range commitTries {
		err := a.commitOn(ctx, i, m, c.Claim)
		switch {
		case err == nil:
			return nil
		case apierrors.IsNotFound(err):
			return nil // Deleted; the Instance's controller releases the claim.
		case !apierrors.IsConflict(err):
			a.back(c)
			return fmt.Errorf("committing %s/%s to slot %d of %s: %w", m.Namespace, m.Name, c.Slot, i.Name, err)
		}
		m = &v1alpha1.Mandelbox{}
		if err := a.Live.Get(ctx, client.ObjectKeyFromObject(c.mandelbox), m); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			a.back(c)
			return fmt.Errorf("reading %s/%s live: %w", c.Namespace, c.Name, err)
		}
		if string(m.UID) != c.UID || !m.DeletionTimestamp.IsZero() || m.Finished() || m.Committed() || m.Status.Attempt >= c.Attempt {
			return nil // Nobody waits for this slot; the reconciler knows what is next.
		}
	}
	a.back(c)
	return nil
}

func (a *Assigner) commitOn(ctx context.Context, i *v1alpha1.Instance, m *v1alpha1.Mandelbox, claim v1alpha1.Claim) error {
	after := m.DeepCopy()
	setAssigned(after, i, claim, metav1.NewTime(a.Clock.Now()))
	if err := status.Patch(ctx, a.Client, m, after, true); err != nil {
		return err
	}
	a.written.note(after)
	return nil
}
