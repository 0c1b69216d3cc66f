// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// noRegion stands for the region of what has none.
const noRegion = "none"

// collectTimeout bounds the reads of one scrape, which are of memory.
const collectTimeout = 5 * time.Second

// Fleet computes the gauges when it is scraped, from objects that it reads.
type Fleet struct {
	// Reader is the manager's cache. Objects are not copied out of it, and not changed.
	Reader client.Reader
	// Clock is the wall clock.
	Clock clock.PassiveClock
	// DesiredFree is how many slots a channel keeps free in a Region.
	DesiredFree func(*v1alpha1.AMI, *v1alpha1.Region) int32
}

var _ prometheus.Collector = (*Fleet)(nil)

// Describe sends the gauges' descriptions.
func (f *Fleet) Describe(ch chan<- *prometheus.Desc) {
	for _, gauge := range fleetGauges {
		ch <- gauge.desc
	}
}

// Collect sends the gauges' values. A read that fails fails the scrape: a metric
// that is missing would look like a fleet that is.
func (f *Fleet) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	objects, err := f.read(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(Slots.desc, err)
		return
	}
	f.collectHosts(ch, objects)
	f.collectSessions(ch, objects)
	f.collectRegions(ch, objects)
	f.collectChannels(ch, objects)
}

// objects are all that the gauges are computed from.
type objects struct {
	regions   map[string]*v1alpha1.Region
	channels  map[string]*v1alpha1.AMI
	instances []v1alpha1.Instance
	sessions  []v1alpha1.Mandelbox
}

func (f *Fleet) read(ctx context.Context) (*objects, error) {
	var regions v1alpha1.RegionList
	var channels v1alpha1.AMIList
	var instances v1alpha1.InstanceList
	var sessions v1alpha1.MandelboxList
	for _, list := range []client.ObjectList{&regions, &channels, &instances, &sessions} {
		if err := f.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing %T for metrics: %w", list, err)
		}
	}
	o := &objects{
		regions: map[string]*v1alpha1.Region{}, channels: map[string]*v1alpha1.AMI{},
		instances: instances.Items, sessions: sessions.Items,
	}
	for i := range regions.Items {
		o.regions[regions.Items[i].Name] = &regions.Items[i]
	}
	for i := range channels.Items {
		o.channels[channels.Items[i].Name] = &channels.Items[i]
	}
	return o, nil
}

// place is a channel in a region.
type place struct{ region, ami string }

// offered are the places where a channel has a release that is active or coming,
// whether or not it has hosts there.
func (o *objects) offered() map[place]bool {
	places := map[place]bool{}
	for _, ami := range o.channels {
		for _, revision := range ami.Status.Revisions {
			if revision.State != v1alpha1.RevisionActive && revision.State != v1alpha1.RevisionWarming {
				continue
			}
			for _, row := range revision.Regions {
				places[place{row.Region, ami.Name}] = true
			}
		}
	}
	return places
}

// takesSessions says whether sessions can be assigned to open hosts like this one:
// it is of the active release, in a Region that is enabled.
func (o *objects) takesSessions(host *v1alpha1.Instance) bool {
	region, ami := o.regions[host.Spec.RegionName], o.channels[host.Spec.AMIName]
	if region == nil || !region.Enabled() || ami == nil || !ami.DeletionTimestamp.IsZero() {
		return false
	}
	row := ami.ActiveRow(region.Name)
	return row != nil && row.ID == host.Spec.Revision
}

// slots count the slots of a place by state.
type slots struct{ free, idle, claimed, booting int32 }

var instancePhases = []v1alpha1.InstancePhase{
	v1alpha1.InstancePreConnection, v1alpha1.InstanceActive, v1alpha1.InstanceDraining,
	v1alpha1.InstanceUnresponsive, v1alpha1.InstanceTerminating,
}

func (f *Fleet) collectHosts(ch chan<- prometheus.Metric, o *objects) {
	room, phases, stalled := map[place]*slots{}, map[place]map[v1alpha1.InstancePhase]int{}, map[place]map[string]int{}
	for at := range o.offered() {
		room[at], phases[at] = &slots{}, map[v1alpha1.InstancePhase]int{}
	}
	for i := range o.instances {
		host := &o.instances[i]
		at := place{host.Spec.RegionName, host.Spec.AMIName}
		if room[at] == nil {
			room[at], phases[at] = &slots{}, map[v1alpha1.InstancePhase]int{}
		}
		room[at].add(host, o.takesSessions(host))
		phases[at][phaseOf(host)]++
		if c := meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionStalled); c != nil && c.Status == metav1.ConditionTrue {
			if stalled[at] == nil {
				stalled[at] = map[string]int{}
			}
			stalled[at][c.Reason]++
		}
	}
	for at, s := range room {
		for state, n := range map[string]int32{"free": s.free, "idle": s.idle, "claimed": s.claimed, "booting": s.booting} {
			Slots.send(ch, float64(n), at.region, at.ami, state)
		}
		for _, phase := range instancePhases {
			Instances.send(ch, float64(phases[at][phase]), at.region, at.ami, string(phase))
		}
		for reason, n := range stalled[at] {
			InstancesStalled.send(ch, float64(n), at.region, at.ami, reason)
		}
	}
}

