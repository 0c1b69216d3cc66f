// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

const (
	closedBar    = 0.7
	closedP99Bar = 3
	// writesBar is the most writes of the manager from a session's creation to Running.
	writesBar   = 4.2
	fiveMinutes = 5 * time.Minute
)

// benchClosed has clients that each create a session, wait until they see it
// assigned, and create the next.
func benchClosed(ctx context.Context, a *assignment) error {
	hosts, err := a.listHosts(ctx)
	if err != nil {
		return err
	}
	stopProfile := a.profile(ctx, "closed")
	w, samples, err := a.closedLoop(ctx, "the manager", clients, 0, a.sessions, a.createSession)
	if err != nil {
		return err
	}
	if err := stopProfile(); err != nil {
		return err
	}
	writes, err := a.writes(ctx, w)
	if err != nil {
		return err
	}
	perSession, err := a.writesPerSession(ctx, w)
	if err != nil {
		return err
	}

	if err := a.standBy(ctx); err != nil {
		return err
	}
	b, err := a.newBareSessions(ctx, hosts, writes)
	if err != nil {
		return err
	}
	b.startAfter(ctx)
	bare, bareSamples, err := a.closedLoop(ctx, "bare clients", clients, 0, a.sessions, func(ctx context.Context, i int) (types.NamespacedName, error) {
		m, err := b.createCopy(ctx, a.session("s", i))
		if err != nil {
			return types.NamespacedName{}, err
		}
		if err := b.assign(ctx, keyOf(m), m.ResourceVersion); err != nil {
			return types.NamespacedName{}, err
		}
		return keyOf(m), b.follow(ctx, keyOf(m))
	})
	if err != nil {
		return err
	}
	if err := b.finish(); err != nil {
		return err
	}
	bare.end = time.Now()
	a.reportClosed(w, bare, samples, bareSamples, perSession)
	return nil
}

// createSession creates the session of that number.
func (a *assignment) createSession(ctx context.Context, i int) (types.NamespacedName, error) {
	m := a.session("s", i)
	if err := persist(func() error { return a.people.Create(ctx, m) }); err != nil {
		return types.NamespacedName{}, fmt.Errorf("creating session %d: %w", i, err)
	}
	return keyOf(m), nil
}

// persist tries again when a webhook was not answered in time, as may happen on a
// machine that is busy with other things.
func persist(create func() error) error {
	return retry.OnError(retry.DefaultBackoff, func(err error) bool {
		return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook")
	}, create)
}

// closedLoop has that many clients create the sessions of these numbers and see them
// assigned. It measures from before the creation.
func (a *assignment) closedLoop(ctx context.Context, who string, clients, from, to int, create func(ctx context.Context, i int) (types.NamespacedName, error)) (window, latencies, error) {
	w, err := a.open()
	if err != nil {
		return w, nil, err
	}
	samples := make([]time.Duration, to-from)
	err = inParallel(ctx, clients, to-from, func(ctx context.Context, i int) error {
		began := time.Now()
		key, err := create(ctx, from+i)
		if err != nil {
			return err
		}
		at, err := a.watch.awaitAssigned(ctx, key)
		samples[i] = at.Sub(began)
		return err
	})
	if err != nil {
		return w, nil, err
	}
	return w, newLatencies(samples), a.close(&w, who, time.Now())
}

func (a *assignment) reportClosed(w, bare window, samples, bareSamples latencies, perSession float64) {
	managers, bares := perSecond(a.sessions, w.end.Sub(w.begin)), perSecond(a.sessions, bare.end.Sub(bare.begin))
	share := ratio(managers, bares)
	p99, bareP99 := samples.at(0.99), bareSamples.at(0.99)
	slower := ratio(float64(p99), float64(bareP99))
	a.table.add(fmt.Sprintf("closed loop, %d clients, sessions/s", clients), fmt.Sprintf("%.0f", managers), fmt.Sprintf("%.0f", bares),
		fmt.Sprintf("%.2f", share), met(share >= closedBar, fmt.Sprintf("≥ %.1f", closedBar)))
	a.table.add("  p50, ms", millis(samples.at(0.5)), millis(bareSamples.at(0.5)),
		fmt.Sprintf("%.2f", ratio(float64(samples.at(0.5)), float64(bareSamples.at(0.5)))), "")
	a.table.add("  p99, ms", millis(p99), millis(bareP99), fmt.Sprintf("%.2f", slower), met(slower <= closedP99Bar, fmt.Sprintf("≤ %d", closedP99Bar)))
	a.table.add("  writes per session, create to Running", fmt.Sprintf("%.2f", perSession), "", "", met(perSession <= writesBar, fmt.Sprintf("≤ %.1f", writesBar)))
	a.result.set("closed_sessions", "%d", a.sessions)
	a.result.set("closed_per_s", "%.1f", managers)
	a.result.set("closed_bare_per_s", "%.1f", bares)
	a.result.set("closed_ratio", "%.3f", share)
	a.result.set("closed_p50_ms", "%s", millis(samples.at(0.5)))
	a.result.set("closed_p99_ms", "%s", millis(p99))
	a.result.set("closed_bare_p50_ms", "%s", millis(bareSamples.at(0.5)))
	a.result.set("closed_bare_p99_ms", "%s", millis(bareP99))
	a.result.set("closed_p99_ratio", "%.2f", slower)
	a.result.set("writes_per_session", "%.2f", perSession)
}
