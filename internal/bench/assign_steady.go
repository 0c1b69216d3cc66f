// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	// steadyRate is how many sessions are created each second.
	steadyRate   = 50
	steadyP50Bar = 2
	steadyP99Bar = 4
)

// benchSteady has sessions come at a steady rate, whatever becomes of them.
func benchSteady(ctx context.Context, a *assignment) error {
	hosts, err := a.listHosts(ctx)
	if err != nil {
		return err
	}
	stopProfile := a.profile(ctx, "steady")
	w, samples, err := a.steadily(ctx, "the manager", a.createSession)
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
	if err := a.standBy(ctx); err != nil {
		return err
	}
	bareSamples, err := a.bareSteady(ctx, hosts, writes)
	if err != nil {
		return err
	}
	a.reportSteady(samples, bareSamples)
	return nil
}

// bareSteady has the copies come at the same rate, and a bare controller that sees
// each on its watch and makes the writes that the manager made.
func (a *assignment) bareSteady(ctx context.Context, hosts []v1alpha1.Instance, writes []auditWrite) (latencies, error) {
	b, err := a.newBareSessions(ctx, hosts, writes)
	if err != nil {
		return nil, err
	}
	var handling sync.WaitGroup
	failed := make(chan error, 1)
	watch, err := watchSessions(ctx, b.config, func(m *v1alpha1.Mandelbox) {
		key := keyOf(m)
		if b.sessions[key] == nil {
			return // Not a copy.
		}
		handling.Go(func() {
			err := b.assign(ctx, key, m.ResourceVersion)
			if err == nil {
				err = b.follow(ctx, key)
			}
			if err != nil {
				select {
				case failed <- err:
				default: // One failure is enough to tell.
				}
			}
		})
	})
	if err != nil {
		return nil, err
	}
	b.startAfter(ctx)
	_, samples, err := a.steadily(ctx, "a bare controller", func(ctx context.Context, i int) (types.NamespacedName, error) {
		m, err := b.createCopy(ctx, a.session("s", i))
		if err != nil {
			return types.NamespacedName{}, err
		}
		return keyOf(m), nil
	})
	err = errors.Join(err, watch.stop())
	handling.Wait()
	err = errors.Join(err, b.finish())
	select {
	case first := <-failed:
		err = errors.Join(err, first)
	default:
	}
	return samples, err
}

// steadily is what is measured, with a manager or with bare clients.
func (a *assignment) steadily(ctx context.Context, who string, create func(ctx context.Context, i int) (types.NamespacedName, error)) (window, latencies, error) {
	w, err := a.open()
	if err != nil {
		return w, nil, err
	}
	samples, _, err := steadily(ctx, a.watch, steadyRate, a.sessions, create)
	if err != nil {
		return w, nil, err
	}
	return w, samples, a.close(&w, who, time.Now())
}

// steadily creates sessions at the rate, and measures from each creation's answer
// until the session is seen assigned; and how long the creations took, which is the
// API server's share alone.
func steadily(ctx context.Context, seen *sessionWatch, rate, sessions int, create func(ctx context.Context, i int) (types.NamespacedName, error)) (assigned, created latencies, err error) {
	assignments, creations := make([]time.Duration, sessions), make([]time.Duration, sessions)
	begin := time.Now()
	err = inParallel(ctx, sessions, sessions, func(ctx context.Context, i int) error {
		select {
		case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate)))):
		case <-ctx.Done():
			return ctx.Err()
		}
		began := time.Now()
		key, err := create(ctx, i)
		if err != nil {
			return err
		}
		answered := time.Now()
		at, err := seen.awaitAssigned(ctx, key)
		// It may be seen assigned before its creation is answered.
		assignments[i], creations[i] = max(0, at.Sub(answered)), answered.Sub(began)
		return err
	})
	return newLatencies(assignments), newLatencies(creations), err
}

func (a *assignment) reportSteady(samples, bareSamples latencies) {
	for _, quantile := range []struct {
		name string
		q    float64
		bar  float64
	}{{"p50", 0.5, steadyP50Bar}, {"p99", 0.99, steadyP99Bar}} {
		managers, bares := samples.at(quantile.q), bareSamples.at(quantile.q)
		slower := ratio(float64(managers), float64(bares))
		a.table.add(fmt.Sprintf("steady %d/s, %s to Assigned, ms", steadyRate, quantile.name), millis(managers), millis(bares),
			fmt.Sprintf("%.2f", slower), met(slower <= quantile.bar, fmt.Sprintf("≤ %.0f", quantile.bar)))
		a.result.set("steady_"+quantile.name+"_ms", "%s", millis(managers))
		a.result.set("steady_bare_"+quantile.name+"_ms", "%s", millis(bares))
		a.result.set("steady_"+quantile.name+"_ratio", "%.2f", slower)
	}
}
