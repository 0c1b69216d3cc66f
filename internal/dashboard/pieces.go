// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/view"
)

const (
	// shownWaiting is how many waiting sessions a page is told of.
	shownWaiting = 50
	// shownNames is how many objects of one trouble a page is told of.
	shownNames = 5
)

// link says how the feed stands to the API server.
type link struct {
	Cluster string `json:"cluster"`
	// State is loading, live or behind.
	State string `json:"state"`
	// Since and Error say since when and why the feed is behind.
	Since *time.Time `json:"since,omitempty"`
	Error string     `json:"error,omitempty"`
}

func linkOf(source Source, cluster string) link {
	l := link{Cluster: cluster, State: "live"}
	if !source.Synced() {
		l.State = "loading"
	}
	if since, err := source.Trouble(); err != nil {
		l.State, l.Since, l.Error = "behind", &since, err.Error()
	}
	return l
}

// totals are those of the fleet, and of which namespace its sessions are.
type totals struct {
	view.Totals
	Namespace string `json:"namespace,omitempty"`
}

// trouble is one with its first names, their number, and the command that tells more.
type trouble struct {
	view.Trouble
	Count int    `json:"count"`
	Next  string `json:"next"`
}

// queue is the part of the queue that is shown.
type queue struct {
	Total int            `json:"total"`
	First []view.Waiting `json:"first"`
}

// addFleet takes a fleet apart: a piece for each host and each region, so that a
// change is as small for a page as it is in the fleet.
func addFleet(pieces map[string]any, f *view.Fleet) {
	pieces["totals"] = totals{f.Totals, f.Namespace}
	pieces["channels"] = f.Channels
	pieces["queue"] = queue{Total: len(f.Queue), First: f.Queue[:min(shownWaiting, len(f.Queue))]}
	troubles := make([]trouble, 0, len(f.Troubles))
	for _, t := range f.Troubles {
		all := len(t.Names)
		next := t.Next()
		t.Names = t.Names[:min(shownNames, all)]
		troubles = append(troubles, trouble{t, all, next})
	}
	pieces["troubles"] = troubles
	for _, r := range f.Regions {
		for i := range r.Channels {
			for _, h := range r.Channels[i].Hosts {
				pieces["host/"+h.Name] = h
			}
		}
		// A copy: the fleet's own keeps its hosts.
		without := make([]view.RegionChannel, len(r.Channels))
		for i, c := range r.Channels {
			c.Hosts = nil
			without[i] = c
		}
		r.Channels = without
		pieces["region/"+r.Name] = r
	}
}
