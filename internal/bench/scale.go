// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

const (
	scaleP99Bar    = 1.5
	scaleMemoryBar = 300e6
	decisionBar    = 3
	// trickleRate is how many sessions are created each second while the latency is
	// measured: few, so that it is the fleet's size that shows, not the load.
	trickleRate = 10
	// tricklePasses is how often they come: a p99 of the sessions of one pass alone
	// was now 23 and now 39 ms, for one and the same fleet.
	tricklePasses = 3
)

// stage is one size of the fleet, and what was measured at it.
type stage struct {
	hosts, sessions int
	p50, p99        time.Duration
	// create99 is how long the creations of the same sessions took.
	create99       time.Duration
	cpu            float64
	resident, peak int64
}

// benchScale grows a fleet and measures at each size.
func benchScale(ctx context.Context, r *run) (err error) {
	w, err := newWorld(ctx, r, worldOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	trickle := trickleRate * r.size(60, 2)
	stages := []stage{{hosts: r.size(100, 6)}, {hosts: r.size(1000, 12)}, {hosts: r.size(2000, 18)}}
	var p *populator
	for i := range stages {
		perRegion := (stages[i].hosts + len(w.regions) - 1) / len(w.regions)
		stages[i].hosts = perRegion * len(w.regions)
		// Room for the trickle, and for the model.
		stages[i].sessions = max(1, stages[i].hosts*slotsPerHost-trickle-4*len(w.regions))
		if p, err = w.grow(ctx, p, perRegion, stages[i].sessions); err != nil {
			return err
		}
		if err := w.measureStage(ctx, &stages[i], trickle); err != nil {
			return fmt.Errorf("%d hosts: %w", stages[i].hosts, err)
		}
	}
	decisions := measureDecisions()
	r.reportScale(stages, decisions)
	return nil
}

// grow makes the fleet larger, and leaves it without a manager.
func (w *world) grow(ctx context.Context, p *populator, hostsPerRegion, sessions int) (*populator, error) {
	if p == nil {
		return w.populated(ctx, hostsPerRegion, sessions)
	}
	m, err := w.startManager(ctx)
	if err != nil {
		return p, err
	}
	if err := w.resize(ctx, hostsPerRegion); err != nil {
		return p, err
	}
	if _, err := w.awaitHosts(ctx, m, hostsPerRegion*len(w.regions)); err != nil {
		return p, err
	}
	w.say("%d hosts are Active", hostsPerRegion*len(w.regions))
	if err := w.stopManager(m); err != nil {
		return p, err
	}
	if err := p.fill(ctx, sessions); err != nil {
		return p, err
	}
	w.say("%d sessions run", sessions)
	return p, nil
}

// measureStage starts a manager on the fleet as it is, and measures it at rest and
// while a few sessions come; these leave again.
func (w *world) measureStage(ctx context.Context, s *stage, trickle int) error {
	m, err := w.startManager(ctx)
	if err != nil {
		return err
	}
	if err := w.settle(ctx, m); err != nil {
		return err
	}
	rest := time.Duration(w.size(20, 2)) * time.Second
	before, err := usageOf(m.pid())
	if err != nil {
		return err
	}
	select {
	case <-time.After(rest):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := usageOf(m.pid())
	if err != nil {
		return err
	}
	s.cpu = ratio(float64(after.cpu-before.cpu), float64(rest))
	if err := w.measureTrickle(ctx, s, m, trickle); err != nil {
		return errors.Join(err, m.failure())
	}
	if after, err = usageOf(m.pid()); err != nil {
		return err
	}
	s.resident, s.peak = after.resident, after.peak
	w.say("%d hosts, %d sessions: p50 %s ms, p99 %s ms (creation p99 %s ms), resident %.0f MB (peak %.0f), at rest %.0f thousandths of a core",
		s.hosts, s.sessions, millis(s.p50), millis(s.p99), millis(s.create99), float64(s.resident)/1e6, float64(s.peak)/1e6, 1000*s.cpu)
	return w.stopManager(m)
}

// measureTrickle has sessions come at a low rate and measures, from each creation's
// answer, until they are seen assigned. Then they leave, and others come.
func (w *world) measureTrickle(ctx context.Context, s *stage, m *process, trickle int) (err error) {
	watch, err := watchSessions(ctx, w.plane.Config(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.stop()) }()
	var samples, creations latencies
	stopProfile := w.profile(ctx, fmt.Sprintf("%d-hosts", s.hosts))
	for pass := range tricklePasses {
		prefix := fmt.Sprintf("t%d-%d", s.hosts, pass)
		some, created, err := steadily(ctx, watch, trickleRate, trickle, func(ctx context.Context, i int) (types.NamespacedName, error) {
			m := w.session(prefix, i)
			return keyOf(m), w.people.Create(ctx, m)
		})
		if err != nil {
			return err
		}
		w.say("pass %d of %d: p99 %s ms (creation p99 %s ms)", pass+1, tricklePasses, millis(some.at(0.99)), millis(created.at(0.99)))
		samples, creations = append(samples, some...), append(creations, created...)
		if err := w.leave(ctx, watch, prefix, trickle); err != nil {
			return err
		}
		if err := w.settle(ctx, m); err != nil {
			return err
		}
	}
	samples, creations = newLatencies(samples), newLatencies(creations)
	s.p50, s.p99, s.create99 = samples.at(0.5), samples.at(0.99), creations.at(0.99)
	return stopProfile()
}

// leave deletes the first n sessions of a prefix, and waits until they are gone.
func (w *world) leave(ctx context.Context, watch *sessionWatch, prefix string, n int) error {
	return inParallel(ctx, clients, n, func(ctx context.Context, i int) error {
		m := w.session(prefix, i)
		if err := w.people.Delete(ctx, m); err != nil {
			return fmt.Errorf("deleting session %s: %w", m.Name, err)
		}
		return watch.awaitGone(ctx, keyOf(m))
	})
}

// decision is how long one takes among that many hosts.
type decision struct {
	hosts int
	takes time.Duration
}

// measureDecisions times the choice of a slot, in memory.
func measureDecisions() []decision {
	var decisions []decision
	for _, hosts := range []int{100, 10_000, 100_000} {
		key := placement.Key{Region: regionNames[0], AMI: channelName, Revision: "1"}
		fleet := placement.NewFleet()
		for i := range hosts {
			fleet.Set(placement.Host{Name: fmt.Sprintf("host-%06d", i), Key: key, CommitHash: commitHash, Capacity: slotsPerHost, Open: true})
		}
		catalog := placement.Catalog{key.Region: {Name: key.Region, Exists: true, Enabled: true, Channels: []placement.Channel{
			{AMI: key.AMI, Revision: key.Revision, CommitHash: commitHash, Active: true},
		}}}
		request := placement.Request{Namespace: tenants[0], Name: "s", UID: "u", Regions: []string{key.Region}, ClientCommitHash: commitHash}
		timed := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				v := placement.Decide(request, catalog, fleet)
				if !v.Assigned || !fleet.Assume(v.Host, v.Slot, request.UID) {
					b.Fatal("no slot is free")
				}
				fleet.Forget(v.Host, v.Slot, request.UID)
			}
		})
		decisions = append(decisions, decision{hosts, time.Duration(timed.NsPerOp())})
	}
	return decisions
}

