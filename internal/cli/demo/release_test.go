// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
)

// hostOf is a host of a release.
func hostOf(commit, name string, phase v1alpha1.InstancePhase, claimed int) *v1alpha1.Instance {
	o := host(phase, 2)
	o.Name, o.Spec.ClientCommitHash = name, commit
	o.Status.Claims = make([]v1alpha1.Claim, claimed)
	return o
}

// secondAct is a release with guests of an API that refuses whom refuse names.
func secondAct(t *testing.T, refuse func(name string) error) *release {
	t.Helper()
	samples, err := readSamples()
	if err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(controllers.NewScheme()).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, api client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if err := refuse(o.GetName()); err != nil {
				return err
			}
			return api.Create(ctx, o, options...)
		},
	}).Build()
	f := newFleet(func(string) {})
	return &release{channel: "stable", old: "4f2d9c1a7b3e", next: nextCommit, fleet: f, guests: &guests{
		pace: pace{stay: time.Second}, api: api, fleet: f, samples: samples, here: map[string]*guest{}, tell: func(string, ...any) {},
	}}
}

// shown is a guest's session as the API server shows it in a phase.
func (r *release) shown(t *testing.T, name string, phase v1alpha1.MandelboxPhase, reason string) *v1alpha1.Mandelbox {
	t.Helper()
	namespace, short, _ := strings.Cut(name, "/")
	o := session(phase, reason)
	o.Namespace, o.Name = namespace, short
	return o
}

func TestGuestsAreCounted(t *testing.T) {
	r := secondAct(t, func(name string) error {
		if name == "guest-003" {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "mandelboxes"}, name, errors.New("no"))
		}
		return nil
	})
	g, began := r.guests, time.Now()
	for range 4 {
		g.invite(t.Context(), began)
	}
	for i, name := range []string{"team-a/guest-001", "team-a/guest-002", "team-b/guest-004"} {
		r.fleet.see(r.shown(t, name, v1alpha1.MandelboxRunning, v1alpha1.ReasonRunning), began.Add(time.Duration(i)*time.Second))
	}
	r.fleet.see(r.shown(t, "team-a/guest-002", v1alpha1.MandelboxFinished, v1alpha1.ReasonHostLost), began.Add(3*time.Second))
	attend := func(after time.Duration) {
		t.Helper()
		if err := g.attend(t.Context(), began.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	attend(500 * time.Millisecond) // Nobody has had enough yet, but one is lost.
	attend(1200 * time.Millisecond)
	for _, gone := range []string{"team-a/guest-001", "team-a/guest-002"} {
		r.fleet.forget(r.shown(t, gone, v1alpha1.MandelboxDying, v1alpha1.ReasonStopping))
	}
	attend(1300 * time.Millisecond)

	want := tally{came: 3, refused: 1, ran: 3, left: 2, lost: 1, longest: 2 * time.Second}
	if diff := cmp.Diff(want, g.tally(), cmp.AllowUnexported(tally{})); diff != "" {
		t.Errorf("the guests differ (-want +got):\n%s", diff)
	}
	err := r.err()
	for _, expected := range []string{"session team-b/guest-003 was refused: ", "session team-a/guest-002 was lost: Finished: HostLost"} {
		if err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("the second act's error does not say %q: %v", expected, err)
		}
	}
	var left v1alpha1.MandelboxList
	if err := g.api.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	if len(left.Items) != 1 || left.Items[0].Name != "guest-004" {
		t.Errorf("the guests left %v", left.Items)
	}
}

