// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
)

// record is what Changes made of a story, and the registry it is read from.
type record struct {
	*metrics.Changes
	clock    *clocktesting.FakePassiveClock
	registry *prometheus.Registry
}

func newRecord(t *testing.T) *record {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	counts, err := metrics.NewCounts(registry)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	clk := clocktesting.NewFakePassiveClock(now)
	return &record{Changes: metrics.NewChanges(counts, clk), clock: clk, registry: registry}
}

func (r *record) pass(d time.Duration) { r.clock.SetTime(r.clock.Now().Add(d)) }

// values are the counters, and the number and sum of the observations of the
// histograms, by name and label values; whatever is 0 is left out.
func (r *record) values(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += "," + label.GetValue()
			}
			if h := m.GetHistogram(); h != nil {
				values[name+" count"], values[name+" sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
				continue
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

func assigned(m *v1alpha1.Mandelbox, attempt int32, at time.Time) *v1alpha1.Mandelbox {
	m = m.DeepCopy()
	m.Status.Phase, m.Status.Region, m.Status.Attempt = v1alpha1.MandelboxAllocated, "a", attempt
	m.Status.InstanceName, m.Status.Slot, m.Status.AssignedTime = "host", ptr.To[int32](0), &metav1.Time{Time: at}
	return m
}

func runs(m *v1alpha1.Mandelbox) *v1alpha1.Mandelbox {
	m = m.DeepCopy()
	m.Status.Phase, m.Status.RunningTime = v1alpha1.MandelboxRunning, &metav1.Time{Time: now}
	return m
}

func finished(m *v1alpha1.Mandelbox, reason string) *v1alpha1.Mandelbox {
	m = m.DeepCopy()
	m.Status.Phase = v1alpha1.MandelboxFinished
	m.Status.Conditions = trueConditions([]string{v1alpha1.ConditionFinished}, reason)
	return m
}

func returned(m *v1alpha1.Mandelbox, reason string) *v1alpha1.Mandelbox {
	m = m.DeepCopy()
	m.Status.Phase, m.Status.Region, m.Status.InstanceName, m.Status.Slot = v1alpha1.MandelboxPending, "", "", nil
	m.Status.AssignedTime = nil
	m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionFalse, Reason: reason}}
	return m
}

func TestChangesOfSessions(t *testing.T) {
	fresh := session("", "", 0)
	for _, c := range []struct {
		name  string
		story func(*record)
		want  map[string]float64
	}{
		{"a session's whole life, to the millisecond", func(r *record) {
			r.SessionAdded(fresh, false)
			r.pass(40 * time.Millisecond)
			r.SessionChanged(fresh, assigned(fresh, 1, now))
			r.pass(2 * time.Second)
			r.SessionChanged(assigned(fresh, 1, now), runs(assigned(fresh, 1, now)))
			over := finished(runs(assigned(fresh, 1, now)), v1alpha1.ReasonCompleted)
			r.SessionChanged(runs(assigned(fresh, 1, now)), over)
			r.SessionDeleted(over)
		}, map[string]float64{
			"mandelbox_session_assignment_duration_seconds,a count": 1, "mandelbox_session_assignment_duration_seconds,a sum": 0.04,
			"mandelbox_session_start_duration_seconds,a count": 1, "mandelbox_session_start_duration_seconds,a sum": 2,
			"mandelbox_sessions_finished_total,Completed,a": 1,
		}},
		{"one that waited before this manager led", func(r *record) {
			old := session(v1alpha1.MandelboxPending, "", time.Minute)
			r.SessionAdded(old, true)
			r.SessionChanged(old, assigned(old, 1, now))
		}, map[string]float64{
			"mandelbox_session_assignment_duration_seconds,a count": 1, "mandelbox_session_assignment_duration_seconds,a sum": 60,
		}},
		{"one that was starting before this manager led", func(r *record) {
			old := assigned(fresh, 1, now.Add(-3*time.Second))
			r.SessionAdded(old, true)
			r.SessionChanged(old, runs(old))
		}, map[string]float64{
			"mandelbox_session_start_duration_seconds,a count": 1, "mandelbox_session_start_duration_seconds,a sum": 3,
		}},
		{"one that is placed anew waits anew", func(r *record) {
			first := assigned(fresh, 1, now)
			r.SessionAdded(first, true)
			r.pass(90 * time.Second)
			back := returned(first, v1alpha1.ReasonStartTimeout)
			r.SessionChanged(first, back)
			r.pass(time.Second)
			r.SessionChanged(back, assigned(back, 2, now))
		}, map[string]float64{
			"mandelbox_sessions_placed_anew_total,StartTimeout,a":   1,
			"mandelbox_session_assignment_duration_seconds,a count": 1, "mandelbox_session_assignment_duration_seconds,a sum": 1,
		}},
		{"a reservation that was never committed", func(r *record) {
			outdated := fresh.DeepCopy()
			outdated.Status.Attempt = 1
			r.SessionAdded(fresh, false)
			r.SessionChanged(fresh, outdated)
		}, map[string]float64{"mandelbox_claims_outdated_total": 1}},
		{"one that never got a slot", func(r *record) {
			r.SessionAdded(fresh, false)
			r.SessionChanged(fresh, finished(fresh, v1alpha1.ReasonNoInstanceAvailable))
		}, map[string]float64{"mandelbox_sessions_finished_total,NoInstanceAvailable,none": 1}},
		{"one that is deleted while it runs, and another of its name", func(r *record) {
			next := fresh.DeepCopy()
			next.UID = "v"
			r.SessionAdded(runs(assigned(fresh, 1, now)), true)
			r.SessionChanged(runs(assigned(fresh, 1, now)), next)
			r.SessionChanged(next, assigned(next, 1, now))
		}, map[string]float64{
			"mandelbox_sessions_finished_total,Deleted,a":           1,
			"mandelbox_session_assignment_duration_seconds,a count": 1, "mandelbox_session_assignment_duration_seconds,a sum": 0,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecord(t)
			c.story(r)
			NewWithT(t).Expect(r.values(t)).To(Equal(c.want))
		})
	}
}

