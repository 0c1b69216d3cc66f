// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
	"github.com/mandelbox/mandelbox-operator/internal/scaling"
)

func TestHostName(t *testing.T) {
	if got := hostName("us-east-1", "0123456789", 12, 3); got != "us-east-1-0123456789-12-3" {
		t.Errorf("got %s", got)
	}
	long := strings.Repeat("a", 60)
	names := map[string]bool{}
	for _, region := range []string{long + "b", long + "c"} {
		for at := range 2 {
			name := hostName(region, "0123456789", 12, at)
			names[name] = true
			if len(name) > maxName || len(validation.IsDNS1123Subdomain(name)) > 0 {
				t.Errorf("%s is not a name", name)
			}
		}
	}
	if len(names) != 4 {
		t.Errorf("names collide: %v", names)
	}
}

// world is a scope of one region with one channel, seen and with a network.
func world(changes ...func(*scope)) *scope {
	revision := func(name string, state v1alpha1.RevisionState) v1alpha1.Revision {
		return v1alpha1.Revision{Name: name, ClientCommitHash: "abcdef0", State: state, Regions: []v1alpha1.RevisionRegion{
			{Region: "east", ID: name, ImageID: "ami-1", TaskDefinition: "arn"},
		}}
	}
	s := &scope{
		now: time.Unix(1000, 0),
		region: &v1alpha1.Region{
			ObjectMeta: metav1.ObjectMeta{Name: "east", UID: "u1", Generation: 3},
			Spec: v1alpha1.RegionSpec{InstanceTypes: []string{"unheard.of", "g4dn.12xlarge"}, Capacity: v1alpha1.Capacity{
				VCPUsPerMandelbox: 4, MaxInstances: ptr.To[int32](10), DesiredFreeMandelboxes: ptr.To[int32](8),
			}},
		},
		amis: []v1alpha1.AMI{{
			ObjectMeta: metav1.ObjectMeta{Name: "stable"},
			Status: v1alpha1.AMIStatus{ActiveRevision: "r1", Revisions: []v1alpha1.Revision{
				revision("r0", v1alpha1.RevisionRetiring), revision("r1", v1alpha1.RevisionActive),
			}},
		}},
		catalog: cloud.Catalog{
			Ready:         true,
			InstanceTypes: map[string]cloud.InstanceType{"g4dn.12xlarge": {VCPUs: 48, GPUs: 4}},
			Images:        map[string]cloud.Image{"ami-1": {}},
		},
		subnets: []string{"subnet-1"}, securityGroups: []string{"sg-1"}, clusterARN: "arn:cluster",
	}
	for _, change := range changes {
		change(s)
	}
	s.releases = releasesIn("east", s.amis)
	s.count()
	return s
}

func hosts(revision string, n int, claims int) func(*scope) {
	return func(s *scope) {
		for range n {
			host := v1alpha1.Instance{
				ObjectMeta: metav1.ObjectMeta{Name: revision, OwnerReferences: []metav1.OwnerReference{
					{UID: types.UID("u1"), Controller: ptr.To(true)},
				}},
				Spec: v1alpha1.InstanceSpec{RegionName: "east", AMIName: "stable", Revision: revision},
				Status: v1alpha1.InstanceStatus{
					Phase: v1alpha1.InstanceActive, Capacity: ptr.To[int32](8), Claims: make([]v1alpha1.Claim, claims),
				},
			}
			s.hosts = append(s.hosts, host)
		}
	}
}

func warming(s *scope) {
	coming := s.amis[0].Status.Revisions[1].DeepCopy()
	coming.Name, coming.State, coming.Regions[0].ID = "r2", v1alpha1.RevisionWarming, "r2"
	s.amis[0].Status.Revisions = append(s.amis[0].Status.Revisions, *coming)
}

