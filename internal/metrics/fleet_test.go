// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
)

var now = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// objects is a reader of what it holds, or of an error.
type objects struct {
	client.Reader
	held []client.Object
	err  error
}

func (o objects) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	for _, held := range o.held {
		switch list := list.(type) {
		case *v1alpha1.RegionList:
			appendIf(&list.Items, held)
		case *v1alpha1.AMIList:
			appendIf(&list.Items, held)
		case *v1alpha1.InstanceList:
			appendIf(&list.Items, held)
		case *v1alpha1.MandelboxList:
			appendIf(&list.Items, held)
		}
	}
	return o.err
}

func appendIf[T any](items *[]T, held client.Object) {
	if item, ok := any(held).(*T); ok {
		*items = append(*items, *item)
	}
}

func fleetOf(held ...client.Object) *metrics.Fleet {
	return &metrics.Fleet{
		Reader: objects{held: held}, Clock: clocktesting.NewFakePassiveClock(now),
		DesiredFree: func(*v1alpha1.AMI, *v1alpha1.Region) int32 { return 4 },
	}
}

func region(name string, enabled bool, conditions ...string) *v1alpha1.Region {
	r := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: name}}
	r.Spec.Enabled = &enabled
	r.Spec.Capacity.MaxInstances = ptr.To[int32](10)
	r.Status.Conditions = trueConditions(conditions, "Because")
	return r
}

func trueConditions(types []string, reason string) []metav1.Condition {
	var out []metav1.Condition
	for _, t := range types {
		out = append(out, metav1.Condition{Type: t, Status: metav1.ConditionTrue, Reason: reason})
	}
	return out
}

// channel has an active release r1 in a, and a coming one r2 that warms since five minutes.
func withQueue(r *v1alpha1.Region) *v1alpha1.Region {
	r.Spec.EventQueueURL = "https://sqs.us-east-1.amazonaws.com/123456789012/mandelbox-events"
	return r
}

func channel(conditions ...string) *v1alpha1.AMI {
	a := &v1alpha1.AMI{ObjectMeta: metav1.ObjectMeta{Name: "stable"}}
	a.Status.ActiveRevision = "one"
	a.Status.Revisions = []v1alpha1.Revision{
		{Name: "one", State: v1alpha1.RevisionActive, Regions: []v1alpha1.RevisionRegion{{Region: "a", ID: "r1"}}},
		{
			Name: "two", State: v1alpha1.RevisionWarming, Regions: []v1alpha1.RevisionRegion{{Region: "a", ID: "r2"}},
			Time: metav1.NewTime(now.Add(-5 * time.Minute)),
		},
	}
	a.Status.Conditions = trueConditions(conditions, "Because")
	return a
}

func host(region, revision string, phase v1alpha1.InstancePhase, capacity int32, claims int) *v1alpha1.Instance {
	i := &v1alpha1.Instance{}
	i.Spec = v1alpha1.InstanceSpec{RegionName: region, AMIName: "stable", Revision: revision}
	i.Status.Phase = phase
	if phase == v1alpha1.InstancePreConnection {
		i.Status.PlannedCapacity = &capacity
	} else {
		i.Status.Capacity = &capacity
	}
	for n := range claims {
		i.Status.Claims = append(i.Status.Claims, v1alpha1.Claim{Slot: int32(n), UID: fmt.Sprint(n)})
	}
	return i
}

func session(phase v1alpha1.MandelboxPhase, region string, age time.Duration) *v1alpha1.Mandelbox {
	m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{UID: "u", CreationTimestamp: metav1.NewTime(now.Add(-age))}}
	m.Spec.Regions = []string{"invented", "a"}
	m.Status.Phase, m.Status.Region = phase, region
	return m
}

func waits(m *v1alpha1.Mandelbox, reason string) *v1alpha1.Mandelbox {
	m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAssigned, Status: metav1.ConditionFalse, Reason: reason}}
	return m
}

