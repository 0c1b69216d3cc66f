// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

func TestExplainASessionThatWaits(t *testing.T) {
	ada, alan := waiting("ada", time.Minute, "east", "off"), waiting("alan", 2*time.Minute, "east")
	other := waiting("other", 3*time.Minute, "east")
	other.Spec.UserID = "ada"
	busy := on("full", 0, v1alpha1.MandelboxRunning, "busy")
	old := host("old", "east", 4)
	old.Spec.Revision, old.Spec.ClientCommitHash = "r1", oldHash
	draining := host("draining", "east", 4)
	draining.Spec.Drain = ptr.To(true)
	beta := host("beta", "east", 4)
	beta.Spec.AMIName = "beta"
	east, off := region("east", yes(v1alpha1.ConditionReady, v1alpha1.ReasonMaxInstancesReached, "1 more host would be needed")), region("off")
	east.Spec.FallbackRegions = []string{"south"}
	off.Spec.Enabled = ptr.To(false)
	s := Snapshot{
		Now: now, Regions: []v1alpha1.Region{east, off, region("south"), region("far")}, AMIs: []v1alpha1.AMI{stable("east", "off", "south", "far")},
		Instances: []v1alpha1.Instance{
			host("far", "far", 4), host("off", "off", 4), beta, old, draining,
			in(v1alpha1.InstancePreConnection, host("boots", "east", 0), no(v1alpha1.ConditionReady, v1alpha1.ReasonRegistering, "waiting for the ECS agent to register")),
			host("full", "east", 1, busy),
		},
		Mandelboxes: mandelboxes(ada, alan, other, busy),
	}
	e := Explain(s, ada)
	want := []HostConsidered{
		{"full", "east", "HostFull", "all of its 1 slots are claimed"},
		{"boots", "east", "HostClosed", "it is PreConnection: waiting for the ECS agent to register"},
		{"draining", "east", "HostClosed", "it is Draining"},
		{"old", "east", "ReleaseReplaced", "its release, commit hash aaaaaaa, was replaced"},
		{"beta", "east", "OtherRelease", "it is of channel beta, not of stable"},
		{"off", "off", "RegionOff", "off is not enabled, or only a region that is not falls back on it"},
		{"far", "far", "RegionNotAsked", "it is in far, which the session does not ask for"},
	}
	if diff := cmp.Diff(want, e.Hosts); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if e.Told.Reason != v1alpha1.ReasonNoInstanceAvailable || e.Found.Reason != v1alpha1.ReasonNoInstanceAvailable {
		t.Errorf("told %+v, found %+v", e.Told, e.Found)
	}
	if e.Place != 3 || e.Queued != 3 || e.Holds != 1 {
		t.Errorf("place %d of %d, holds %d; want 3 of 3 and 1", e.Place, e.Queued, e.Holds)
	}
	var regions []string
	for _, r := range e.Regions {
		regions = append(regions, r.Name+": "+r.Says)
	}
	if diff := cmp.Diff([]string{
		"east: of the hosts of a release that fits, 0 have room, 1 are full and 2 take no session; " +
			"the Region says MaxInstancesReached: 1 more host would be needed",
		"south: no host of a release that fits; the Region says Ready: Every channel has the room it should have.",
		"off: disabled: spec.enabled is false",
	}, regions); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}

	s.Instances = append(s.Instances, host("free", "east", 4))
	e = Explain(s, ada)
	if e.Hosts[0].Name != "free" || e.Hosts[0].Objection != "" || !strings.Contains(e.Found.Message, "slot 0 of Instance free") {
		t.Errorf("with room: %+v, %+v", e.Hosts[0], e.Found)
	}
}

func TestExplainASessionThatDoesNotWait(t *testing.T) {
	lost := failed("lost", v1alpha1.ReasonHostLost, time.Minute)
	for name, tc := range map[string]struct {
		session *v1alpha1.Mandelbox
		want    Verdict
	}{
		"running": {on("h", 0, v1alpha1.MandelboxRunning, "ada"), Verdict{v1alpha1.ReasonRunning, "the session is running"}},
		"over":    {lost, Verdict{v1alpha1.ReasonHostLost, "it ended"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := Explain(Snapshot{Now: now, Mandelboxes: mandelboxes(tc.session)}, tc.session)
			if diff := cmp.Diff(tc.want, e.Told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if e.Found != nil || e.Hosts != nil || e.Place != 0 {
				t.Errorf("it is explained as if it waited: %+v", e)
			}
		})
	}
}
