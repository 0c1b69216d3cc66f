// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

const (
	// idleReadsBar is how many times the pages of a listing may be read in each
	// listing interval.
	idleReadsBar = 2
	// listInterval is the manager's default.
	listInterval = 30 * time.Second
)

// benchIdle has a fleet in which nothing happens, with a session that can't be
// placed and a channel that is stalled among it.
func benchIdle(ctx context.Context, r *run) (err error) {
	hostsPerRegion, sessions := r.size(167, 1), r.size(8000, 24)
	quiet := time.Duration(r.size(300, 5)) * time.Second
	w, err := newWorld(ctx, r, worldOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if _, err := w.populated(ctx, hostsPerRegion, sessions); err != nil {
		return err
	}
	if err := w.addHopeless(ctx); err != nil {
		return err
	}
	if err := w.aws.limit(ctx, true); err != nil {
		return err
	}
	m, err := w.startManager(ctx)
	if err != nil {
		return err
	}
	if err := w.awaitHopeless(ctx, m); err != nil {
		return err
	}
	if err := w.settle(ctx, m); err != nil {
		return err
	}
	return w.measureIdle(ctx, m, hostsPerRegion, sessions, quiet)
}

// populated makes a fleet with running sessions, and leaves it without a manager.
func (w *world) populated(ctx context.Context, hostsPerRegion, sessions int) (*populator, error) {
	m, hosts, err := w.warmFleet(ctx, hostsPerRegion)
	if err != nil {
		return nil, err
	}
	w.say("%d hosts are Active", len(hosts))
	p, err := w.newPopulator(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := w.stopManager(m); err != nil {
		return nil, err
	}
	if err := p.fill(ctx, sessions); err != nil {
		return nil, err
	}
	w.say("%d sessions run", sessions)
	return p, nil
}

// addHopeless adds a session that no region takes, and a channel whose image does
// not exist.
func (w *world) addHopeless(ctx context.Context) error {
	session, channel := w.hopeless()
	if err := w.people.Create(ctx, session); err != nil {
		return fmt.Errorf("creating a session that can't be placed: %w", err)
	}
	if err := w.people.Create(ctx, channel); err != nil {
		return fmt.Errorf("creating a channel that stalls: %w", err)
	}
	return nil
}

// hopeless are the objects of addHopeless.
func (w *world) hopeless() (*v1alpha1.Mandelbox, *v1alpha1.AMI) {
	m := w.session("hopeless", 0)
	m.Spec.Regions = []string{"mars-north-1"}
	m.Spec.AssignmentTimeout = &metav1.Duration{Duration: 24 * time.Hour}
	channel := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: "stalled"},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: "dead" + commitHash[4:],
			Task:             v1alpha1.TaskTemplate{Image: "example.com/mandelbox:2", CPU: 4096, MemoryMiB: 8192},
		},
	}
	for _, region := range w.regions {
		channel.Spec.Images = append(channel.Spec.Images, v1alpha1.RegionImage{Region: region, ImageID: "ami-0dead0dead0dead00"})
	}
	return m, channel
}

// settle waits until the manager leads and has written nothing for a while.
func (w *world) settle(ctx context.Context, m *process) error {
	if err := w.awaitLeader(ctx, m); err != nil {
		return err
	}
	mark, err := w.audit.mark()
	if err != nil {
		return err
	}
	silence := time.Duration(w.size(10, 3)) * time.Second
	first, since, began := mark, time.Now(), time.Now()
	err = w.await(ctx, 3*time.Minute, "the fleet to settle", func(context.Context) (bool, error) {
		next, err := w.audit.mark()
		if err != nil {
			return false, err
		}
		writes, err := w.audit.since(mark)
		if err != nil {
			return false, err
		}
		if len(writes) > 0 {
			mark, since = next, time.Now()
		}
		return time.Since(since) >= silence, m.failure()
	})
	if err != nil {
		return err
	}
	writes, err := w.audit.since(first)
	w.say("settled in %.0fs: %s", since.Sub(began).Seconds(), describe(mix(writes)))
	return err
}

// leaseKey is whose holder leads.
var leaseKey = client.ObjectKey{Namespace: webhook.DefaultNamespace, Name: "mandelbox-operator"}