func (s *slots) add(host *v1alpha1.Instance, takesSessions bool) {
	s.claimed += int32(len(host.Status.Claims))
	switch {
	case takesSessions:
		s.free += host.FreeSlots()
	default:
		s.idle += host.FreeSlots()
	}
	if phaseOf(host) == v1alpha1.InstancePreConnection && !host.Leaving() {
		s.booting += ptr.Deref(host.Status.PlannedCapacity, 0)
	}
}

// phaseOf is the phase of a host; one that nobody has looked at yet is to connect.
func phaseOf(host *v1alpha1.Instance) v1alpha1.InstancePhase {
	if host.Status.Phase == "" {
		return v1alpha1.InstancePreConnection
	}
	return host.Status.Phase
}

var sessionPhases = []v1alpha1.MandelboxPhase{
	v1alpha1.MandelboxPending, v1alpha1.MandelboxAllocated, v1alpha1.MandelboxRunning,
	v1alpha1.MandelboxDying, v1alpha1.MandelboxFinished,
}

// queue is what waits in a region.
type queue struct {
	reasons map[string]int
	oldest  time.Duration
}

func (f *Fleet) collectSessions(ch chan<- prometheus.Metric, o *objects) {
	now := f.Clock.Now()
	phases, queues := map[string]map[v1alpha1.MandelboxPhase]int{}, map[string]*queue{}
	know := func(region string) {
		if phases[region] == nil {
			phases[region], queues[region] = map[v1alpha1.MandelboxPhase]int{}, &queue{reasons: map[string]int{}}
		}
	}
	for region := range o.regions {
		know(region)
	}
	for i := range o.sessions {
		m := &o.sessions[i]
		region, phase := o.regionOf(m), m.Status.Phase
		know(region)
		if phase == "" {
			phase = v1alpha1.MandelboxPending
		}
		phases[region][phase]++
		if phase == v1alpha1.MandelboxPending && m.DeletionTimestamp.IsZero() {
			queues[region].add(m, now)
		}
	}
	for region, count := range phases {
		for _, phase := range sessionPhases {
			Sessions.send(ch, float64(count[phase]), region, string(phase))
		}
		for reason, n := range queues[region].reasons {
			PendingSessions.send(ch, float64(n), region, reason)
		}
		PendingOldestAge.send(ch, queues[region].oldest.Seconds(), region)
	}
}

func (q *queue) add(m *v1alpha1.Mandelbox, now time.Time) {
	why := "Queued"
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionAssigned); c != nil {
		why = c.Reason
	}
	q.reasons[why]++
	q.oldest = max(q.oldest, now.Sub(waitingSince(m)))
}

// regionOf is the Region that a session is, or was, in, or else the first one it
// asks for that exists: the names in a spec are anybody's, and no label may have
// as many values as users think of.
func (o *objects) regionOf(m *v1alpha1.Mandelbox) string {
	if m.Status.Region != "" {
		return m.Status.Region
	}
	for _, name := range m.Spec.Regions {
		if o.regions[name] != nil {
			return name
		}
	}
	return noRegion
}

func (f *Fleet) collectRegions(ch chan<- prometheus.Metric, o *objects) {
	for name, region := range o.regions {
		for _, condition := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionAvailable, v1alpha1.ConditionStalled} {
			RegionConditions.send(ch, one(meta.IsStatusConditionTrue(region.Status.Conditions, condition)), name, condition)
		}
		if region.Spec.EventQueueURL != "" {
			const condition = v1alpha1.ConditionEventsReceived
			RegionConditions.send(ch, one(meta.IsStatusConditionTrue(region.Status.Conditions, condition)), name, condition)
		}
		RegionEnabled.send(ch, one(region.Enabled()), name)
		RegionMaxInstances.send(ch, float64(ptr.Deref(region.Spec.Capacity.MaxInstances, 0)), name)
	}
}

var revisionStates = []v1alpha1.RevisionState{
	v1alpha1.RevisionWarming, v1alpha1.RevisionActive, v1alpha1.RevisionFailed, v1alpha1.RevisionRetiring,
}

func (f *Fleet) collectChannels(ch chan<- prometheus.Metric, o *objects) {
	for name, ami := range o.channels {
		for _, condition := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionRolledOut, v1alpha1.ConditionStalled} {
			AMIConditions.send(ch, one(meta.IsStatusConditionTrue(ami.Status.Conditions, condition)), name, condition)
		}
		states := map[v1alpha1.RevisionState]int{}
		var age time.Duration
		for i := range ami.Status.Revisions {
			revision := &ami.Status.Revisions[i]
			states[revision.State]++
			if revision.State == v1alpha1.RevisionWarming {
				age = max(age, f.Clock.Since(revision.Time.Time))
			}
		}
		for _, state := range revisionStates {
			AMIRevisions.send(ch, float64(states[state]), name, string(state))
		}
		AMIRolloutAge.send(ch, age.Seconds(), name)
		f.collectDesired(ch, o, ami)
	}
}

func (f *Fleet) collectDesired(ch chan<- prometheus.Metric, o *objects, ami *v1alpha1.AMI) {
	active := ami.Revision(ami.Status.ActiveRevision)
	if active == nil || !ami.DeletionTimestamp.IsZero() {
		return
	}
	for _, row := range active.Regions {
		desired := int32(0)
		if region := o.regions[row.Region]; region != nil && region.Enabled() {
			desired = f.DesiredFree(ami, region)
		}
		SlotsDesiredFree.send(ch, float64(desired), row.Region, ami.Name)
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
