// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// The parts of bench-assign.
const (
	partBacklog = "backlog"
	partClosed  = "closed"
	partSteady  = "steady"
	partCurve   = "curve"
)

var assignParts = []string{partBacklog, partClosed, partSteady, partCurve}

// benchAssign measures how fast sessions get their slots, part by part, each in a
// world of its own.
func benchAssign(ctx context.Context, r *run) error {
	for _, part := range []struct {
		name     string
		sessions int
		run      func(context.Context, *assignment) error
	}{
		{partBacklog, r.size(2000, 48), benchBacklog},
		{partClosed, r.size(3000, 96), benchClosed},
		{partSteady, steadyRate * r.size(60, 3), benchSteady},
		{partCurve, len(curveClients) * r.size(300, 12), benchCurve},
	} {
		if !r.has(part.name) {
			continue
		}
		if r.Sessions > 0 {
			part.sessions = r.Sessions
		}
		r.say("%s: %d sessions", part.name, part.sessions)
		if err := r.assign(ctx, part.name, part.sessions, part.run); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// assignment is one part of bench-assign.
type assignment struct {
	*world
	part     string
	sessions int
	manager  *process
	hosts    []v1alpha1.Instance
	watch    *sessionWatch
}

// assign runs a part in a world with a fleet that has room for its sessions.
func (r *run) assign(ctx context.Context, part string, sessions int, f func(context.Context, *assignment) error) (err error) {
	// A status is written past the webhooks, and the backlog is made of sessions in
	// disabled regions, which they would refuse.
	w, err := newWorld(ctx, r, worldOptions{webhooks: part != partBacklog})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	a := &assignment{world: w, part: part, sessions: sessions}
	if a.manager, a.hosts, err = w.warmFleet(ctx, hostsFor(sessions)); err != nil {
		return err
	}
	r.say("%s: %d hosts are Active", part, len(a.hosts))
	if err := w.cool(ctx); err != nil {
		return err
	}
	if err := w.aws.limit(ctx, true); err != nil {
		return err
	}
	if err := a.watchAnew(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.watch.stop()) }()
	return f(ctx, a)
}

// watchAnew watches sessions, from what there is by now.
func (a *assignment) watchAnew(ctx context.Context) (err error) {
	a.watch, err = watchSessions(ctx, a.plane.Config(), nil)
	return err
}

// cool waits until the manager looks at its new hosts no more: it does so every
// second for half a minute, and warm hosts are older than that.
func (w *world) cool(ctx context.Context) error {
	const silence = 3 * time.Second
	return w.await(ctx, 2*time.Minute, "the hosts to be left alone", func(ctx context.Context) (bool, error) {
		requests, err := w.aws.requests(ctx)
		if err != nil {
			return false, err
		}
		last := slices.IndexFunc(requests, func(r awsRequest) bool {
			return r.Operation == "DescribeInstances" && time.Since(r.Time) < silence
		})
		return w.Small || last < 0, nil
	})
}

// window is a stretch of time in which something was measured.
type window struct {
	begin, end time.Time
	mark       int64
	used       map[string]usage
}

// open begins a window.
func (a *assignment) open() (window, error) {
	mark, err := a.audit.mark()
	if err != nil {
		return window{}, err
	}
	used, err := a.usages()
	return window{begin: time.Now(), mark: mark, used: used}, err
}

// close ends a window at that time, and says what used the processors.
func (a *assignment) close(w *window, who string, end time.Time) error {
	w.end = end
	used, err := a.usages()
	if err != nil {
		return err
	}
	for name, before := range w.used {
		after := used[name]
		after.cpu -= before.cpu
		used[name] = after
	}
	w.used = used
	a.say("%s: %s took %.2fs; processor time: %s", a.part, who, w.end.Sub(w.begin).Seconds(), describeUsage(used))
	return nil
}

// writes are those of the manager that came within a window and were carried out.
func (a *assignment) writes(ctx context.Context, w window) (done []auditWrite, err error) {
	// A write may be seen on a watch before the audit log has it.
	var conflicts []auditWrite
	err = a.await(ctx, time.Minute, "the audit log", func(context.Context) (bool, error) {
		all, err := a.audit.since(w.mark)
		if err != nil {
			return false, err
		}
		done, conflicts = nil, nil
		assigned := 0
		for _, write := range all {
			switch {
			case write.Received.Before(w.begin) || write.Received.After(w.end):
			case !write.done():
				conflicts = append(conflicts, write)
			default:
				done = append(done, write)
				if write.assigns() {
					assigned++
				}
			}
		}
		return assigned >= a.sessions, nil
	})
	if err == nil {
		a.say("%s: %d writes (%s), of %d bytes on average; %d more failed (%s)", a.part, len(done), describe(mix(done)), bodySize(done), len(conflicts), describe(mix(conflicts)))
	}
	return done, err
}

// standBy ends the manager that leads and starts one that doesn't: it serves the
// same webhooks and has the same watches, and writes nothing. The API server is a new
// one, as it was for the manager: what it has lived through decides how large its heap
// is, and so how often it collects garbage, which takes both cores.
func (a *assignment) standBy(ctx context.Context) error {
	if err := a.stopManager(a.manager); err != nil {
		return err
	}
	if err := a.restartAPIServer(ctx); err != nil {
		return err
	}
	lease := &coordinationv1.Lease{}
	if err := a.people.Get(ctx, leaseKey, lease); err != nil {
		return fmt.Errorf("reading the manager's lease: %w", err)
	}
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = ptr.To("nobody"), ptr.To[int32](24*3600)
	lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
	if err := a.people.Update(ctx, lease); err != nil {
		return fmt.Errorf("taking the manager's lease: %w", err)
	}
	var err error
	if a.manager, err = a.startManager(ctx); err != nil {
		return err
	}
	return a.calm(ctx)
}

// restartAPIServer puts a new API server in the place of the one that runs, and
// watches sessions there.
func (a *assignment) restartAPIServer(ctx context.Context) error {
	if err := a.watch.stop(); err != nil {
		return err
	}
	if err := a.plane.KillAPIServer(ctx); err != nil {
		return err
	}
	if err := a.plane.StartAPIServer(ctx); err != nil {
		return err
	}
	return a.watchAnew(ctx)
}

// calm waits until the API server has done what it does after its start.
func (a *assignment) calm(ctx context.Context) error {
	const pause, little = 2 * time.Second, 100 * time.Millisecond
	last, since := time.Duration(-1), time.Now()
	return a.await(ctx, time.Minute, "the API server to be at rest", func(context.Context) (bool, error) {
		if a.Small || last >= 0 && time.Since(since) < pause {
			return a.Small, nil
		}
		used, err := usageOf(a.plane.PIDs()["kube-apiserver"])
		if err != nil {
			return false, err
		}
		rests := last >= 0 && used.cpu-last < little
		last, since = used.cpu, time.Now()
		return rests, nil
	})
}
