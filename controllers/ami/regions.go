// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
)

// regionStatuses say how the channel stands in each region that its spec or its
// active release names, or where it has hosts.
func (s *scope) regionStatuses() []v1alpha1.AMIRegionStatus {
	hosts := map[string]census.Count{}
	for release, count := range s.counts {
		hosts[release.Region] = hosts[release.Region].Plus(count)
	}
	names := map[string]bool{}
	for name := range hosts {
		names[name] = true
	}
	for name := range s.ami.Swapped() {
		names[name] = true
	}
	for _, image := range s.ami.Spec.Images {
		names[image.Region] = true
	}
	if active := s.ami.Revision(s.ami.Status.ActiveRevision); active != nil {
		for _, row := range active.Regions {
			names[row.Region] = true
		}
	}
	var statuses []v1alpha1.AMIRegionStatus
	for _, name := range slices.Sorted(maps.Keys(names)) {
		statuses = append(statuses, s.regionStatus(name, hosts[name]))
	}
	return statuses[:min(maxRegions, len(statuses))]
}

func (s *scope) regionStatus(name string, hosts census.Count) v1alpha1.AMIRegionStatus {
	active := s.ami.ActiveRow(name)
	st := v1alpha1.AMIRegionStatus{
		Region:                 name,
		Active:                 ptr.To(active != nil && s.ami.DeletionTimestamp.IsZero()),
		ProtectedFromScaleDown: ptr.To(s.warming(name, active)),
		Hosts:                  hosts.Phases(),
		Free:                   ptr.To(s.count(active).Free),
		Message:                shorten(s.waiting[name]),
		ActiveRevision:         s.ami.Swapped()[name],
	}
	switch image := s.ami.Image(name); {
	case active != nil:
		st.ImageID = active.ImageID
	case image != nil:
		st.ImageID = image.ImageID
	}
	if region := s.regions[name].region; st.Message == "" && region == nil {
		st.Message = fmt.Sprintf("Region %s does not exist", name)
	}
	return st
}

// warming says whether a coming release fills a buffer of its own in a region.
func (s *scope) warming(name string, active *v1alpha1.RevisionRegion) bool {
	for i := range s.ami.Status.Revisions {
		revision := &s.ami.Status.Revisions[i]
		row := revision.Row(name)
		if revision.State == v1alpha1.RevisionWarming && row != nil && (active == nil || row.ID != active.ID) {
			return true
		}
	}
	return false
}

func shorten(message string) string {
	return message[:min(maxRegionMessage, len(message))]
}

// progressLine says in a word or two for each region how far the rollout is there.
func (s *scope) progressLine() string {
	wanted := s.ami.Revision(s.wanted)
	var words []string
	for _, region := range s.ami.Status.Regions {
		words = append(words, region.Region+" "+s.progressIn(wanted, region.Region))
	}
	line := strings.Join(words, ", ")
	return line[:min(maxProgress, len(line))]
}

func (s *scope) progressIn(wanted *v1alpha1.Revision, region string) string {
	var row *v1alpha1.RevisionRegion
	if wanted != nil {
		row = wanted.Row(region)
	}
	active := s.ami.ActiveRow(region)
	switch {
	case !s.ami.DeletionTimestamp.IsZero() || row == nil && wanted != nil && active == nil:
		return "leaving"
	case row == nil && wanted != nil:
		return "to leave"
	case row == nil:
		return "waiting"
	case active != nil && active.ID == row.ID:
		return "done"
	case wanted.State == v1alpha1.RevisionFailed:
		return "failed"
	case s.regions[region].region == nil || row.TaskDefinition == "" || s.ami.Suspended():
		return "waiting"
	}
	return fmt.Sprintf("%d/%d warm", s.count(row).Free, s.buffer(row, active))
}
