// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
)

// hold gives the Instance the region, the finalizer and a status.
func (b *bench) hold(t *testing.T, st v1alpha1.InstanceStatus) {
	t.Helper()
	i := b.read(t)
	i.Finalizers = []string{v1alpha1.InstanceFinalizer}
	i.Spec.RegionName = b.region.Target().Region
	if err := b.Client.Update(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	i.Status = st
	if err := b.Client.Status().Update(t.Context(), i); err != nil {
		t.Fatal(err)
	}
}

// reconciler is a Reconciler on the bench.
func (b *bench) reconciler() *Reconciler {
	return &Reconciler{
		Client: b.Client, Live: b.Live, Regions: b.regions, Launcher: b.Launcher, Events: events.NewFakeRecorder(100), Clock: b.clock,
	}
}

func TestAHostIsGivenUpOnceHoweverLateTheCacheIs(t *testing.T) {
	b := newBench(t)
	b.hold(t, v1alpha1.InstanceStatus{
		InstanceID: "i-1",
		Launch:     &v1alpha1.Launch{Token: "token", Count: 1, Time: metav1.NewTime(b.clock.Now())},
	})
	b.api.launched = []cloud.Host{{InstanceID: "i-1", Token: "token", State: cloud.HostStopped}}
	b.observe(t)
	registry := prometheus.NewRegistry()
	var err error
	if b.Counts, err = metrics.NewCounts(registry); err != nil {
		t.Fatal(err)
	}
	r := b.reconciler()
	recorder := events.NewFakeRecorder(10)
	r.Events = recorder
	cached := b.read(t)
	for range 2 { // The host is stopping, then stopped; the cache has seen neither of our writes.
		if _, err := r.Reconcile(t.Context(), cached.DeepCopy()); err != nil {
			t.Fatal(err)
		}
	}
	if b.read(t).DeletionTimestamp.IsZero() {
		t.Error("the Instance of a host that was stopped is not deleted")
	}
	counted := 0.0
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == metrics.InstancesGivenUp.Name {
			counted += family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	if counted != 1 {
		t.Errorf("the host was counted %v times as given up, want once", counted)
	}
	told := 0
	for len(recorder.Events) > 0 {
		if strings.Contains(<-recorder.Events, v1alpha1.ReasonStoppedOutside) {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the host was told of %d times as given up, want once", told)
	}
}

func TestAHostThatIsNotWantedAnyMoreGoesOnceItsLaunchIsOver(t *testing.T) {
	for _, timeout := range []time.Duration{5 * time.Second, DefaultLaunchTimeout} {
		t.Run(timeout.String(), func(t *testing.T) {
			b := newBench(t)
			b.Timeout = timeout
			b.hold(t, v1alpha1.InstanceStatus{
				Phase:  v1alpha1.InstanceDraining,
				Launch: &v1alpha1.Launch{Token: "left-behind", Count: 1, Time: metav1.NewTime(b.clock.Now())},
			})
			if err := b.Client.Delete(t.Context(), b.read(t)); err != nil {
				t.Fatal(err)
			}
			r := b.reconciler()
			asked := b.clock.Now()
			b.observe(t)
			for {
				_, err := r.Reconcile(t.Context(), b.read(t))
				if err != nil {
					t.Fatal(err)
				}
				if err := b.Live.Get(t.Context(), b.key, &v1alpha1.Instance{}); apierrors.IsNotFound(err) {
					break
				}
				if b.clock.Since(asked) > time.Hour {
					t.Fatal("the Instance stays")
				}
				b.pass(t, time.Second)
			}
			// Another manager may have called until the last moment, and what it made be
			// seen a grace period later; the listing comes each second.
			least := timeout + clockSkew + grace
			if waited := b.clock.Since(asked); waited < least || waited > least+3*time.Second {
				t.Errorf("the Instance went %s after its intent, want %s and up to three seconds", waited, least)
			}
			if len(b.api.tokens) > 0 {
				t.Errorf("launched under %v a host that is to go", b.api.tokens)
			}
		})
	}
}