func TestGuestsTakeTurns(t *testing.T) {
	r := secondAct(t, func(string) error { return nil })
	var got []string
	for number := range 4 {
		o := r.guests.samples.guestSession(number)
		got = append(got, sessionName(o)+" "+strings.Join(o.Spec.Regions, " "))
	}
	if diff := cmp.Diff([]string{
		"team-a/guest-001 us-east-1 eu-central-1", "team-a/guest-002 eu-central-1 us-east-1",
		"team-b/guest-003 us-east-1 eu-central-1", "team-b/guest-004 eu-central-1 us-east-1",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSessionsThatNobodyDeleted(t *testing.T) {
	deleted := session(v1alpha1.MandelboxDying, v1alpha1.ReasonStopping)
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	running := session(v1alpha1.MandelboxRunning, v1alpha1.ReasonRunning)
	for name, tc := range map[string]struct {
		before, now *v1alpha1.Mandelbox
		want        string
	}{
		"starts":            {nil, session(v1alpha1.MandelboxPending, v1alpha1.ReasonNoInstanceAvailable), ""},
		"runs on":           {running, running, ""},
		"was deleted":       {running, deleted, ""},
		"ended":             {running, session(v1alpha1.MandelboxFinished, v1alpha1.ReasonHostLost), "Finished: HostLost"},
		"could not start":   {session(v1alpha1.MandelboxAllocated, v1alpha1.ReasonStarting), session(v1alpha1.MandelboxFinished, v1alpha1.ReasonTaskFailed), "Finished: TaskFailed"},
		"was stopped":       {running, session(v1alpha1.MandelboxDying, v1alpha1.ReasonStopping), "Dying: Stopping"},
		"was taken back":    {running, session(v1alpha1.MandelboxPending, v1alpha1.ReasonNoInstanceAvailable), "Pending: NoInstanceAvailable"},
		"is placed for now": {session(v1alpha1.MandelboxPending, v1alpha1.ReasonNoInstanceAvailable), session(v1alpha1.MandelboxAllocated, v1alpha1.ReasonStarting), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := taken(tc.before, tc.now); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestReleaseTable(t *testing.T) {
	r := secondAct(t, func(string) error { return nil })
	channel := &v1alpha1.AMI{ObjectMeta: metav1.ObjectMeta{Name: "stable", Generation: 2}, Spec: v1alpha1.AMISpec{ClientCommitHash: r.next}}
	channel.Status.ObservedGeneration, channel.Status.Progress = ptr.To[int64](2), "us-east-1 done"
	channel.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionRolledOut, Reason: v1alpha1.ReasonRolledOut}}
	channel.Status.Revisions = []v1alpha1.Revision{
		{ClientCommitHash: r.old, State: v1alpha1.RevisionRetiring}, {ClientCommitHash: r.next, State: v1alpha1.RevisionActive},
	}
	ada := session(v1alpha1.MandelboxRunning, v1alpha1.ReasonRunning)
	ada.Status.InstanceName = "us-1"
	r.cast = []string{"team-a/ada", "team-a/alan"}
	for _, object := range []any{
		channel, ada, hostOf(r.old, "us-1", v1alpha1.InstanceDraining, 1), hostOf(r.old, "us-2", v1alpha1.InstanceDraining, 0),
		hostOf(r.next, "us-3", v1alpha1.InstanceActive, 1), hostOf(r.next, "us-4", v1alpha1.InstancePreConnection, 0),
	} {
		r.fleet.see(object, time.Now())
	}
	want := `
AMI stable 8b1e6f0d2c47 RolledOut: us-east-1 done

RELEASE       STATE     REGION     SLOTS     HOSTS
4f2d9c1a7b3e  Retiring  us-east-1  ▓░░░ 1/4  2 Draining
8b1e6f0d2c47  Active    us-east-1  ▓░░░ 1/4  1 Active, 1 PreConnection

SESSIONS  CAME  HERE  LEFT  REFUSED  LOST  LONGEST WAIT
act one   2     1     1     0        0     -
guests    0     0     0     0        0     -

HOST  REGION  PHASE  TYPE  SLOTS  REASON  ELAPSED`
	if diff := cmp.Diff(want, strings.Join(r.lines(view{}, false), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"host us-2 is Draining: no reason given yet", "host us-4 is PreConnection: no reason given yet",
	}, r.fleet.unsettled(r.old)); diff != "" {
		t.Errorf("what is unsettled differs (-want +got):\n%s", diff)
	}

	r.fleet.forget(hostOf(r.old, "us-2", v1alpha1.InstanceTerminating, 0))
	r.swapped = 15 * time.Second
	const verdict = "Release 8b1e6f0d2c47 took over 15.0s after it was applied; 1 of 2 old hosts left, the rest stay for team-a/ada. 0 sessions refused, 0 lost."
	if got := r.verdict(); got != verdict {
		t.Errorf("got the verdict %q, want %q", got, verdict)
	}
	if err := r.err(); err != nil {
		t.Errorf("nothing was refused or lost, but the error is %v", err)
	}
}
