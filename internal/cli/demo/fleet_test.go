// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

func session(phase v1alpha1.MandelboxPhase, reason string) *v1alpha1.Mandelbox {
	m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "ada"}}
	m.Status.Phase = phase
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionFalse, Reason: reason})
	return m
}

func host(phase v1alpha1.InstancePhase, capacity int32) *v1alpha1.Instance {
	i := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: "us-1"}, Spec: v1alpha1.InstanceSpec{RegionName: "us-east-1"}}
	i.Status.Phase = phase
	if capacity > 0 {
		i.Status.Capacity, i.Status.InstanceType = ptr.To(capacity), "g4dn.2xlarge"
	}
	return i
}

func TestFleetTellsOfChanges(t *testing.T) {
	var told []string
	f := newFleet(func(line string) { told = append(told, line) })
	now := time.Now()
	running := session(v1alpha1.MandelboxRunning, v1alpha1.ReasonRunning)
	running.Status.InstanceName, running.Status.Slot, running.Status.IP = "us-1", ptr.To[int32](1), "3.8.0.1"
	running.Status.Ports = []v1alpha1.PortBinding{{Name: "control", ContainerPort: 8080, HostPort: 32768}}
	for _, object := range []any{
		session("", ""),
		session(v1alpha1.MandelboxPending, v1alpha1.ReasonNoInstanceAvailable),
		session(v1alpha1.MandelboxPending, v1alpha1.ReasonNoInstanceAvailable),
		host("", 0),
		host(v1alpha1.InstancePreConnection, 0),
		host(v1alpha1.InstanceActive, 2),
		host(v1alpha1.InstanceActive, 2),
		running,
	} {
		f.see(object, now)
	}
	f.forget(running)
	want := []string{
		"session  team-a/ada Pending: NoInstanceAvailable",
		"host     us-1 PreConnection: us-east-1",
		"host     us-1 PreConnection → Active: us-east-1, g4dn.2xlarge, ░░ 0/2",
		"session  team-a/ada Pending → Running: Running, us-1 slot 1, 3.8.0.1:32768",
		"session  team-a/ada is gone",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFleetTimesStopAtTheGoal(t *testing.T) {
	f := newFleet(func(string) {})
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.see(host(v1alpha1.InstancePreConnection, 0), began)
	f.see(session(v1alpha1.MandelboxPending, v1alpha1.ReasonNoInstanceAvailable), began.Add(time.Second))
	f.see(host(v1alpha1.InstanceActive, 2), began.Add(10*time.Second))
	v := f.snapshot(began.Add(12 * time.Second))
	if got := v.hosts[0].elapsed; got != 10*time.Second {
		t.Errorf("the host took %s, want 10s", got)
	}
	if got := v.sessions[0].elapsed; got != 11*time.Second {
		t.Errorf("the session has waited for %s, want 11s", got)
	}
}

func TestWhatIsMissing(t *testing.T) {
	want := &samples{sessions: []string{"team-a/ada", "team-b/alan"}, regions: []*v1alpha1.Region{{ObjectMeta: metav1.ObjectMeta{Name: "us-east-1"}}}}
	f := newFleet(func(string) {})
	f.see(session(v1alpha1.MandelboxPending, v1alpha1.ReasonNoInstanceAvailable), time.Now())
	f.see(host(v1alpha1.InstancePreConnection, 0), time.Now())
	missing, err := f.missing(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"session team-a/ada is Pending: NoInstanceAvailable",
		"session team-b/alan has not been seen",
		"host us-1 is PreConnection: no reason given yet",
		"region us-east-1 is not ready: it has not been seen",
	}, missing); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	f.see(session(v1alpha1.MandelboxFinished, v1alpha1.ReasonCrashed), time.Now())
	if _, err := f.missing(want); err == nil || !strings.Contains(err.Error(), "session team-a/ada ended: Crashed") {
		t.Errorf("a session that crashed gave the error %v", err)
	}
}
