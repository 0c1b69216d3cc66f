// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// HostOf is an Instance as the fleet sees it.
func HostOf(i *v1alpha1.Instance) Host {
	taken := make([]int32, 0, len(i.Status.Claims))
	for _, c := range i.Status.Claims {
		taken = append(taken, c.Slot)
	}
	return Host{
		Name: i.Name, CommitHash: i.Spec.ClientCommitHash,
		Key:      Key{Region: i.Spec.RegionName, AMI: i.Spec.AMIName, Revision: i.Spec.Revision},
		Capacity: i.Slots(), Open: i.Open(), Taken: taken, Created: i.CreationTimestamp.Time,
	}
}

// RequestOf is what a Mandelbox asks for with its next attempt.
func RequestOf(m *v1alpha1.Mandelbox) Request {
	return Request{
		Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), UserID: m.Spec.UserID,
		Regions: m.Spec.Regions, ClientCommitHash: m.Spec.ClientCommitHash, AMIName: m.Spec.AMIName,
		Created: m.CreationTimestamp.Time, Attempt: m.Status.Attempt + 1,
	}
}

// CatalogOf is what the Regions offer by the AMIs' status.
func CatalogOf(regions []v1alpha1.Region, amis []v1alpha1.AMI) Catalog {
	catalog := make(Catalog, len(regions))
	for i := range regions {
		r := &regions[i]
		catalog[r.Name] = RegionInfo{
			Name: r.Name, Exists: true, Enabled: r.Enabled() && r.DeletionTimestamp.IsZero(), Fallback: r.Spec.FallbackRegions,
			Channels: channelsIn(r.Name, amis),
		}
	}
	return catalog
}

func channelsIn(region string, amis []v1alpha1.AMI) []Channel {
	var channels []Channel
	for i := range amis {
		ami := &amis[i]
		for j := range ami.Status.Revisions {
			revision := &ami.Status.Revisions[j]
			row := revision.Row(region)
			if row == nil {
				continue
			}
			active := ami.ActiveRevisionIn(region)
			channels = append(channels, Channel{
				AMI: ami.Name, CommitHash: revision.ClientCommitHash, Revision: row.ID,
				Active:     active != nil && active.Name == revision.Name && ami.DeletionTimestamp.IsZero(),
				Superseded: ami.Superseded(revision, region),
			})
		}
	}
	return channels
}
