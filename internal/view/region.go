// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Region is a region with its hosts.
type Region struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Reason and Message are those of the condition Ready, or of Stalled.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Enabled bool   `json:"enabled"`
	// Missing says that there is no such Region: hosts or AMIs name it.
	Missing bool `json:"missing,omitempty"`
	// Totals are of this region. Its Waiting is what the Region's status counts.
	Totals Totals `json:"totals"`
	// MaxHosts is how many hosts the region may have.
	MaxHosts int `json:"maxHosts"`
	// Channels are those that have hosts here or are active here, by name.
	Channels []RegionChannel `json:"channels"`
}

// RegionChannel is the part of a channel that is in one region.
type RegionChannel struct {
	Name string `json:"name"`
	// Active is the id of the release that sessions get here; empty if none is.
	Active string `json:"active,omitempty"`
	// CommitHash is the client build of that release.
	CommitHash string `json:"commitHash,omitempty"`
	// Hosts are in the order of their age.
	Hosts []Host `json:"hosts"`
}

func regionsOf(s Snapshot, sessions map[string]*v1alpha1.Mandelbox) []Region {
	regions := map[string]*Region{}
	for i := range s.Regions {
		r := &s.Regions[i]
		regions[r.Name] = regionOf(r)
	}
	at := func(name string) *Region {
		if regions[name] == nil {
			regions[name] = &Region{Name: name, Missing: true, State: StateStalled, Reason: v1alpha1.ReasonRegionNotFound}
		}
		return regions[name]
	}
	amis := map[string]*v1alpha1.AMI{}
	for i := range s.AMIs {
		ami := &s.AMIs[i]
		amis[ami.Name] = ami
		for _, own := range ami.Status.Regions {
			if row := ami.ActiveRow(own.Region); row != nil {
				channel := at(own.Region).channel(ami.Name)
				channel.Active, channel.CommitHash = row.ID, ami.ActiveRevisionIn(own.Region).ClientCommitHash
			}
		}
	}
	for i := range s.Instances {
		host := &s.Instances[i]
		channel := at(host.Spec.RegionName).channel(host.Spec.AMIName)
		channel.Hosts = append(channel.Hosts, hostOf(host, amis[host.Spec.AMIName], sessions, s.Namespace))
	}
	sorted := make([]Region, 0, len(regions))
	for _, name := range slices.Sorted(maps.Keys(regions)) {
		r := regions[name]
		slices.SortFunc(r.Channels, func(a, b RegionChannel) int { return cmp.Compare(a.Name, b.Name) })
		for j := range r.Channels {
			slices.SortFunc(r.Channels[j].Hosts, func(a, b Host) int {
				return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
			})
		}
		sorted = append(sorted, *r)
	}
	return sorted
}

func regionOf(r *v1alpha1.Region) *Region {
	why := readyOrStalled(r.Status.Conditions)
	return &Region{
		Name: r.Name, State: stateOf(r, r.Status.ObservedGeneration, r.Status.Conditions),
		Reason: why.Reason, Message: why.Message, Enabled: r.Enabled(), Channels: []RegionChannel{},
		MaxHosts: int(ptr.Deref(r.Spec.Capacity.MaxInstances, 0)),
		Totals:   Totals{Waiting: int(ptr.Deref(r.Status.Pending, 0))},
	}
}

// channel finds the region's part of a channel, or adds it.
func (r *Region) channel(name string) *RegionChannel {
	at := slices.IndexFunc(r.Channels, func(c RegionChannel) bool { return c.Name == name })
	if at < 0 {
		at = len(r.Channels)
		r.Channels = append(r.Channels, RegionChannel{Name: name, Hosts: []Host{}})
	}
	return &r.Channels[at]
}
