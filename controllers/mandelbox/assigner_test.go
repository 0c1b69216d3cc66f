// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

const hash = "0123456789abcdef"

func session(namespace, name, uid string) *v1alpha1.Mandelbox {
	return &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)},
		Spec:       v1alpha1.MandelboxSpec{UserID: name, Regions: []string{"east"}, ClientCommitHash: hash},
	}
}

func host(name string, slots int32) *v1alpha1.Instance {
	return &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), ResourceVersion: "1"},
		Spec:       v1alpha1.InstanceSpec{RegionName: "east", AMIName: "stable", Revision: "r1", ClientCommitHash: hash},
		Status:     v1alpha1.InstanceStatus{Phase: v1alpha1.InstanceActive, Capacity: ptr.To(slots)},
	}
}

// newTestAssigner knows a region and a channel, and the namespaces that are named.
func newTestAssigner(t *testing.T, namespaces ...string) *Assigner {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithIndex(&v1alpha1.Mandelbox{}, index.MandelboxByUser, func(o client.Object) []string {
		return []string{index.Drawer(o.(*v1alpha1.Mandelbox).Spec.UserID)}
	})
	for _, name := range namespaces {
		builder.WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	a := NewAssigner()
	a.Client, a.PerUser = builder.Build(), 1
	a.Verdicts, a.Demands = &trigger.Trigger{}, &trigger.Trigger{}
	a.catalog = placement.Catalog{"east": {Name: "east", Exists: true, Enabled: true, Channels: []placement.Channel{
		{AMI: "stable", CommitHash: hash, Revision: "r1", Active: true},
	}}}
	return a
}

// given lists which session each host's reservation is for.
func given(reservations []*reservation) map[string][]string {
	names := map[string][]string{}
	for _, r := range reservations {
		for _, c := range r.claims {
			names[r.instance.Name] = append(names[r.instance.Name], c.Name)
		}
	}
	return names
}

func expectGiven(t *testing.T, a *Assigner, wantErr bool, want map[string][]string) {
	t.Helper()
	reservations, _, err := a.decide(context.Background())
	if (err != nil) != wantErr {
		t.Errorf("decide's error is %v, want one: %t", err, wantErr)
	}
	got := given(reservations)
	if len(got) != len(want) {
		t.Fatalf("given %v, want %v", got, want)
	}
	for host, sessions := range want {
		if !slices.Equal(got[host], sessions) {
			t.Errorf("host %s is given to %v, want %v", host, got[host], sessions)
		}
	}
}

func TestOneThatCannotBeDecidedForDoesNotLoseTheOthers(t *testing.T) {
	a := newTestAssigner(t, "known")
	a.observe(host("h1", 4))
	a.Offer(session("known", "first", "1"))
	a.Offer(session("unknown", "second", "2"))
	expectGiven(t, a, true, map[string][]string{"h1": {"first"}})
	if err := a.Client.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "unknown"}}); err != nil {
		t.Fatal(err)
	}
	expectGiven(t, a, false, map[string][]string{"h1": {"second"}})
}

func TestSessionMadeAgainUnderTheSameNameTakesItsPlace(t *testing.T) {
	a := newTestAssigner(t, "known")
	a.Offer(session("known", "box", "1"))
	a.Offer(session("known", "box", "2"))
	a.observe(host("h1", 4))
	expectGiven(t, a, false, map[string][]string{"h1": {"box"}})
	a.Withdraw(types.NamespacedName{Namespace: "known", Name: "box"})
	if len(a.waiting)+len(a.granted)+len(a.keys)+a.queue.Len() != 0 {
		t.Errorf("something is left of it: waiting %v, granted %v, keys %v", a.waiting, a.granted, a.keys)
	}
}

func TestOldVersionOfASessionThatWasGivenASlotIsNotOfferedAgain(t *testing.T) {
	a := newTestAssigner(t, "known")
	a.observe(host("h1", 4))
	m := session("known", "box", "1")
	a.Offer(m)
	expectGiven(t, a, false, map[string][]string{"h1": {"box"}})
	a.Offer(m)
	expectGiven(t, a, false, nil)
	outdated := m.DeepCopy()
	outdated.Status.Attempt = 1
	a.Offer(outdated)
	expectGiven(t, a, false, map[string][]string{"h1": {"box"}})
	if got := a.granted["1"]; got != 2 {
		t.Errorf("the attempt is %d, want 2", got)
	}
}

func TestFailedHostIsAvoidedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAssigner(t, "known")
		a.observe(host("h1", 4))
		m := session("known", "box", "1")
		m.Status.Attempt = 1
		a.Avoid("1", "h1", avoidFor)
		a.Offer(m)
		expectGiven(t, a, false, nil)
		if v, _ := a.Verdict("1"); v.Reason != v1alpha1.ReasonNoInstanceAvailable {
			t.Errorf("it waits for %s, want %s", v.Reason, v1alpha1.ReasonNoInstanceAvailable)
		}
		if pending := a.Pending("east"); len(pending) != 1 {
			t.Errorf("pending are %v: another host is wanted for it", pending)
		}
		<-time.After(avoidFor)
		synctest.Wait()
		expectGiven(t, a, false, map[string][]string{"h1": {"box"}})
	})
}

func TestSessionPlacedAnewKeepsItsPlaceAmongItsUsers(t *testing.T) {
	a := newTestAssigner(t, "known")
	a.observe(host("h1", 4))
	anew := session("known", "older", "1")
	anew.Spec.UserID = "user"
	anew.Status.Attempt = 1
	if err := a.Client.Create(context.Background(), anew); err != nil {
		t.Fatal(err)
	}
	younger := session("known", "younger", "2")
	younger.Spec.UserID = "user"
	a.Offer(younger)
	expectGiven(t, a, false, nil)
	if v, _ := a.Verdict("2"); v.Reason != v1alpha1.ReasonUserAlreadyActive || !v.Terminal {
		t.Errorf("the verdict is %+v, want the end for %s", v, v1alpha1.ReasonUserAlreadyActive)
	}
}

func TestHostThatIsGoneDoesNotComeBackByAnOldWrite(t *testing.T) {
	a := newTestAssigner(t, "known")
	h := host("h1", 4)
	a.observe(h)
	a.forget(h)
	a.observe(h) // The answer of a write that the deletion overtook.
	a.Live = a.Client
	m := session("known", "box", "1")
	a.Offer(m)
	if err := a.pass(context.Background()); err != nil {
		t.Fatalf("the pass ended with %v", err)
	}
	a.writers.Wait()
	if a.fleet.Free(placement.Key{Region: "east", AMI: "stable", Revision: "r1"}) != 0 {
		t.Error("the host is still offered")
	}
	if a.waiting["1"] == nil {
		t.Error("the session no longer waits")
	}
}
