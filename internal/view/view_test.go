// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

func TestSlotsShowWhatTheirSessionsDo(t *testing.T) {
	running := on("h", 0, v1alpha1.MandelboxRunning, "running")
	starting := on("h", 1, v1alpha1.MandelboxAllocated, "starting")
	ending := on("h", 2, v1alpha1.MandelboxDying, "ending")
	over := on("h", 3, v1alpha1.MandelboxFinished, "over")
	elsewhere := on("other", 4, v1alpha1.MandelboxRunning, "elsewhere")
	uncommitted := waiting("uncommitted", time.Second, "east")
	hidden := waiting("hidden", time.Second, "east")
	hidden.Namespace = "others"
	for name, tc := range map[string]struct {
		host      v1alpha1.Instance
		sessions  []*v1alpha1.Mandelbox
		namespace string
		want      string
	}{
		"each by its phase": {
			host:     host("h", "east", 5, running, starting, ending, over),
			sessions: []*v1alpha1.Mandelbox{running, starting, ending, over},
			want:     "running starting ending ending free",
		},
		"a claim that is not committed, or whose session is gone or elsewhere, is a reservation": {
			host:     host("h", "east", 3, uncommitted, elsewhere, running),
			sessions: []*v1alpha1.Mandelbox{uncommitted, elsewhere},
			want:     "reserved reserved reserved",
		},
		"one of a namespace that was not read is taken": {
			host: host("h", "east", 2, hidden, running), namespace: "team",
			want: "taken reserved",
		},
		"what is free on a host that takes no session is closed": {
			host:     in(v1alpha1.InstanceUnresponsive, host("h", "east", 2, running)),
			sessions: []*v1alpha1.Mandelbox{running},
			want:     "running closed",
		},
		"a claim beyond what was registered is still shown": {
			host:     host("h", "east", 1, running, starting),
			sessions: []*v1alpha1.Mandelbox{running, starting},
			want:     "running starting",
		},
		"a host that has not registered has none": {
			host: in(v1alpha1.InstancePreConnection, host("h", "east", 0)),
			want: "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := Of(Snapshot{Now: now, Namespace: tc.namespace, Instances: []v1alpha1.Instance{tc.host}, Mandelboxes: mandelboxes(tc.sessions...)})
			var states []string
			for _, s := range f.Regions[0].Channels[0].Hosts[0].Slots {
				states = append(states, string(s.State))
			}
			if got := strings.Join(states, " "); got != tc.want {
				t.Errorf("slots = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTheFleetIsCountedAndOrdered(t *testing.T) {
	running := on("east-1", 0, v1alpha1.MandelboxRunning, "ada")
	draining := host("east-0", "east", 2)
	draining.Spec.Drain = ptr.To(true)
	old := host("west-1", "west", 4)
	old.Spec.Revision = "r1"
	missing := host("lost", "nowhere", 1)
	missing.Spec.AMIName = "gone"
	f := Of(Snapshot{
		Now:         now,
		Regions:     []v1alpha1.Region{region("west"), region("east")},
		AMIs:        []v1alpha1.AMI{stable("east", "west")},
		Instances:   []v1alpha1.Instance{old, host("east-1", "east", 4, running), draining, missing},
		Mandelboxes: mandelboxes(running, waiting("late", time.Second, "east"), waiting("early", time.Minute, "east", "west")),
	})
	want := Totals{Hosts: 4, ActiveHosts: 3, Slots: 11, Claimed: 1, Free: 8, Running: 1, Waiting: 2}
	if diff := cmp.Diff(want, f.Totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	var lines []string
	for _, r := range f.Regions {
		for _, c := range r.Channels {
			for _, h := range c.Hosts {
				lines = append(lines, fmt.Sprintf("%s %s %s/%s %s %s", r.Name, r.State, c.Name, c.CommitHash, h.Name, strings.Join([]string{h.Phase, string(h.Release)}, " ")))
			}
		}
	}
	wantLines := []string{
		"east Ready stable/" + newHash + " east-0 Draining active",
		"east Ready stable/" + newHash + " east-1 Active active",
		"nowhere Stalled gone/ lost Active gone",
		"west Ready stable/" + newHash + " west-1 Active replaced",
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if f.Queue[0].Name != "early" || f.Queue[1].Name != "late" || f.Queue[0].Wants != "stable" {
		t.Errorf("queue = %+v", f.Queue)
	}
}

func TestTheStateOfAnObjectIsWhatKstatusSays(t *testing.T) {
	deleted := region("r")
	deleted.DeletionTimestamp = ptr.To(ago(time.Second))
	changed := region("r")
	changed.Generation = 2
	for name, tc := range map[string]struct {
		region v1alpha1.Region
		want   State
	}{
		"ready":              {region("r"), StateReady},
		"deleted":            {deleted, StateLeaving},
		"not yet looked at":  {changed, StateWorking},
		"not ready":          {region("r", no(v1alpha1.ConditionReady, v1alpha1.ReasonScalingUp, "")), StateWorking},
		"without conditions": {region("r", metav1.Condition{}), StateWorking},
		"stalled":            {region("r", yes(v1alpha1.ConditionStalled, v1alpha1.ReasonUnauthorized, "")), StateStalled},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Of(Snapshot{Now: now, Regions: []v1alpha1.Region{tc.region}}).Regions[0].State; got != tc.want {
				t.Errorf("state = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestARolloutIsShownRegionByRegion(t *testing.T) {
	a := stable("east", "west")
	a.Status.ActiveRevision = "old"
	a.Status.Revisions[0].State, a.Status.Revisions[1].State = v1alpha1.RevisionActive, v1alpha1.RevisionWarming
	a.Status.Regions[1].ActiveRevision = "new" // The west has swapped already.
	a.Status.Regions[0].Message = "1 of 2 hosts warm"
	a.Status.Conditions[1] = no(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRollingOut, "on its way")
	old := host("old", "east", 1)
	old.Spec.Revision = "r1"
	f := Of(Snapshot{
		Now: now, AMIs: []v1alpha1.AMI{a}, Regions: []v1alpha1.Region{region("east"), region("west")},
		Instances: []v1alpha1.Instance{old, host("warm", "east", 1), in(v1alpha1.InstancePreConnection, host("boots", "east", 0)), host("west", "west", 1)},
	})
	want := Channel{
		Name: "stable", State: StateReady, Reason: v1alpha1.ReasonRollingOut, Message: "on its way",
		CommitHash: oldHash, Wanted: newHash, Since: ptr.To(now.Add(-time.Minute)),
		Steps: []Step{
			{Region: "east", Warm: 1, Hosts: 2, Old: 1, Message: "1 of 2 hosts warm"},
			{Region: "west", Swapped: true, Warm: 1, Hosts: 1},
		},
	}
	if diff := cmp.Diff([]Channel{want}, f.Channels); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
	if got := f.Regions[0].Channels[0].Hosts; got[0].Release != ReleaseComing || got[1].Release != ReleaseActive {
		t.Errorf("hosts = %+v", got)
	}
}
