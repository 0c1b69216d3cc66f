// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Channel is an AMI and how its rollout stands.
type Channel struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Reason and Message are those of the condition RolledOut.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// CommitHash is the client build of the active release; empty before the first.
	CommitHash string `json:"commitHash,omitempty"`
	// Wanted is the client build that the spec asks for.
	Wanted string `json:"wanted"`
	// RolledOut says that the release of the spec is active everywhere it should be.
	RolledOut bool `json:"rolledOut"`
	// Suspended says that the rollout is held where it stands.
	Suspended bool `json:"suspended,omitempty"`
	// Since is when the rollout began; there is none before the first look.
	Since *time.Time `json:"since,omitempty"`
	// Progress says in a word or two for each region how far it is.
	Progress string `json:"progress,omitempty"`
	// Steps are how far the release of the spec is in each region.
	Steps []Step `json:"steps"`
}

// Step is how far the release of a spec is in one region.
type Step struct {
	Region string `json:"region"`
	// Swapped says that sessions get it there.
	Swapped bool `json:"swapped"`
	// Warm and Hosts count the hosts of the release: those that take sessions, and all.
	Warm  int `json:"warm"`
	Hosts int `json:"hosts"`
	// Old counts the hosts of other releases that are left.
	Old int `json:"old"`
	// Message says what is wrong or being waited for there, if anything.
	Message string `json:"message,omitempty"`
}

func channelsOf(s Snapshot) []Channel {
	channels := make([]Channel, 0, len(s.AMIs))
	for i := range s.AMIs {
		channels = append(channels, channelOf(&s.AMIs[i], s.Instances))
	}
	slices.SortFunc(channels, func(a, b Channel) int { return cmp.Compare(a.Name, b.Name) })
	return channels
}

func channelOf(a *v1alpha1.AMI, hosts []v1alpha1.Instance) Channel {
	why := condition(a.Status.Conditions, v1alpha1.ConditionRolledOut)
	current := ptr.Deref(a.Status.ObservedGeneration, -1) == a.Generation
	c := Channel{
		Name: a.Name, State: stateOf(a, a.Status.ObservedGeneration, a.Status.Conditions),
		Reason: why.Reason, Message: why.Message, Wanted: a.Spec.ClientCommitHash, Suspended: a.Suspended(),
		RolledOut: current && meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.ConditionRolledOut),
		Progress:  a.Status.Progress, Steps: []Step{},
	}
	if active := a.Revision(a.Status.ActiveRevision); active != nil {
		c.CommitHash = active.ClientCommitHash
	}
	coming := comingOf(a, c.RolledOut)
	if coming == nil {
		return c
	}
	c.Since = &coming.Time.Time
	for i := range coming.Regions {
		c.Steps = append(c.Steps, stepOf(a, &coming.Regions[i], hosts))
	}
	return c
}

// comingOf is the release that the rollout is about: the last that warms or failed
// to, as long as the spec's isn't active everywhere, else the active one.
func comingOf(a *v1alpha1.AMI, rolledOut bool) *v1alpha1.Revision {
	coming := a.Revision(a.Status.ActiveRevision)
	if rolledOut {
		return coming
	}
	for i := range a.Status.Revisions {
		r := &a.Status.Revisions[i]
		unborn := r.State == v1alpha1.RevisionWarming || r.State == v1alpha1.RevisionFailed
		if unborn && (coming == nil || coming.Name == a.Status.ActiveRevision || coming.Time.Before(&r.Time)) {
			coming = r
		}
	}
	return coming
}

func stepOf(a *v1alpha1.AMI, row *v1alpha1.RevisionRegion, hosts []v1alpha1.Instance) Step {
	step := Step{Region: row.Region}
	if active := a.ActiveRow(row.Region); active != nil && active.ID == row.ID {
		// A region that the release doesn't change has it already.
		step.Swapped = true
	}
	for i := range hosts {
		h := &hosts[i]
		switch {
		case h.Spec.AMIName != a.Name || h.Spec.RegionName != row.Region:
		case h.Spec.Revision != row.ID:
			step.Old++
		default:
			step.Hosts++
			if h.Open() {
				step.Warm++
			}
		}
	}
	for _, own := range a.Status.Regions {
		if own.Region == row.Region {
			step.Message = own.Message
		}
	}
	return step
}
