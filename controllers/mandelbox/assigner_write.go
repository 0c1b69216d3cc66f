// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// parallelWrites is how many writes of reservations and commits are under way at
// once.
const parallelWrites = 64

// dispatch has a reservation written. Each host has one write at a time, since the
// next goes by the version that the last one made; what comes meanwhile gathers, and
// is then one write. Hosts don't wait for one another, and neither does the next pass.
func (a *Assigner) dispatch(ctx context.Context, r *reservation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	host := r.instance.Name
	if r.standing {
		a.commitAll(ctx, r.instance, r.claims)
		return
	}
	if gathered, busy := a.writing[host]; busy {
		a.writing[host] = append(gathered, r.claims...)
		return
	}
	a.writing[host] = nil
	a.writers.Go(func() {
		for claims := r.claims; len(claims) > 0; claims = a.gathered(host) {
			a.write(ctx, host, claims)
		}
	})
}

// gathered takes the claims that came for a host during its last write. If there are
// none, the host isn't being written any more.
func (a *Assigner) gathered(host string) []pendingClaim {
	a.mu.Lock()
	defer a.mu.Unlock()
	claims := a.writing[host]
	if len(claims) == 0 {
		delete(a.writing, host)
		return nil
	}
	a.writing[host] = nil
	return claims
}

// inTurn does something when it is its turn.
func (a *Assigner) inTurn(do func()) {
	a.turns <- struct{}{}
	defer func() { <-a.turns }()
	do()
}

// write reserves slots of a host, and has each session's commit follow.
func (a *Assigner) write(ctx context.Context, host string, claims []pendingClaim) {
	a.mu.Lock()
	instance := a.hosts[host]
	a.mu.Unlock()
	if instance == nil {
		a.unreserved(host, claims)
		return // The host is gone.
	}
	r := &reservation{instance: instance, claims: claims}
	var reserved *v1alpha1.Instance
	var err error
	a.inTurn(func() { reserved, err = a.reserve(ctx, r) })
	if err != nil {
		a.refused(ctx, r, err)
		return
	}
	a.mu.Lock()
	a.promises.written(reserved, claims)
	a.mu.Unlock()
	a.observe(reserved)
	a.wakeForThoseAgain(claims)
	for _, c := range claims {
		a.fleet.Confirm(host, c.Slot, string(c.mandelbox.UID))
	}
	a.commitAll(ctx, reserved, claims)
}

// wakeForThoseAgain asks for a pass if one of the sessions was offered again while its
// claim was being written.
func (a *Assigner) wakeForThoseAgain(claims []pendingClaim) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range claims {
		if _, again := a.waiting[c.mandelbox.UID]; again {
			a.Wake()
		}
	}
}

// commitAll has the commit of each claim of a host written.
func (a *Assigner) commitAll(ctx context.Context, i *v1alpha1.Instance, claims []pendingClaim) {
	for _, c := range claims {
		a.writers.Go(func() {
			a.inTurn(func() {
				if err := a.commit(ctx, i, c); err != nil {
					a.tryAgain(ctx, err)
				}
			})
		})
	}
}

// refused puts the sessions of a reservation that was not written back into the queue.
func (a *Assigner) refused(ctx context.Context, r *reservation, err error) {
	if apierrors.IsNotFound(err) {
		// The news of the deletion may have come before that of our last write,
		// which then brought the host back.
		a.forgetHost(r.instance)
	}
	a.unreserved(r.instance.Name, r.claims)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		a.Counts.ReservationConflict(r.instance)
		return // The host has changed; the next pass decides anew.
	}
	a.tryAgain(ctx, fmt.Errorf("reserving %d slots of %s: %w", len(r.claims), r.instance.Name, err))
}

// unreserved gives up claims that were not written.
func (a *Assigner) unreserved(host string, claims []pendingClaim) {
	a.mu.Lock()
	a.promises.unwritten(host, claims)
	for _, c := range claims {
		a.standing.unwritten(host, c.Claim)
	}
	a.mu.Unlock()
	for _, c := range claims {
		a.fleet.Forget(host, c.Slot, string(c.mandelbox.UID))
	}
	a.back(claims...)
}

// tryAgain asks for another pass after an error.
func (a *Assigner) tryAgain(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	logr.FromContextOrDiscard(ctx).WithName("assigner").Error(err, "Some sessions could not be assigned; trying again")
	time.AfterFunc(retryPause, a.Wake)
}
