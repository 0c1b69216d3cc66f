// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"fmt"

	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
	"github.com/mandelbox/mandelbox-operator/internal/scaling"
)

// demand is what the region's releases want, in the terms of internal/scaling.
func (s *scope) demand() scaling.Region {
	return scaling.Region{
		Enabled:      s.region.Enabled(),
		MaxInstances: ptr.Deref(s.region.Spec.Capacity.MaxInstances, 0),
		Hosts:        s.total.Existing,
		Channels:     s.channels(),
	}
}

func (s *scope) channels() []scaling.Channel {
	channels := make([]scaling.Channel, 0, len(s.releases))
	for _, key := range s.keys() {
		release, count := s.releases[key], s.counts[key]
		desired, minInstances := census.Desired(release.ami, s.region, s.now)
		if !release.active {
			free, pending := s.offeredBefore(release)
			desired = census.Buffer(desired, free, pending)
		}
		slots, _ := s.slotsPerHost(release)
		channels = append(channels, scaling.Channel{
			AMI:          key.AMI,
			Revision:     key.Revision,
			Free:         count.Free,
			OnTheWay:     count.OnTheWay,
			Pending:      s.pending[placement.Key{Region: key.Region, AMI: key.AMI, Revision: key.Revision}],
			Hosts:        count.Hosts,
			SlotsPerHost: slots,
			DesiredFree:  desired,
			MinInstances: minInstances,
			Launchable:   s.obstacle(release) == "",
		})
	}
	return channels
}

// offeredBefore is the number of free slots of the release that a warming one is
// to take over from, and of the Mandelboxes that wait for it.
func (s *scope) offeredBefore(warming release) (free, pending int32) {
	row := warming.ami.ActiveRow(s.region.Name)
	if row == nil {
		return 0, 0
	}
	key := census.Release{Region: s.region.Name, AMI: warming.ami.Name, Revision: row.ID}
	return s.counts[key].Free, s.pending[placement.Key{Region: key.Region, AMI: key.AMI, Revision: key.Revision}]
}

// slotsPerHost plans the slots of the next host of a release by the first of the
// Region's instance types that EC2 knows; a message says why there are none.
func (s *scope) slotsPerHost(of release) (int32, string) {
	for _, name := range s.region.Spec.InstanceTypes {
		known, ok := s.catalog.InstanceTypes[name]
		if !ok {
			continue
		}
		gpu := v1alpha1.GPUShared
		if of.row != nil {
			gpu = of.row.GPU
		}
		slots := census.SlotsPerHost(s.region, gpu, known)
		if slots == 0 {
			return 0, fmt.Sprintf("a %s host (%d vCPUs, %d GPUs) has no room for a Mandelbox by spec.capacity",
				name, known.VCPUs, known.GPUs)
		}
		return slots, ""
	}
	return 0, fmt.Sprintf("EC2 offers none of spec.instanceTypes in %s", s.region.AWSRegion())
}

// obstacle says why no host of a release can be launched now; "" if one can.
func (s *scope) obstacle(of release) string {
	if !s.catalog.Ready {
		return "AWS has not been looked at yet"
	}
	if len(s.subnets) == 0 || len(s.securityGroups) == 0 {
		return "the network was not found"
	}
	if s.clusterARN == "" {
		return "there is no ECS cluster"
	}
	if of.row.TaskDefinition == "" {
		return "its task definition is not registered yet"
	}
	if !of.active && of.ami.Suspended() {
		return "its rollout is suspended"
	}
	if _, known := s.catalog.Images[of.row.ImageID]; !known {
		return fmt.Sprintf("EC2 does not know image %s", of.row.ImageID)
	}
	if why := s.neverActive[s.keyOf(of)]; why != "" {
		return why
	}
	_, obstacle := s.slotsPerHost(of)
	return obstacle
}