// awaitLeader waits until somebody leads: whose caches are filled, then.
func (w *world) awaitLeader(ctx context.Context, m *process) error {
	began := time.Now()
	return w.await(ctx, time.Minute, "a manager to lead", func(ctx context.Context) (bool, error) {
		var lease coordinationv1.Lease
		err := w.people.Get(ctx, leaseKey, &lease)
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("reading the manager's lease: %w", err)
		}
		return lease.Spec.RenewTime != nil && lease.Spec.RenewTime.After(began) && ptr.Deref(lease.Spec.HolderIdentity, "") != "", m.failure()
	})
}

// awaitHopeless waits until it was said of what addHopeless added that it is hopeless.
func (w *world) awaitHopeless(ctx context.Context, m *process) error {
	return w.await(ctx, 3*time.Minute, "the hopeless to be told so", func(ctx context.Context) (bool, error) {
		session, channel := w.hopeless()
		if err := w.people.Get(ctx, keyOf(session), session); err != nil {
			return false, fmt.Errorf("reading the session that can't be placed: %w", err)
		}
		if err := w.people.Get(ctx, keyOf(channel), channel); err != nil {
			return false, fmt.Errorf("reading the channel that stalls: %w", err)
		}
		return meta.IsStatusConditionFalse(session.Status.Conditions, v1alpha1.ConditionAssigned) &&
			meta.IsStatusConditionTrue(channel.Status.Conditions, v1alpha1.ConditionStalled), m.failure()
	})
}

// measureIdle counts what the manager reads and writes while nothing happens.
func (w *world) measureIdle(ctx context.Context, m *process, hostsPerRegion, sessions int, quiet time.Duration) error {
	mark, err := w.audit.mark()
	if err != nil {
		return err
	}
	if err := w.aws.forget(ctx); err != nil {
		return err
	}
	before, err := usageOf(m.pid())
	if err != nil {
		return err
	}
	w.say("now nothing happens for %s", quiet)
	select {
	case <-time.After(quiet):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := usageOf(m.pid())
	if err != nil {
		return errors.Join(err, m.failure())
	}
	requests, err := w.aws.requests(ctx)
	if err != nil {
		return err
	}
	writes, err := w.audit.since(mark)
	if err != nil {
		return err
	}
	w.say("AWS calls: %s", describe(operations(requests)))
	w.say("Kubernetes writes: %d %s", len(writes), describe(mix(writes)))
	w.reportIdle(hostsPerRegion, sessions, quiet, len(requests), len(writes), before, after)
	return nil
}

// listingPages is how many pages it takes to read everything once: of each region
// a page of hosts and one of their health, and of container instances and tasks a
// page of names and one of descriptions for each hundred, and the stopped tasks.
func listingPages(regions, hostsPerRegion, sessions int) int {
	hundreds := func(n int) int { return (n + 99) / 100 }
	thousands := func(n int) int { return (n + 999) / 1000 }
	perRegion := 2*thousands(hostsPerRegion) + 2*hundreds(hostsPerRegion) + 2*hundreds(sessions/regions) + 1
	return regions * perRegion
}

func (w *world) reportIdle(hostsPerRegion, sessions int, quiet time.Duration, calls, writes int, before, after usage) {
	minutes := quiet.Minutes()
	pages := listingPages(len(w.regions), hostsPerRegion, sessions)
	perInterval := float64(calls) / (float64(quiet) / float64(listInterval))
	share := ratio(perInterval, float64(pages))
	cpu := ratio(float64(after.cpu-before.cpu), float64(quiet))
	hosts := hostsPerRegion * len(w.regions)
	w.table.add(fmt.Sprintf("idle, %d hosts, %d sessions, AWS calls/min", hosts, sessions), fmt.Sprintf("%.0f", float64(calls)/minutes),
		fmt.Sprintf("%.0f", float64(pages)*float64(time.Minute)/float64(listInterval)), fmt.Sprintf("%.2f", share),
		met(share <= idleReadsBar, fmt.Sprintf("≤ %d", idleReadsBar)))
	w.table.add("  Kubernetes writes beside the lease", fmt.Sprint(writes), "0", "", met(writes == 0, "0"))
	w.table.add("  processor, thousandths of a core", fmt.Sprintf("%.0f", 1000*cpu), "", "", "")
	w.result.set("hosts", "%d", hosts)
	w.result.set("sessions", "%d", sessions)
	w.result.set("aws_calls_per_min", "%.1f", float64(calls)/minutes)
	w.result.set("pages_per_interval", "%d", pages)
	w.result.set("reads_ratio", "%.3f", share)
	w.result.set("k8s_writes", "%d", writes)
	w.result.set("cpu_millicores", "%.1f", 1000*cpu)
	w.result.set("rss_mb", "%.0f", float64(after.resident)/1e6)
}
