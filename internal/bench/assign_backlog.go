// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// backlogBar is the least share of the bare writes' speed.
const backlogBar = 0.7

// benchBacklog has sessions wait in regions that are disabled, with warm hosts in
// them, and enables the regions at once.
func benchBacklog(ctx context.Context, a *assignment) error {
	if err := a.disown(ctx, a.hosts); err != nil {
		return err
	}
	if err := a.disable(ctx); err != nil {
		return err
	}
	if err := a.fillQueue(ctx); err != nil {
		return err
	}
	var sessions v1alpha1.MandelboxList
	if err := a.people.List(ctx, &sessions); err != nil {
		return fmt.Errorf("listing Mandelboxes: %w", err)
	}
	hosts, err := a.listHosts(ctx)
	if err != nil {
		return err
	}
	w, err := a.drainQueue(ctx)
	if err != nil {
		return err
	}
	writes, err := a.writes(ctx, w)
	if err != nil {
		return err
	}

	if err := a.standBy(ctx); err != nil {
		return err
	}
	bare, err := a.bareBacklog(ctx, sessions.Items, hosts, writes)
	if err != nil {
		return err
	}
	a.reportBacklog(w, bare, len(writes))
	return nil
}

// fillQueue creates the sessions and waits until all of them wait.
func (a *assignment) fillQueue(ctx context.Context) error {
	err := inParallel(ctx, clients, a.sessions, func(ctx context.Context, i int) error {
		if err := a.people.Create(ctx, a.session("s", i)); err != nil {
			return fmt.Errorf("creating session %d: %w", i, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.watch.await(ctx, 2*time.Minute, "all sessions to wait", func(waiting, assigned, _ int) bool {
		return waiting == a.sessions && assigned == 0
	})
}

// drainQueue enables the regions and waits until all sessions were seen assigned.
func (a *assignment) drainQueue(ctx context.Context) (window, error) {
	stopProfile := a.profile(ctx, "backlog")
	w, err := a.open()
	if err != nil {
		return w, err
	}
	if err := a.enable(ctx, true); err != nil {
		return w, err
	}
	err = a.watch.await(ctx, 5*time.Minute, "all sessions to be assigned", func(_, assigned, _ int) bool { return assigned == a.sessions })
	if err != nil {
		return w, err
	}
	if err := a.close(&w, "the manager", time.Now()); err != nil {
		return w, err
	}
	return w, stopProfile()
}

// bareBacklog makes the same writes on copies of the same objects.
func (a *assignment) bareBacklog(ctx context.Context, sessions []v1alpha1.Mandelbox, hosts []v1alpha1.Instance, writes []auditWrite) (window, error) {
	p, err := newReplay(a.bare)
	if err != nil {
		return window{}, err
	}
	if err := p.copyHosts(ctx, hosts); err != nil {
		return window{}, err
	}
	if err := p.copySessions(ctx, sessions); err != nil {
		return window{}, err
	}
	for _, w := range writes {
		if _, err := p.add(w); err != nil {
			return window{}, err
		}
	}
	if err := p.prepare(ctx); err != nil {
		return window{}, err
	}
	w, err := a.open()
	if err != nil {
		return w, err
	}
	if err := p.all(ctx, clients); err != nil {
		return w, err
	}
	err = a.watch.await(ctx, time.Minute, "all copies to be assigned", func(_, assigned, _ int) bool { return assigned == 2*a.sessions })
	if err != nil {
		return w, err
	}
	return w, a.close(&w, "bare clients", time.Now())
}

func (a *assignment) reportBacklog(w, bare window, writes int) {
	managers, bares := perSecond(a.sessions, w.end.Sub(w.begin)), perSecond(a.sessions, bare.end.Sub(bare.begin))
	share := ratio(managers, bares)
	a.table.add(fmt.Sprintf("backlog of %d, assigned/s", a.sessions), fmt.Sprintf("%.0f", managers), fmt.Sprintf("%.0f", bares),
		fmt.Sprintf("%.2f", share), met(share >= backlogBar, fmt.Sprintf("≥ %.1f", backlogBar)))
	a.result.set("backlog_sessions", "%d", a.sessions)
	a.result.set("backlog_per_s", "%.1f", managers)
	a.result.set("backlog_bare_per_s", "%.1f", bares)
	a.result.set("backlog_ratio", "%.3f", share)
	a.result.set("backlog_writes_per_session", "%.2f", ratio(float64(writes), float64(a.sessions)))
}
