// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// leaseDuration is controller-runtime's default, retryPeriod the manager's own.
	// See https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/manager#Options.
	leaseDuration, retryPeriod = 15 * time.Second, 250 * time.Millisecond
	killBar                    = leaseDuration + retryPeriod + time.Second
	stopBar                    = retryPeriod + time.Second
	coldBar                    = 10 * time.Second
)

// benchFailover ends the leader of two managers under a trickle of sessions, once
// without a warning and once in order; and starts a manager on a large fleet.
func benchFailover(ctx context.Context, r *run) (err error) {
	hosts, sessions, objects := r.size(2000, 48), r.size(5000, 24), r.size(16000, 96)
	w, err := newWorld(ctx, r, worldOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	perRegion := (hosts + len(w.regions) - 1) / len(w.regions)
	hosts = perRegion * len(w.regions)
	p, err := w.populated(ctx, perRegion, sessions)
	if err != nil {
		return err
	}
	if err := w.aws.limit(ctx, true); err != nil {
		return err
	}
	killed, stopped, err := w.failovers(ctx)
	if err != nil {
		return err
	}
	if err := w.aws.limit(ctx, false); err != nil {
		return err
	}
	if err := p.fill(ctx, objects-hosts); err != nil {
		return err
	}
	r.say("there are %d objects; a manager starts", objects)
	if err := w.aws.limit(ctx, true); err != nil {
		return err
	}
	cold, err := w.coldStart(ctx)
	if err != nil {
		return err
	}
	r.reportFailover(sessions, objects, killed, stopped, cold)
	return nil
}

// trickling creates sessions at the trickle's rate until stop is called, which
// returns what went wrong.
func (w *world) trickling(ctx context.Context, prefix string) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	var stopping atomic.Bool
	go func() {
		ticker := time.NewTicker(time.Second / time.Duration(w.size(trickleRate, 3)))
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				ended <- nil
				return
			}
			if err := w.people.Create(ctx, w.session(prefix, i)); err != nil && !stopping.Load() {
				ended <- fmt.Errorf("creating session %d of the trickle: %w", i, err)
				return
			}
		}
	}()
	return func() error {
		stopping.Store(true)
		cancel()
		return <-ended
	}
}

// failovers ends the leader with SIGKILL, and then its successor with SIGTERM, and
// measures each time how long nothing was assigned.
func (w *world) failovers(ctx context.Context) (killed, stopped time.Duration, err error) {
	leader, err := w.startManager(ctx)
	if err != nil {
		return 0, 0, err
	}
	if err := w.settle(ctx, leader); err != nil {
		return 0, 0, err
	}
	watch, err := watchSessions(ctx, w.plane.Config(), nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, watch.stop()) }()
	stop := w.trickling(ctx, "f")
	defer func() { err = errors.Join(err, stop()) }()
	if killed, leader, err = w.failover(ctx, watch, leader, syscall.SIGKILL); err != nil {
		return 0, 0, err
	}
	if stopped, leader, err = w.failover(ctx, watch, leader, syscall.SIGTERM); err != nil {
		return 0, 0, err
	}
	return killed, stopped, w.stopManager(leader)
}

// failover starts a manager that stands by, ends the leader and waits for the other
// to assign. It returns the time between the last assignment of the one and the
// first of the other, and the other.
func (w *world) failover(ctx context.Context, watch *sessionWatch, leader *process, how syscall.Signal) (time.Duration, *process, error) {
	next, err := w.startManager(ctx)
	if err != nil {
		return 0, nil, err
	}
	// Long enough to have everything in its cache.
	select {
	case <-time.After(time.Duration(w.size(8, 4)) * time.Second):
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	if err := leader.end(how); err != nil {
		return 0, nil, err
	}
	ended := time.Now()
	err = watch.await(ctx, time.Minute, "the next leader to assign", func(_, _, _ int) bool {
		_, after := watch.around(ended)
		return !after.IsZero()
	})
	if err != nil {
		return 0, nil, errors.Join(err, next.failure())
	}
	before, after := watch.around(ended)
	w.say("%s: nothing was assigned for %.2fs", how, after.Sub(before).Seconds())
	return after.Sub(before), next, nil
}

// coldStart starts a manager and waits for its first assignment.
func (w *world) coldStart(ctx context.Context) (took time.Duration, err error) {
	watch, err := watchSessions(ctx, w.plane.Config(), nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, watch.stop()) }()
	stop := w.trickling(ctx, "c")
	defer func() { err = errors.Join(err, stop()) }()
	began := time.Now()
	m, err := w.startManager(ctx)
	if err != nil {
		return 0, err
	}
	err = watch.await(ctx, 2*time.Minute, "the first assignment", func(_, _, _ int) bool {
		_, after := watch.around(began)
		return !after.IsZero()
	})
	if err != nil {
		return 0, errors.Join(err, m.failure())
	}
	_, after := watch.around(began)
	return after.Sub(began), nil
}

func (r *run) reportFailover(sessions, objects int, killed, stopped, cold time.Duration) {
	for _, row := range []struct {
		what, key string
		took, bar time.Duration
	}{
		{fmt.Sprintf("leader killed, %d sessions: nothing assigned for", sessions), "killed_s", killed, killBar},
		{"leader stopped in order: nothing assigned for", "stopped_s", stopped, stopBar},
		{fmt.Sprintf("cold start, %d objects: first assignment after", objects), "cold_s", cold, coldBar},
	} {
		r.table.add(row.what, fmt.Sprintf("%.2fs", row.took.Seconds()), row.bar.String(), "", met(row.took <= row.bar, "≤ "+row.bar.String()))
		r.result.set(row.key, "%.2f", row.took.Seconds())
	}
	r.result.set("sessions", "%d", sessions)
	r.result.set("objects", "%d", objects)
}
