// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// objections are what speaks against each host, by its name.
func objections(req Request, cat Catalog, hosts []Host) map[string]Objection {
	against := map[string]Objection{}
	for _, h := range hosts {
		against[h.Name] = Against(req, cat, h)
	}
	return against
}

func TestAgainst(t *testing.T) {
	cat := Catalog{
		"east":  region(stableRows(), "south"),
		"south": region(stableRows()),
		"west":  disabled(region(stableRows(), "far")),
		"far":   region(stableRows()),
		"north": region(stableRows()),
	}
	of := func(key Key, ami string) Key {
		key.AMI = ami
		return key
	}
	hosts := []Host{
		openHost("fits", active("east"), 4, 0, 0),
		openHost("fits as a fallback", active("south"), 4, 0),
		openHost("avoided", active("east"), 4, 0),
		openHost("full", active("east"), 1, 0, 0),
		openHost("without room", active("east"), 0, 0),
		closed(openHost("closed", active("east"), 4, 0)),
		openHost("replaced", retired("east"), 4, 0),
		openHost("warming", warming("east"), 4, 0),
		openHost("other channel", of(active("east"), "beta"), 4, 0),
		openHost("off", active("west"), 4, 0),
		openHost("fallback of one that is off", active("far"), 4, 0),
		openHost("elsewhere", active("north"), 4, 0),
	}
	channel := Request{AMIName: "stable", Regions: []string{"east", "west"}}
	byChannel := map[string]Objection{
		"fits": NoObjection, "fits as a fallback": NoObjection, "avoided": HostAvoided, "full": HostFull,
		"without room": HostFull, "closed": HostClosed, "replaced": ReleaseReplaced, "warming": ReleaseNotActive,
		"other channel": OtherRelease, "off": RegionOff, "fallback of one that is off": RegionOff, "elsewhere": RegionNotAsked,
	}
	// By its hash, another release of the same channel is another one.
	byHash := maps.Clone(byChannel)
	byHash["replaced"], byHash["warming"] = OtherRelease, OtherRelease
	if diff := cmp.Diff(byChannel, objections(avoiding("avoided", channel), cat, hosts)); diff != "" {
		t.Errorf("asked by channel (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(byHash, objections(avoiding("avoided", wants(newHash, "east", "west")), cat, hosts)); diff != "" {
		t.Errorf("asked by commit hash (-want +got):\n%s", diff)
	}
}