// TestPromised holds that slots which were given to sessions are not counted as
// free while their hosts don't show it, nor twice once they do.
func TestPromised(t *testing.T) {
	promised := func(uids ...string) func(*scope) {
		return func(s *scope) {
			s.promised = map[string][]placement.Promise{}
			for _, uid := range uids {
				s.promised["r1"] = append(s.promised["r1"], placement.Promise{UID: uid, Attempt: 1})
			}
		}
	}
	shows := func(s *scope) { s.hosts[0].Status.Claims[0] = v1alpha1.Claim{UID: "a", Attempt: 1} }
	earlier := func(s *scope) { s.hosts[0].Status.Claims[0] = v1alpha1.Claim{UID: "a"} }
	for name, test := range map[string]struct {
		changes []func(*scope)
		free    int32
	}{
		"nothing":                       {[]func(*scope){hosts("r1", 1, 2)}, 6},
		"two slots":                     {[]func(*scope){hosts("r1", 1, 2), promised("a", "b")}, 4},
		"one of them shows":             {[]func(*scope){hosts("r1", 1, 2), promised("a", "b"), shows}, 5},
		"its earlier attempt shows":     {[]func(*scope){hosts("r1", 1, 2), promised("a"), earlier}, 5},
		"more than there is":            {[]func(*scope){hosts("r1", 1, 7), promised("a", "b")}, 0},
		"of a host that is not listed":  {[]func(*scope){hosts("r0", 1, 2), promised("a")}, 0},
		"of one without a session, too": {[]func(*scope){hosts("r1", 1, 0), promised("a")}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			s := world(test.changes...)
			if got := s.free(); got != test.free {
				t.Errorf("%d slots are free, want %d", got, test.free)
			}
			for _, c := range s.candidates() {
				if c.Empty && len(s.promised["r1"]) > 0 && c.Revision == "r1" {
					t.Errorf("%s may leave as empty, with a slot promised", c.Name)
				}
			}
		})
	}
}

