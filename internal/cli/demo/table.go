// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
)

// maxBar is how many slots are drawn one by one.
const maxBar = 24

// hostRow is a host as the table shows it.
type hostRow struct {
	name, region, phase, reason, instanceType string
	claimed, capacity                         int32
	// elapsed is the time until the host was Active, or until now.
	elapsed time.Duration
}

// sessionRow is a session as the table shows it.
type sessionRow struct {
	name, phase, reason, host, address string
	// elapsed is the time until the session ran, or until now.
	elapsed time.Duration
}

// view is the fleet at one moment.
type view struct {
	hosts    []hostRow
	sessions []sessionRow
}

// lines draws the table.
func (v view) lines(colours bool) []string {
	lines := append(v.hostLines(colours), v.sessionLines(colours)...)
	return append(lines, "", v.summary())
}

func (v view) hostLines(colours bool) []string {
	grid := [][]terminal.Cell{terminal.Titles("HOST", "REGION", "PHASE", "TYPE", "SLOTS", "REASON", "ELAPSED")}
	for _, h := range v.hosts {
		grid = append(grid, []terminal.Cell{
			{Text: h.name}, {Text: h.region}, {Text: h.phase, Colour: phaseColour(h.phase)}, {Text: terminal.OrDash(h.instanceType)},
			{Text: slots(h.claimed, h.capacity)}, {Text: terminal.OrDash(h.reason)}, {Text: seconds(h.elapsed)},
		})
	}
	return append([]string{""}, terminal.Table(grid, colours)...)
}

func (v view) sessionLines(colours bool) []string {
	grid := [][]terminal.Cell{terminal.Titles("SESSION", "PHASE", "REASON", "INSTANCE", "ADDRESS", "ELAPSED")}
	for _, s := range v.sessions {
		grid = append(grid, []terminal.Cell{
			{Text: s.name}, {Text: s.phase, Colour: phaseColour(s.phase)}, {Text: terminal.OrDash(s.reason)},
			{Text: terminal.OrDash(s.host)}, {Text: terminal.OrDash(s.address)}, {Text: seconds(s.elapsed)},
		})
	}
	return append([]string{""}, terminal.Table(grid, colours)...)
}

// summary counts what there is.
func (v view) summary() string {
	var active, running int
	var free int32
	for _, h := range v.hosts {
		if h.phase == string(v1alpha1.InstanceActive) {
			active++
			free += h.capacity - h.claimed
		}
	}
	for _, s := range v.sessions {
		if s.phase == string(v1alpha1.MandelboxRunning) {
			running++
		}
	}
	return fmt.Sprintf("%d of %d hosts active, %d of %d sessions running, %d slots free",
		active, len(v.hosts), running, len(v.sessions), free)
}

// slots draws the slots of a host: taken ones first, then free ones.
func slots(claimed, capacity int32) string {
	if capacity <= 0 {
		return "-"
	}
	taken := min(claimed, capacity)
	counts := fmt.Sprintf("%d/%d", claimed, capacity)
	if capacity > maxBar {
		return counts
	}
	return strings.Repeat("▓", int(taken)) + strings.Repeat("░", int(capacity-taken)) + " " + counts
}

func phaseColour(phase string) string {
	switch phase {
	case string(v1alpha1.MandelboxRunning), string(v1alpha1.InstanceActive):
		return terminal.Green
	case string(v1alpha1.MandelboxFinished), string(v1alpha1.InstanceUnresponsive):
		return terminal.Red
	default:
		return terminal.Yellow
	}
}
