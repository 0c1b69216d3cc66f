// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import "slices"

// Objection is what speaks against giving a request a slot of a host.
type Objection string

// The objections, each weightier than those below it: a host is passed over for
// the first that holds.
const (
	// RegionNotAsked says that the host is in a region that the request doesn't lead to.
	RegionNotAsked Objection = "RegionNotAsked"
	// RegionOff says that the host's region isn't enabled, or is only reached from
	// one that isn't.
	RegionOff Objection = "RegionOff"
	// OtherRelease says that the host is of another channel or commit hash than asked for.
	OtherRelease Objection = "OtherRelease"
	// ReleaseReplaced says that the host's release fits and was replaced by a newer one.
	ReleaseReplaced Objection = "ReleaseReplaced"
	// ReleaseNotActive says that the host's release fits and isn't active yet.
	ReleaseNotActive Objection = "ReleaseNotActive"
	// HostClosed says that the host takes no new session.
	HostClosed Objection = "HostClosed"
	// HostFull says that every slot of the host is claimed.
	HostFull Objection = "HostFull"
	// HostAvoided says that the request's last attempt failed on the host.
	HostAvoided Objection = "HostAvoided"
	// NoObjection says that the host could take the session now.
	NoObjection Objection = ""
)

// Against says what speaks against giving the request a slot of the host. It asks
// the catalog what Decide asks, so that Decide assigns a request if, and only
// if, there is a host against which nothing speaks.
func Against(req Request, cat Catalog, h Host) Objection {
	region := h.Key.Region
	if !slices.Contains(cat.regionsFor(req), region) {
		if slices.Contains(cat.named(req), region) {
			return RegionOff
		}
		return RegionNotAsked
	}
	if !slices.Contains(cat.offers(region, req), h.Key) {
		return cat.releaseAgainst(req, h.Key)
	}
	switch {
	case !h.Open:
		return HostClosed
	case len(h.Taken) >= int(h.Capacity):
		return HostFull
	case h.Name == req.Avoid:
		return HostAvoided
	}
	return NoObjection
}

// named lists the regions that the request names, or that those fall back on,
// whether they are enabled or not.
func (c Catalog) named(req Request) []string {
	named := slices.Clone(req.Regions)
	for _, name := range req.Regions {
		named = append(named, c[name].Fallback...)
	}
	return named
}

// releaseAgainst says why a release of a host isn't among those that are offered.
func (c Catalog) releaseAgainst(req Request, key Key) Objection {
	for _, row := range c[key.Region].Channels {
		if row.AMI != key.AMI || row.Revision != key.Revision || !row.fits(req) {
			continue
		}
		if row.Superseded {
			return ReleaseReplaced
		}
		return ReleaseNotActive
	}
	return OtherRelease
}
