// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Counts are the counters and histograms of one registry. A nil *Counts counts
// nothing, so that whoever tests a controller needs none.
type Counts struct {
	assignment, start, launch, boot, rollout            *prometheus.HistogramVec
	finished, placedAnew, removed, givenUp, refused     *prometheus.CounterVec
	released, outdated, conflicts, rollouts, orphansOut *prometheus.CounterVec
	events                                              *prometheus.CounterVec
	orphans, eventAge                                   *prometheus.GaugeVec
}

// NewCounts registers the counters and histograms. Those that are registered
// already, by another manager of this process, are shared with it.
func NewCounts(registerer prometheus.Registerer) (*Counts, error) {
	c := &Counts{}
	var err error
	var errs []error
	for _, m := range []struct {
		as   **prometheus.GaugeVec
		what *Definition
	}{
		{&c.orphans, Orphans}, {&c.eventAge, EventAge},
	} {
		*m.as, err = Register(registerer, m.what.NewGauge())
		errs = append(errs, err)
	}
	for _, m := range []struct {
		as   **prometheus.HistogramVec
		what *Definition
	}{
		{&c.assignment, AssignmentDuration}, {&c.start, StartDuration}, {&c.launch, LaunchDuration},
		{&c.boot, BootDuration}, {&c.rollout, RolloutDuration},
	} {
		*m.as, err = Register(registerer, m.what.NewHistogram())
		errs = append(errs, err)
	}
	for _, m := range []struct {
		as   **prometheus.CounterVec
		what *Definition
	}{
		{&c.finished, SessionsFinished}, {&c.placedAnew, SessionsPlacedAnew}, {&c.removed, InstancesRemoved},
		{&c.givenUp, InstancesGivenUp}, {&c.refused, LaunchesRefused}, {&c.released, ClaimsReleased},
		{&c.outdated, ClaimsOutdated}, {&c.conflicts, ReservationConflicts}, {&c.rollouts, Rollouts},
		{&c.orphansOut, OrphansRemoved}, {&c.events, EventMessages},
	} {
		*m.as, err = Register(registerer, m.what.NewCounter())
		errs = append(errs, err)
	}
	return c, errors.Join(errs...)
}

// Register registers a collector, or returns the one of the same name and type
// that is registered already.
func Register[C prometheus.Collector](registerer prometheus.Registerer, collector C) (C, error) {
	err := registerer.Register(collector)
	if err == nil {
		return collector, nil
	}
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := known.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return collector, fmt.Errorf("registering a metric: %w", err)
}

// ReservationConflict counts a reservation on a host that had changed.
func (c *Counts) ReservationConflict(host *v1alpha1.Instance) {
	if c != nil {
		c.conflicts.WithLabelValues(host.Spec.RegionName).Inc()
	}
}

// LaunchRefused counts a host that was asked for and not given. The reason is one
// of api/v1alpha1.
func (c *Counts) LaunchRefused(host *v1alpha1.Instance, reason string) {
	if c != nil {
		c.refused.WithLabelValues(host.Spec.RegionName, reason).Inc()
	}
}

// HostGivenUp counts a host that did not end in order. The reason is one of
// api/v1alpha1.
func (c *Counts) HostGivenUp(host *v1alpha1.Instance, reason string) {
	if c != nil {
		c.givenUp.WithLabelValues(host.Spec.RegionName, host.Spec.AMIName, reason).Inc()
	}
}

// OrphanKind is what an orphan is.
type OrphanKind string

// The kinds of orphans.
const (
	// OrphanHost is an EC2 instance without an Instance.
	OrphanHost OrphanKind = "host"
	// OrphanTask is an ECS task without a Mandelbox.
	OrphanTask OrphanKind = "task"
)

// OrphansFound says how many orphans of a kind the last pass over a region found.
func (c *Counts) OrphansFound(region string, kind OrphanKind, found int) {
	if c != nil {
		c.orphans.WithLabelValues(region, string(kind)).Set(float64(found))
	}
}

// OrphanRemoved counts an orphan that was removed.
func (c *Counts) OrphanRemoved(region string, kind OrphanKind) {
	if c != nil {
		c.orphansOut.WithLabelValues(region, string(kind)).Inc()
	}
}

// EventHandled counts a message of a region's event queue.
func (c *Counts) EventHandled(region, kind, outcome string) {
	if c != nil {
		c.events.WithLabelValues(region, kind, outcome).Inc()
	}
}

// EventAge says how old the newest event was that has just been acted on.
func (c *Counts) EventAge(region string, age time.Duration) {
	if c != nil {
		c.eventAge.WithLabelValues(region).Set(age.Seconds())
	}
}