func TestDemand(t *testing.T) {
	active := scaling.Channel{AMI: "stable", Revision: "r1", SlotsPerHost: 8, DesiredFree: 8, Launchable: true}
	with := func(change func(*scaling.Channel)) scaling.Channel {
		c := active
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		of   *scope
		want []scaling.Channel
	}{
		"the active release alone": {world(), []scaling.Channel{active}},
		"its room and its queue": {
			world(hosts("r1", 2, 3), hosts("r0", 1, 1), func(s *scope) {
				s.pending = map[placement.Key]int32{{Region: "east", AMI: "stable", Revision: "r1"}: 4}
			}),
			[]scaling.Channel{with(func(c *scaling.Channel) { c.Free, c.Hosts, c.Pending = 10, 2, 4 })},
		},
		"a warming release is to have no less room than it takes over from": {
			world(hosts("r1", 2, 0), warming),
			[]scaling.Channel{
				with(func(c *scaling.Channel) { c.Free, c.Hosts = 16, 2 }),
				with(func(c *scaling.Channel) { c.Revision, c.DesiredFree = "r2", 16 }),
			},
		},
		"a suspended rollout launches nothing more": {
			world(warming, func(s *scope) { s.amis[0].Spec.Suspend = ptr.To(true) }),
			[]scaling.Channel{active, with(func(c *scaling.Channel) { c.Revision, c.Launchable = "r2", false })},
		},
		"no task definition": {
			world(func(s *scope) { s.amis[0].Status.Revisions[1].Regions[0].TaskDefinition = "" }),
			[]scaling.Channel{with(func(c *scaling.Channel) { c.Launchable = false })},
		},
		"no cluster": {
			world(func(s *scope) { s.clusterARN = "" }),
			[]scaling.Channel{with(func(c *scaling.Channel) { c.Launchable = false })},
		},
		"no network": {
			world(func(s *scope) { s.subnets = nil }),
			[]scaling.Channel{with(func(c *scaling.Channel) { c.Launchable = false })},
		},
		"no such image": {
			world(func(s *scope) { s.catalog.Images = nil }),
			[]scaling.Channel{with(func(c *scaling.Channel) { c.Launchable = false })},
		},
		"no such instance type": {
			world(func(s *scope) { s.catalog.InstanceTypes = nil }),
			[]scaling.Channel{with(func(c *scaling.Channel) { c.Launchable, c.SlotsPerHost = false, 0 })},
		},
		"a channel that is being deleted": {
			world(func(s *scope) { s.amis[0].DeletionTimestamp = &metav1.Time{Time: s.now} }), []scaling.Channel{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.of.demand().Channels); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestComputeStatus(t *testing.T) {
	for name, test := range map[string]struct {
		of                       *scope
		verdict                  trouble.Verdict
		ready, available, extra  string
		free, claimed, activated int32
	}{
		"enough room":    {of: world(hosts("r1", 1, 0)), ready: "Ready", available: "HasRoom", free: 8, activated: 1},
		"too little":     {of: world(hosts("r1", 1, 3)), ready: "ScalingUp", available: "HasRoom", extra: "Reconciling", free: 5, claimed: 3, activated: 1},
		"none":           {of: world(), ready: "ScalingUp", available: "NoRoom", extra: "Reconciling"},
		"at its limit":   {of: world(func(s *scope) { s.plan.Denied = 2 }), ready: "MaxInstancesReached", available: "NoRoom"},
		"no channel":     {of: world(func(s *scope) { s.amis = nil }), ready: "NoChannel", available: "NoChannel"},
		"old hosts only": {of: world(hosts("r0", 1, 1)), ready: "ScalingUp", available: "NoRoom", extra: "Reconciling", claimed: 1, activated: 1},
		"disabled":       {of: world(func(s *scope) { s.region.Spec.Enabled = ptr.To(false) }), ready: "Disabled", available: "Disabled"},
		"nothing to launch": {
			of: world(func(s *scope) { s.catalog.InstanceTypes = nil }), ready: "Progressing", available: "NoRoom", extra: "Reconciling",
		},
		"stalled": {
			of: world(), verdict: trouble.Verdict{Stalled: true, Reason: "SubnetsNotFound"},
			ready: "SubnetsNotFound", available: "NoRoom", extra: "Stalled",
		},
		"throttled": {
			of: world(hosts("r1", 1, 0)), verdict: trouble.Verdict{Reason: "Throttled"},
			ready: "Throttled", available: "HasRoom", extra: "Reconciling", free: 8, activated: 1,
		},
		"leaving": {
			of:    world(func(s *scope) { s.region.DeletionTimestamp = &metav1.Time{Time: s.now} }),
			ready: "Deleting", available: "Deleting", extra: "Reconciling",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.of.computeStatus(test.verdict)
			st := test.of.region.Status
			reason := func(conditionType string) string {
				return ptr.Deref(meta.FindStatusCondition(st.Conditions, conditionType), metav1.Condition{}).Reason
			}
			if reason("Ready") != test.ready || reason("Available") != test.available {
				t.Errorf("got Ready %s and Available %s, want %s and %s", reason("Ready"), reason("Available"), test.ready, test.available)
			}
			for _, extra := range []string{"Reconciling", "Stalled"} {
				if got := meta.IsStatusConditionTrue(st.Conditions, extra); got != (extra == test.extra) {
					t.Errorf("%s is %t", extra, got)
				}
			}
			got := []int32{*st.Free, *st.Claimed, *st.Hosts.Active}
			if diff := cmp.Diff([]int32{test.free, test.claimed, test.activated}, got); diff != "" {
				t.Errorf("free, claimed and active (-want +got):\n%s", diff)
			}
			if *st.ObservedGeneration != 3 {
				t.Errorf("observed generation %d", *st.ObservedGeneration)
			}
		})
	}
}

func TestComputeStatusTwiceChangesNothing(t *testing.T) {
	s := world(hosts("r1", 1, 3))
	s.computeStatus(trouble.Verdict{})
	first := s.region.Status.DeepCopy()
	s.computeStatus(trouble.Verdict{})
	if diff := cmp.Diff(first, &s.region.Status); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
}

func TestHostsOfDecision(t *testing.T) {
	decision := &v1alpha1.ScalingDecision{Number: 4, Launches: []v1alpha1.ScalingLaunch{
		{AMIName: "stable", Revision: "r0", Count: 2}, {AMIName: "stable", Revision: "r1", Count: 2},
	}}
	var names []string
	for _, host := range world().hostsOf(decision) {
		names = append(names, host.Name)
	}
	// The release of the first two was replaced since; the others keep their places.
	if diff := cmp.Diff([]string{"east-r1-4-2", "east-r1-4-3"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"east-r0-4-0", "east-r0-4-1", "east-r1-4-2", "east-r1-4-3"}, decisionNames("east", decision)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	disabled := world(func(s *scope) { s.region.Spec.Enabled = ptr.To(false) })
	if hosts := disabled.hostsOf(decision); len(hosts) > 0 {
		t.Errorf("a disabled region launches %d hosts", len(hosts))
	}
}
