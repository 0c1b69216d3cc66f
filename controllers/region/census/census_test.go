// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package census_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

var of = census.Release{Region: "east", AMI: "stable", Revision: "r1"}

func host(phase v1alpha1.InstancePhase, changes ...func(*v1alpha1.Instance)) v1alpha1.Instance {
	i := v1alpha1.Instance{
		Spec:   v1alpha1.InstanceSpec{RegionName: of.Region, AMIName: of.AMI, Revision: of.Revision},
		Status: v1alpha1.InstanceStatus{Phase: phase},
	}
	for _, change := range changes {
		change(&i)
	}
	return i
}

func slots(capacity int32, claims int) func(*v1alpha1.Instance) {
	return func(i *v1alpha1.Instance) {
		i.Status.Capacity = ptr.To(capacity)
		i.Status.Claims = make([]v1alpha1.Claim, claims)
	}
}

func draining(i *v1alpha1.Instance) { i.Spec.Drain = ptr.To(true) }

func deleted(i *v1alpha1.Instance) { i.DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1, 0))) }

func planned(n int32) func(*v1alpha1.Instance) {
	return func(i *v1alpha1.Instance) { i.Status.PlannedCapacity = ptr.To(n) }
}

func TestTake(t *testing.T) {
	type counts struct{ Free, Claimed, OnTheWay, Hosts, Open, Existing, Total int32 }
	for name, test := range map[string]struct {
		hosts []v1alpha1.Instance
		want  counts
	}{
		"none": {},
		"a new one is on its way with the room its type promises": {
			hosts: []v1alpha1.Instance{host("")},
			want:  counts{OnTheWay: 8, Hosts: 1, Existing: 1, Total: 1},
		},
		"its own plan goes before that": {
			hosts: []v1alpha1.Instance{host(v1alpha1.InstancePreConnection, planned(2))},
			want:  counts{OnTheWay: 2, Hosts: 1, Existing: 1, Total: 1},
		},
		"one that was told to leave before it came brings nothing": {
			hosts: []v1alpha1.Instance{host(v1alpha1.InstancePreConnection, draining), host("", deleted)},
			want:  counts{Existing: 2, Total: 2},
		},
		"an active one has room beside its claims": {
			hosts: []v1alpha1.Instance{host(v1alpha1.InstanceActive, slots(8, 3))},
			want:  counts{Free: 5, Claimed: 3, Hosts: 1, Open: 1, Existing: 1, Total: 1},
		},
		"one that is told to drain has none": {
			hosts: []v1alpha1.Instance{host(v1alpha1.InstanceActive, slots(8, 3), draining)},
			want:  counts{Claimed: 3, Existing: 1, Total: 1},
		},
		"draining and unresponsive ones exist": {
			hosts: []v1alpha1.Instance{host(v1alpha1.InstanceDraining, slots(8, 1)), host(v1alpha1.InstanceUnresponsive, slots(8, 1))},
			want:  counts{Claimed: 2, Existing: 2, Total: 2},
		},
		"terminating ones are only counted": {
			hosts: []v1alpha1.Instance{host(v1alpha1.InstanceTerminating, slots(8, 0))},
			want:  counts{Total: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := census.Take(test.hosts, func(census.Release) int32 { return 8 })[of]
			got := counts{c.Free, c.Claimed, c.OnTheWay, c.Hosts, c.Open, c.Existing, c.Total()}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPhases(t *testing.T) {
	all := census.Take([]v1alpha1.Instance{
		host(""), host(v1alpha1.InstancePreConnection), host(v1alpha1.InstanceActive), host(v1alpha1.InstanceDraining),
		host(v1alpha1.InstanceUnresponsive), host(v1alpha1.InstanceTerminating),
	}, nil)[of]
	want := v1alpha1.HostCounts{
		PreConnection: ptr.To[int32](4), Active: ptr.To[int32](2), Draining: ptr.To[int32](2),
		Unresponsive: ptr.To[int32](2), Terminating: ptr.To[int32](2),
	}
	if diff := cmp.Diff(want, all.Plus(all).Phases()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if none := (census.Count{}).Phases(); ptr.Deref(none.Active, -1) != 0 {
		t.Errorf("a count of none says %v active hosts, not 0", none.Active)
	}
}

func TestSlotsPerHost(t *testing.T) {
	gpuHost := cloud.InstanceType{Name: "g4dn.12xlarge", VCPUs: 48, GPUs: 4}
	plain := cloud.InstanceType{Name: "m5.4xlarge", VCPUs: 16}
	for name, test := range map[string]struct {
		gpu    v1alpha1.GPUMode
		of     cloud.InstanceType
		perGPU *int32
		want   int32
	}{
		"shared by two":                  {v1alpha1.GPUShared, gpuHost, nil, 8},
		"shared by four, bound by vCPU":  {v1alpha1.GPUShared, gpuHost, ptr.To[int32](4), 12},
		"one each":                       {v1alpha1.GPUExclusive, gpuHost, nil, 4},
		"one each, though others ignore": {v1alpha1.GPUExclusive, gpuHost, ptr.To[int32](0), 4},
		"none used":                      {v1alpha1.GPUNone, gpuHost, nil, 12},
		"none there":                     {v1alpha1.GPUShared, plain, nil, 0},
		"none there nor used":            {v1alpha1.GPUNone, plain, nil, 4},
	} {
		t.Run(name, func(t *testing.T) {
			region := &v1alpha1.Region{Spec: v1alpha1.RegionSpec{
				Capacity: v1alpha1.Capacity{VCPUsPerMandelbox: 4, MandelboxesPerGPU: test.perGPU},
			}}
			if got := census.SlotsPerHost(region, test.gpu, test.of); got != test.want {
				t.Errorf("got %d slots, want %d", got, test.want)
			}
		})
	}
}

func TestDesired(t *testing.T) {
	region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
	ami := &v1alpha1.AMI{Spec: v1alpha1.AMISpec{Images: []v1alpha1.RegionImage{{Region: "east"}, {Region: "west", DesiredFreeMandelboxes: ptr.To[int32](1)}}}}
	check := func(what string, free, minInstances int32) {
		t.Helper()
		gotFree, gotMin := census.Desired(ami, region, time.Unix(0, 0))
		if gotFree != free || gotMin != minInstances {
			t.Errorf("%s: got %d free, %d hosts; want %d and %d", what, gotFree, gotMin, free, minInstances)
		}
	}
	check("nothing said", 20, 0)
	region.Spec.Capacity.DesiredFreeMandelboxes, region.Spec.Capacity.MinInstances = ptr.To[int32](0), ptr.To[int32](2)
	check("the Region's", 0, 2)
	ami.Spec.Images[0].DesiredFreeMandelboxes, ami.Spec.Images[0].MinInstances = ptr.To[int32](5), ptr.To[int32](0)
	check("the channel's own", 5, 0)
	region.Spec.Capacity.Schedules = []v1alpha1.Schedule{
		{Cron: "* * * * *", Duration: metav1.Duration{Duration: time.Minute}, DesiredFreeMandelboxes: ptr.To[int32](4)},
	}
	check("a schedule that asks for less", 5, 0)
	region.Spec.Capacity.Schedules[0].DesiredFreeMandelboxes = ptr.To[int32](6)
	check("a schedule that asks for more", 6, 0)
}

func TestBuffer(t *testing.T) {
	for name, test := range map[string]struct{ desired, free, pending, want int32 }{
		"what is desired":                {20, 12, 0, 20},
		"what is free before":            {20, 30, 0, 30},
		"what is free, and who waits":    {20, 15, 10, 25},
		"who waits where nothing is":     {0, 0, 3, 3},
		"nothing where nothing is asked": {0, 0, 0, 0},
	} {
		if got := census.Buffer(test.desired, test.free, test.pending); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}
