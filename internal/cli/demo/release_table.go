// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
)

// sessionTable counts the sessions of both acts.
func (r *release) sessionTable(colours bool) []string {
	grid := [][]terminal.Cell{terminal.Titles("SESSIONS", "CAME", "HERE", "LEFT", "REFUSED", "LOST", "LONGEST WAIT")}
	for _, group := range []struct {
		name  string
		tally tally
	}{{"act one", r.castTally()}, {"guests", r.guests.tally()}} {
		t := group.tally
		wait := "-"
		if t.longest > 0 {
			wait = seconds(t.longest)
		}
		grid = append(grid, []terminal.Cell{
			{Text: group.name}, {Text: strconv.Itoa(t.came)}, {Text: strconv.Itoa(t.here())}, {Text: strconv.Itoa(t.left)},
			{Text: strconv.Itoa(t.refused), Colour: noneIsGood(t.refused)}, {Text: strconv.Itoa(t.lost), Colour: noneIsGood(t.lost)}, {Text: wait},
		})
	}
	return terminal.Table(grid, colours)
}

func noneIsGood(count int) string {
	if count == 0 {
		return terminal.Green
	}
	return terminal.Red
}

// hostTable counts the hosts of both releases.
func (r *release) hostTable() []string {
	grid := [][]terminal.Cell{terminal.Titles("HOSTS OF", "CAME", "LEFT", "HERE")}
	for _, commit := range []string{r.old, r.next} {
		came, left := r.fleet.hostsOf(commit)
		grid = append(grid, []terminal.Cell{{Text: commit}, {Text: strconv.Itoa(came)}, {Text: strconv.Itoa(left)}, {Text: strconv.Itoa(came - left)}})
	}
	return terminal.Table(grid, false)
}

// lines are the second act as the screen shows it: the release, the sessions and
// the hosts, what matters most first, since a small window cuts the end.
func (r *release) lines(hosts view, colours bool) []string {
	channel := r.fleet.channel(r.channel)
	if channel == nil {
		return nil
	}
	lines := []string{"", "AMI " + rolloutLine(channel), ""}
	lines = append(lines, terminal.Table(r.grid(channel), colours)...)
	lines = append(append(lines, ""), r.sessionTable(colours)...)
	return append(lines, hosts.hostLines(colours)...)
}

// grid has a row for each release and region, the old release first: its hosts,
// and who is on them.
func (r *release) grid(channel *v1alpha1.AMI) [][]terminal.Cell {
	counts := r.fleet.hostCounts()
	order := func(a, b place) int {
		age := func(p place) int { return slices.Index([]string{r.old, r.next}, p.commit) }
		return cmp.Or(cmp.Compare(age(a), age(b)), cmp.Compare(a.region, b.region))
	}
	grid := [][]terminal.Cell{terminal.Titles("RELEASE", "STATE", "REGION", "SLOTS", "HOSTS")}
	for _, key := range slices.SortedFunc(maps.Keys(counts), order) {
		c := counts[key]
		var phases []string
		for _, phase := range slices.Sorted(maps.Keys(c.phases)) {
			phases = append(phases, fmt.Sprintf("%d %s", c.phases[phase], phase))
		}
		state := stateOf(channel, key.commit)
		grid = append(grid, []terminal.Cell{
			{Text: key.commit}, {Text: state, Colour: stateColour(state)}, {Text: key.region},
			{Text: slots(c.taken, c.capacity)}, {Text: strings.Join(phases, ", ")},
		})
	}
	return grid
}

// place is a release in a region.
type place struct{ commit, region string }

// hostCount counts the hosts of a place, and their slots.
type hostCount struct {
	phases          map[string]int
	taken, capacity int32
}

// stateOf is what the channel says of the release with a commit hash.
func stateOf(channel *v1alpha1.AMI, commit string) string {
	for _, revision := range channel.Status.Revisions {
		if revision.ClientCommitHash == commit {
			return string(revision.State)
		}
	}
	return "Replaced"
}

func stateColour(state string) string {
	switch state {
	case string(v1alpha1.RevisionActive):
		return terminal.Green
	case string(v1alpha1.RevisionFailed):
		return terminal.Red
	default:
		return terminal.Yellow
	}
}
