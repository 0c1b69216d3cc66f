// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package placement decides which Mandelbox goes to which slot of which host.
//
// A Fleet holds the free slots of all hosts, indexed so that the fullest host
// that fits is found without looking at the others. Decide answers one request
// from the fleet and a Catalog of the channels that each region offers. A Queue
// holds the requests that wait, in an order that is fair between namespaces.
//
// The package is pure: it makes no call and reads no clock, and it knows
// nothing of how a claim is written or a task is started.
package placement

import "time"

// Key is what a host must match to take a session: its region, its channel and
// the channel's revision in that region.
type Key struct {
	// Region is the name of the Region.
	Region string
	// AMI is the name of the AMI, the channel.
	AMI string
	// Revision is the id of the channel's revision in that region.
	Revision string
}

// Channel is one release of a channel in one region: a row of the region's
// catalog. A channel that is being rolled out has several.
type Channel struct {
	// AMI is the name of the channel.
	AMI string
	// CommitHash is the client build that the release was made for.
	CommitHash string
	// Revision is the id of the release in the region.
	Revision string
	// Active says that new Mandelboxes may go there.
	Active bool
	// Superseded says that the release was active once and another took its
	// place. A release that is still warming, or that failed to, is neither
	// Active nor Superseded: a request for it waits.
	Superseded bool
}

// RegionInfo is what placement knows of one region.
type RegionInfo struct {
	// Name of the Region.
	Name string
	// Exists says that there is a Region of that name.
	Exists bool
	// Enabled says that Mandelboxes may be assigned in it.
	Enabled bool
	// Fallback names the regions to look in after this one, in order.
	Fallback []string
	// Channels are all releases known in the region, active or not, in any order.
	Channels []Channel
}

// Catalog holds the regions by name. A region that it doesn't hold does not exist.
type Catalog map[string]RegionInfo

// Demand is what a region's sessions want of it at one moment.
type Demand struct {
	// Pending is how many wait for a slot of each release. Each session counts once,
	// in the first region that could take it.
	Pending map[Key]int32
	// Promised are the slots that sessions were given and that their hosts, named
	// here, may not show as claimed yet.
	Promised map[string][]Promise
}

// Promise is a slot that one attempt of a session was given.
type Promise struct {
	// UID of the Mandelbox.
	UID string
	// Attempt is the one that the slot is for.
	Attempt int32
}

// Request is one Mandelbox that wants a slot.
type Request struct {
	// Namespace of the Mandelbox.
	Namespace string
	// Name of the Mandelbox.
	Name string
	// UID of the Mandelbox.
	UID string
	// UserID is the user whose session it is.
	UserID string
	// Regions are the names of the regions it may run in, nearest first.
	Regions []string
	// ClientCommitHash asks for a release of exactly this client build, or for
	// whatever is active when it is v1alpha1.LocalDevCommitHash.
	ClientCommitHash string
	// AMIName asks for the active release of this channel. It goes before
	// ClientCommitHash; admission accepts exactly one of the two.
	AMIName string
	// Created is when the Mandelbox was created.
	Created time.Time
	// Attempt is the number that a claim made for the request will carry.
	Attempt int32
	// Avoid is a host that is not to be given; empty avoids none.
	Avoid string
}