func TestChangesOfHosts(t *testing.T) {
	r := newRecord(t)
	asked := host("a", "r1", v1alpha1.InstancePreConnection, 8, 0)
	asked.CreationTimestamp = metav1.NewTime(now)
	launched := asked.DeepCopy()
	launched.Status.LaunchedTime = &metav1.Time{Time: now.Add(2 * time.Second)}
	active := launched.DeepCopy()
	active.Status.ActiveTime = &metav1.Time{Time: now.Add(92 * time.Second)}
	active.Status.Claims = host("a", "r1", v1alpha1.InstanceActive, 8, 3).Status.Claims
	emptier := active.DeepCopy()
	emptier.Status.Claims = emptier.Status.Claims[1:2]

	r.HostChanged(asked, launched)
	r.HostChanged(launched, active)
	r.HostChanged(active, emptier)
	r.HostDeleted(emptier)
	NewWithT(t).Expect(r.values(t)).To(Equal(map[string]float64{
		"mandelbox_instance_launch_duration_seconds,a count": 1, "mandelbox_instance_launch_duration_seconds,a sum": 2,
		"mandelbox_instance_boot_duration_seconds,a count": 1, "mandelbox_instance_boot_duration_seconds,a sum": 90,
		"mandelbox_claims_released_total,a": 2, "mandelbox_instances_removed_total,stable,a": 1,
	}))
}

func TestChangesOfChannels(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*v1alpha1.AMI)
		want map[string]float64
	}{
		{"nothing yet", func(*v1alpha1.AMI) {}, map[string]float64{}},
		{"swapped in", func(a *v1alpha1.AMI) {
			a.Status.Revisions[1].State, a.Status.Revisions[1].Time = v1alpha1.RevisionActive, metav1.NewTime(now.Add(-time.Minute))
		}, map[string]float64{
			"mandelbox_rollouts_total,stable,Succeeded":          1,
			"mandelbox_rollout_duration_seconds,Succeeded count": 1, "mandelbox_rollout_duration_seconds,Succeeded sum": 240,
		}},
		{"failed", func(a *v1alpha1.AMI) {
			a.Status.Revisions[1].State, a.Status.Revisions[1].Time = v1alpha1.RevisionFailed, metav1.NewTime(now)
		}, map[string]float64{
			"mandelbox_rollouts_total,stable,Failed":          1,
			"mandelbox_rollout_duration_seconds,Failed count": 1, "mandelbox_rollout_duration_seconds,Failed sum": 300,
		}},
		{"replaced on its way", func(a *v1alpha1.AMI) { a.Status.Revisions[1].Name = "three" }, map[string]float64{
			"mandelbox_rollouts_total,stable,Superseded":          1,
			"mandelbox_rollout_duration_seconds,Superseded count": 1, "mandelbox_rollout_duration_seconds,Superseded sum": 300,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecord(t)
			after := channel()
			c.end(after)
			r.ChannelChanged(channel(), after)
			NewWithT(t).Expect(r.values(t)).To(Equal(c.want))
		})
	}
	t.Run("a first release is no rollout", func(t *testing.T) {
		r := newRecord(t)
		before, after := channel(), channel()
		before.Status.ActiveRevision = ""
		after.Status.Revisions[1].State = v1alpha1.RevisionActive
		r.ChannelChanged(before, after)
		NewWithT(t).Expect(r.values(t)).To(BeEmpty())
	})
}

func TestCounts(t *testing.T) {
	r := newRecord(t)
	// A second manager of the process shares what the first has registered.
	counts, err := metrics.NewCounts(r.registry)
	g := NewWithT(t)
	g.Expect(err).NotTo(HaveOccurred())
	for _, c := range []*metrics.Counts{counts, nil} {
		of := host("a", "r1", v1alpha1.InstanceActive, 8, 0)
		c.ReservationConflict(of)
		c.LaunchRefused(of, v1alpha1.ReasonInsufficientCapacity)
		c.HostGivenUp(of, v1alpha1.ReasonAgentDisconnected)
		c.OrphansFound("a", metrics.OrphanHost, 2)
		c.OrphanRemoved("a", metrics.OrphanTask)
	}
	g.Expect(r.values(t)).To(Equal(map[string]float64{
		"mandelbox_reservation_conflicts_total,a":                       1,
		"mandelbox_launches_refused_total,InsufficientCapacity,a":       1,
		"mandelbox_instances_given_up_total,stable,AgentDisconnected,a": 1,
		"mandelbox_orphans,host,a":                                      2,
		"mandelbox_orphans_removed_total,task,a":                        1,
	}))

	r.RegionDeleted(region("a", true))
	g.Expect(r.values(t)).NotTo(HaveKey(HavePrefix("mandelbox_orphans,")), "nobody looks for orphans there any more")
}
