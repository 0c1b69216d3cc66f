// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"cmp"
	"slices"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Verdict is the answer to a request: a slot, a reason to wait, or an end.
type Verdict struct {
	// Assigned says that there is a slot for the request: Host, Slot and Key.
	Assigned bool
	// Host is the name of the Instance, if Assigned.
	Host string
	// Slot is the number of the free slot on it, if Assigned.
	Slot int32
	// Key is what the host offers, if Assigned.
	Key Key
	// Terminal says that waiting can't help and the session ends at once.
	Terminal bool
	// Reason is one of the reasons in api/v1alpha1.
	Reason string
	// Message says what was found and what a person can do. It doesn't change
	// while the facts behind it don't, so that waiting causes no writes.
	Message string
	// WaitsFor is what the request counts as pending for: the release that fits in
	// the first enabled region that offers one. It is zero otherwise.
	WaitsFor Key
}

// Decide finds the slot for a request, or says why there is none. It takes
// nothing from the fleet: a caller that acts on the verdict calls Assume, and
// decides anew if that returns false.
//
// The regions are tried in the order of the request, each followed by its
// fallback regions. A region that isn't enabled is passed over, and so are the
// fallbacks that only it names: it has not run out of room, it was switched off.
// The session goes to the fullest host of the first region that has room on an
// active release of the client's commit hash, or of the channel that was asked for.
func Decide(req Request, cat Catalog, fleet *Fleet) Verdict {
	regions := cat.regionsFor(req)
	if len(regions) == 0 {
		return regionNotEnabled(req, cat)
	}
	var waitsFor Key
	for _, region := range regions {
		for _, key := range cat.offers(region, req) {
			if host, slot, ok := fleet.Fullest(key, req.Avoid); ok {
				return assigned(host, slot, key)
			}
			if waitsFor == (Key{}) {
				waitsFor = key
			}
		}
	}
	switch {
	case waitsFor != (Key{}):
		return noInstanceAvailable(waitsFor, regions)
	case req.AMIName != "":
		return channelNotFound(req, regions)
	case cat.superseded(req, regions):
		return commitHashSuperseded(req)
	}
	for _, region := range regions {
		if fleet.FreeElsewhere(region, cat.runs(region, req.ClientCommitHash)) {
			return commitHashMismatch(req, region)
		}
	}
	return commitHashUnknown(req, regions)
}

// regionsFor lists the enabled regions that the request may go to, each once, at
// the place where it is named first.
func (c Catalog) regionsFor(req Request) []string {
	regions := make([]string, 0, len(req.Regions))
	add := func(name string) {
		if c.enabled(name) && !slices.Contains(regions, name) {
			regions = append(regions, name)
		}
	}
	for _, name := range req.Regions {
		if !c.enabled(name) {
			continue
		}
		add(name)
		for _, fallback := range c[name].Fallback {
			add(fallback)
		}
	}
	return regions
}

func (c Catalog) enabled(region string) bool {
	return c[region].Exists && c[region].Enabled
}

// offers lists the active releases of the region that fit the request, by the
// channel's name. There is more than one only for a developer's client.
func (c Catalog) offers(region string, req Request) []Key {
	var keys []Key
	for _, row := range c[region].Channels {
		if row.Active && row.fits(req) {
			keys = append(keys, Key{Region: region, AMI: row.AMI, Revision: row.Revision})
		}
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.AMI, b.AMI), cmp.Compare(a.Revision, b.Revision))
	})
	return keys
}

func (r Channel) fits(req Request) bool {
	switch {
	case req.AMIName != "":
		return r.AMI == req.AMIName
	case req.ClientCommitHash == v1alpha1.LocalDevCommitHash:
		return true
	default:
		return r.CommitHash == req.ClientCommitHash
	}
}

// superseded says whether the commit hash was replaced in every region asked that
// knows it, and at least one does. Regions that aren't enabled are asked too: if
// one of them still offers the hash, switching it on would help.
func (c Catalog) superseded(req Request, regions []string) bool {
	known := false
	for _, region := range slices.Concat(req.Regions, regions) {
		for _, row := range c[region].Channels {
			if row.CommitHash != req.ClientCommitHash {
				continue
			}
			if row.Active || !row.Superseded {
				return false
			}
			known = true
		}
	}
	return known
}

// runs tells which keys of the region run the commit hash.
func (c Catalog) runs(region, commitHash string) func(Key) bool {
	return func(key Key) bool {
		return slices.ContainsFunc(c[region].Channels, func(row Channel) bool {
			return row.CommitHash == commitHash && row.AMI == key.AMI && row.Revision == key.Revision
		})
	}
}
