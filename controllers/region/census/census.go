// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package census counts hosts and their room the one way that the Region and the
// AMI controller both go by. It is pure: objects in, numbers out.
package census

import (
	"time"

	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/scaling"
	"github.com/mandelbox/mandelbox-operator/internal/schedule"
)

// Release is one release of a channel in one region: a row of an AMI's status.
type Release struct {
	// Region is the name of the Region.
	Region string
	// AMI is the name of the channel.
	AMI string
	// Revision is the id of the row.
	Revision string
}

// ReleaseOf is the release that a host was made for.
func ReleaseOf(i *v1alpha1.Instance) Release {
	return Release{Region: i.Spec.RegionName, AMI: i.Spec.AMIName, Revision: i.Spec.Revision}
}

// Count is a number of hosts and their room. The zero Count is of no hosts.
type Count struct {
	// Free is the number of slots of open hosts that have no claim.
	Free int32
	// Claimed is the number of claims, on whatever host.
	Claimed int32
	// OnTheWay is the number of slots planned on hosts that have yet to connect.
	OnTheWay int32
	// Hosts is how many are open or on the way.
	Hosts int32
	// Open is how many take new sessions.
	Open int32
	// Existing is how many there are but for those that are terminating.
	Existing int32

	preConnection, active, draining, unresponsive, terminating int32
}

// Total is the number of all hosts, whatever they are doing.
func (c Count) Total() int32 { return c.Existing + c.terminating }

// Promise is the count once so many of the free slots are claimed.
func (c Count) Promise(slots int32) Count {
	c.Free -= slots
	c.Claimed += slots
	return c
}

// Phases are the numbers of hosts by phase; each is set, 0 included.
func (c Count) Phases() v1alpha1.HostCounts {
	return v1alpha1.HostCounts{
		PreConnection: ptr.To(c.preConnection),
		Active:        ptr.To(c.active),
		Draining:      ptr.To(c.draining),
		Unresponsive:  ptr.To(c.unresponsive),
		Terminating:   ptr.To(c.terminating),
	}
}

// Plus is the sum of both counts.
func (c Count) Plus(d Count) Count {
	return Count{
		Free:          c.Free + d.Free,
		Claimed:       c.Claimed + d.Claimed,
		OnTheWay:      c.OnTheWay + d.OnTheWay,
		Hosts:         c.Hosts + d.Hosts,
		Open:          c.Open + d.Open,
		Existing:      c.Existing + d.Existing,
		preConnection: c.preConnection + d.preConnection,
		active:        c.active + d.active,
		draining:      c.draining + d.draining,
		unresponsive:  c.unresponsive + d.unresponsive,
		terminating:   c.terminating + d.terminating,
	}
}

// Take counts hosts by release. planned answers for a host that has not been
// given a planned capacity yet; it may be nil, which means none.
func Take(hosts []v1alpha1.Instance, planned func(Release) int32) map[Release]Count {
	counts := map[Release]Count{}
	for i := range hosts {
		release := ReleaseOf(&hosts[i])
		counts[release] = counts[release].Plus(one(&hosts[i], planned))
	}
	return counts
}

func one(host *v1alpha1.Instance, planned func(Release) int32) Count {
	c := Count{Free: host.FreeSlots(), Claimed: int32(len(host.Status.Claims)), Existing: 1}
	switch host.Status.Phase {
	case v1alpha1.InstancePreConnection, "":
		c.preConnection = 1
		if !host.Leaving() {
			c.Hosts = 1
			c.OnTheWay = plannedSlots(host, planned)
		}
	case v1alpha1.InstanceActive:
		c.active = 1
		if host.Open() {
			c.Hosts, c.Open = 1, 1
		}
	case v1alpha1.InstanceDraining:
		c.draining = 1
	case v1alpha1.InstanceUnresponsive:
		c.unresponsive = 1
	case v1alpha1.InstanceTerminating:
		c.terminating, c.Existing = 1, 0
	}
	return c
}

func plannedSlots(host *v1alpha1.Instance, planned func(Release) int32) int32 {
	switch {
	case host.Status.PlannedCapacity != nil:
		return *host.Status.PlannedCapacity
	case planned != nil:
		return planned(ReleaseOf(host))
	}
	return 0
}

// SlotsPerHost is how many Mandelboxes of a channel a host of an instance type
// is planned to take in a region. GPUs count once each where a task has one for
// itself, and not at all where tasks use none.
func SlotsPerHost(region *v1alpha1.Region, gpu v1alpha1.GPUMode, of cloud.InstanceType) int32 {
	perGPU := ptr.Deref(region.Spec.Capacity.MandelboxesPerGPU, 2)
	switch gpu {
	case v1alpha1.GPUExclusive:
		perGPU = 1
	case v1alpha1.GPUNone:
		perGPU = 0
	case v1alpha1.GPUShared, "":
	}
	return scaling.SlotsPerHost(of.VCPUs, of.GPUs, region.Spec.Capacity.VCPUsPerMandelbox, perGPU)
}

// Desired is how many slots a channel keeps free in a region, and the least
// number of hosts it keeps there: the channel's own figures, or the Region's. A
// schedule that is in force then asks for more room, never for less.
func Desired(ami *v1alpha1.AMI, region *v1alpha1.Region, now time.Time) (free, minInstances int32) {
	free = ptr.Deref(region.Spec.Capacity.DesiredFreeMandelboxes, 20)
	minInstances = ptr.Deref(region.Spec.Capacity.MinInstances, 0)
	if image := ami.Image(region.Name); image != nil {
		free = ptr.Deref(image.DesiredFreeMandelboxes, free)
		minInstances = ptr.Deref(image.MinInstances, minInstances)
	}
	return max(free, schedule.At(region.Spec.Capacity.Schedules, now).DesiredFree), minInstances
}

// Buffer is how many slots the next release must have free in a region before it
// takes over: those that are desired, and no fewer than the release before it
// has, those included that wait for room of it now: a release never shrinks what
// is on offer.
func Buffer(desired, freeBefore, pending int32) int32 { return max(desired, freeBefore+pending) }