func (r *run) reportScale(stages []stage, decisions []decision) {
	for i, s := range stages {
		slower := ratio(float64(s.p99), float64(stages[0].p99))
		bar := ""
		if i > 0 {
			bar = met(slower <= scaleP99Bar, fmt.Sprintf("≤ %.1f", scaleP99Bar))
		}
		r.table.add(fmt.Sprintf("%d hosts, %d sessions, p99 to Assigned, ms", s.hosts, s.sessions), millis(s.p99), millis(stages[0].p99), fmt.Sprintf("%.2f", slower), bar)
		r.table.add("  p50 to Assigned; p99 of the creations themselves, ms", millis(s.p50)+"; "+millis(s.create99), "", "", "")
		bar = ""
		if i == len(stages)-1 {
			bar = met(float64(s.resident) <= scaleMemoryBar, fmt.Sprintf("≤ %.0f MB", scaleMemoryBar/1e6))
		}
		r.table.add("  resident memory, and its peak since the start, MB", fmt.Sprintf("%.0f, %.0f", float64(s.resident)/1e6, float64(s.peak)/1e6), "", "", bar)
		r.table.add("  processor at rest, thousandths of a core", fmt.Sprintf("%.0f", 1000*s.cpu), "", "", "")
		r.result.set(fmt.Sprintf("hosts_%d", i), "%d", s.hosts)
		r.result.set(fmt.Sprintf("sessions_%d", i), "%d", s.sessions)
		r.result.set(fmt.Sprintf("p50_ms_%d", i), "%s", millis(s.p50))
		r.result.set(fmt.Sprintf("p99_ms_%d", i), "%s", millis(s.p99))
		r.result.set(fmt.Sprintf("create_p99_ms_%d", i), "%s", millis(s.create99))
		r.result.set(fmt.Sprintf("rss_mb_%d", i), "%.0f", float64(s.resident)/1e6)
		r.result.set(fmt.Sprintf("peak_mb_%d", i), "%.0f", float64(s.peak)/1e6)
		r.result.set(fmt.Sprintf("cpu_millicores_%d", i), "%.1f", 1000*s.cpu)
	}
	r.result.set("p99_ratio", "%.2f", ratio(float64(stages[len(stages)-1].p99), float64(stages[0].p99)))
	for i, d := range decisions {
		slower := ratio(float64(d.takes), float64(decisions[0].takes))
		bar := ""
		if i > 0 {
			bar = met(slower <= decisionBar, fmt.Sprintf("≤ %d", decisionBar))
		}
		r.table.add(fmt.Sprintf("a decision among %d hosts", d.hosts), d.takes.String(), decisions[0].takes.String(), fmt.Sprintf("%.2f", slower), bar)
		r.result.set(fmt.Sprintf("decision_ns_%d", d.hosts), "%d", d.takes.Nanoseconds())
	}
}