func TestFleet(t *testing.T) {
	stalled := host("a", "r1", v1alpha1.InstancePreConnection, 8, 0)
	stalled.Status.Conditions = trueConditions([]string{v1alpha1.ConditionStalled}, v1alpha1.ReasonQuotaExceeded)
	draining := host("a", "r1", v1alpha1.InstanceActive, 8, 1)
	draining.Spec.Drain = ptr.To(true)
	anew := waits(session(v1alpha1.MandelboxPending, "", time.Hour), v1alpha1.ReasonStartTimeout)
	anew.Status.Attempt = 1
	anew.Status.Conditions[0].LastTransitionTime = metav1.NewTime(now.Add(-time.Minute))
	leaving := session(v1alpha1.MandelboxPending, "", 2*time.Hour)
	leaving.DeletionTimestamp = &metav1.Time{Time: now}
	strangers := session("", "", 20*time.Second)
	strangers.Spec.Regions = []string{"invented"}

	for _, c := range []struct {
		name string
		of   []client.Object
		what *metrics.Definition
		want string
	}{
		{"slots of active, coming, draining and booting hosts", []client.Object{
			region("a", true), channel(),
			host("a", "r1", v1alpha1.InstanceActive, 8, 3), host("a", "r2", v1alpha1.InstanceActive, 8, 0), draining,
			host("a", "r2", v1alpha1.InstancePreConnection, 8, 0),
		}, metrics.Slots, `
			mandelbox_slots{ami="stable",region="a",state="free"} 5
			mandelbox_slots{ami="stable",region="a",state="idle"} 8
			mandelbox_slots{ami="stable",region="a",state="claimed"} 4
			mandelbox_slots{ami="stable",region="a",state="booting"} 8`},
		{"no slot is free in a Region that is switched off", []client.Object{
			region("a", false), channel(), host("a", "r1", v1alpha1.InstanceActive, 8, 3),
		}, metrics.Slots, `
			mandelbox_slots{ami="stable",region="a",state="free"} 0
			mandelbox_slots{ami="stable",region="a",state="idle"} 5
			mandelbox_slots{ami="stable",region="a",state="claimed"} 3
			mandelbox_slots{ami="stable",region="a",state="booting"} 0`},
		{"a channel without hosts says so", []client.Object{region("a", true), channel()}, metrics.Slots, `
			mandelbox_slots{ami="stable",region="a",state="free"} 0
			mandelbox_slots{ami="stable",region="a",state="idle"} 0
			mandelbox_slots{ami="stable",region="a",state="claimed"} 0
			mandelbox_slots{ami="stable",region="a",state="booting"} 0`},
		{"what should be free", []client.Object{region("a", true), channel()}, metrics.SlotsDesiredFree, `
			mandelbox_slots_desired_free{ami="stable",region="a"} 4`},
		{"nothing should be free in a Region that is switched off", []client.Object{region("a", false), channel()}, metrics.SlotsDesiredFree, `
			mandelbox_slots_desired_free{ami="stable",region="a"} 0`},
		{"hosts by phase, also of a channel and a Region that are gone", []client.Object{
			host("b", "r1", "", 8, 0), host("b", "r1", v1alpha1.InstanceTerminating, 8, 0), host("b", "r2", v1alpha1.InstanceActive, 8, 0),
		}, metrics.Instances, `
			mandelbox_instances{ami="stable",phase="PreConnection",region="b"} 1
			mandelbox_instances{ami="stable",phase="Active",region="b"} 1
			mandelbox_instances{ami="stable",phase="Draining",region="b"} 0
			mandelbox_instances{ami="stable",phase="Unresponsive",region="b"} 0
			mandelbox_instances{ami="stable",phase="Terminating",region="b"} 1`},
		{"hosts that wait for a person", []client.Object{stalled, host("a", "r1", v1alpha1.InstanceActive, 8, 3)}, metrics.InstancesStalled, `
			mandelbox_instances_stalled{ami="stable",reason="QuotaExceeded",region="a"} 1`},
		{"sessions where they are, or first asked to be", []client.Object{
			region("a", true), session("", "", time.Second), session(v1alpha1.MandelboxRunning, "a", time.Second),
			session(v1alpha1.MandelboxRunning, "b", time.Second), session(v1alpha1.MandelboxFinished, "a", time.Second),
		}, metrics.Sessions, `
			mandelbox_sessions{phase="Pending",region="a"} 1
			mandelbox_sessions{phase="Allocated",region="a"} 0
			mandelbox_sessions{phase="Running",region="a"} 1
			mandelbox_sessions{phase="Dying",region="a"} 0
			mandelbox_sessions{phase="Finished",region="a"} 1
			mandelbox_sessions{phase="Pending",region="b"} 0
			mandelbox_sessions{phase="Allocated",region="b"} 0
			mandelbox_sessions{phase="Running",region="b"} 1
			mandelbox_sessions{phase="Dying",region="b"} 0
			mandelbox_sessions{phase="Finished",region="b"} 0`},
		{"what is waited for", []client.Object{
			region("a", true), session("", "", time.Second), strangers, anew, leaving,
			waits(session(v1alpha1.MandelboxPending, "", time.Minute), v1alpha1.ReasonNoInstanceAvailable),
			waits(session(v1alpha1.MandelboxPending, "", time.Minute), v1alpha1.ReasonNoInstanceAvailable),
		}, metrics.PendingSessions, `
			mandelbox_pending_sessions{reason="NoInstanceAvailable",region="a"} 2
			mandelbox_pending_sessions{reason="Queued",region="a"} 1
			mandelbox_pending_sessions{reason="StartTimeout",region="a"} 1
			mandelbox_pending_sessions{reason="Queued",region="none"} 1`},
		{"how long, the last wait alone", []client.Object{
			region("a", true), region("b", true), anew, leaving, strangers, session("", "", 30*time.Second),
		}, metrics.PendingOldestAge, `
			mandelbox_pending_oldest_age_seconds{region="a"} 60
			mandelbox_pending_oldest_age_seconds{region="b"} 0
			mandelbox_pending_oldest_age_seconds{region="none"} 20`},
		{"a Region's conditions", []client.Object{region("a", true, "Ready", "Available")}, metrics.RegionConditions, `
			mandelbox_region_condition{condition="Ready",region="a"} 1
			mandelbox_region_condition{condition="Available",region="a"} 1
			mandelbox_region_condition{condition="Stalled",region="a"} 0`},
		{"whether a Region's events are received, where it has a queue", []client.Object{withQueue(region("a", true))}, metrics.RegionConditions, `
			mandelbox_region_condition{condition="EventsReceived",region="a"} 0
			mandelbox_region_condition{condition="Ready",region="a"} 0
			mandelbox_region_condition{condition="Available",region="a"} 0
			mandelbox_region_condition{condition="Stalled",region="a"} 0`},
		{"Regions on and off", []client.Object{region("a", true), region("b", false)}, metrics.RegionEnabled, `
			mandelbox_region_enabled{region="a"} 1
			mandelbox_region_enabled{region="b"} 0`},
		{"the limit of a Region", []client.Object{region("a", true)}, metrics.RegionMaxInstances, `
			mandelbox_region_max_instances{region="a"} 10`},
		{"a channel's conditions", []client.Object{channel("Stalled")}, metrics.AMIConditions, `
			mandelbox_ami_condition{ami="stable",condition="Ready"} 0
			mandelbox_ami_condition{ami="stable",condition="RolledOut"} 0
			mandelbox_ami_condition{ami="stable",condition="Stalled"} 1`},
		{"a channel's revisions", []client.Object{channel()}, metrics.AMIRevisions, `
			mandelbox_ami_revisions{ami="stable",state="Warming"} 1
			mandelbox_ami_revisions{ami="stable",state="Active"} 1
			mandelbox_ami_revisions{ami="stable",state="Failed"} 0
			mandelbox_ami_revisions{ami="stable",state="Retiring"} 0`},
		{"the age of a rollout", []client.Object{channel()}, metrics.AMIRolloutAge, `
			mandelbox_ami_rollout_age_seconds{ami="stable"} 300`},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := fmt.Sprintf("# HELP %s %s\n# TYPE %s gauge", c.what.Name, strings.ReplaceAll(c.what.Help, `\`, `\\`), c.what.Name)
			want := strings.ReplaceAll(header+c.want, "\t", "") + "\n"
			NewWithT(t).Expect(testutil.CollectAndCompare(fleetOf(c.of...), strings.NewReader(want), c.what.Name)).To(Succeed())
		})
	}
}

func TestFleetFailsTheScrapeItCannotAnswer(t *testing.T) {
	g := NewWithT(t)
	fleet := fleetOf(region("a", true))
	fleet.Reader = objects{err: errors.New("the cache is not synced")}
	registry := prometheus.NewPedanticRegistry()
	g.Expect(registry.Register(fleet)).To(Succeed())
	_, err := registry.Gather()
	g.Expect(err).To(MatchError(ContainSubstring("the cache is not synced")))
}

func TestNamesFollowThePractices(t *testing.T) {
	g := NewWithT(t)
	registry := prometheus.NewPedanticRegistry()
	g.Expect(registry.Register(fleetOf(region("a", true), channel(), host("a", "r1", v1alpha1.InstanceActive, 8, 3)))).To(Succeed())
	problems, err := testutil.GatherAndLint(registry)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(problems).To(BeEmpty())
}
