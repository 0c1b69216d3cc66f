// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Colours, as every terminal has them.
const (
	green     = "\x1b[32m"
	yellow    = "\x1b[33m"
	red       = "\x1b[31m"
	bold      = "\x1b[1m"
	colourEnd = "\x1b[0m"
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

// cell is a piece of text and its colour.
type cell struct{ text, colour string }

// lines draws the table.
func (v view) lines(colours bool) []string {
	lines := append(v.hostLines(colours), v.sessionLines(colours)...)
	return append(lines, "", v.summary())
}

func (v view) hostLines(colours bool) []string {
	grid := [][]cell{titles("HOST", "REGION", "PHASE", "TYPE", "SLOTS", "REASON", "ELAPSED")}
	for _, h := range v.hosts {
		grid = append(grid, []cell{
			{text: h.name}, {text: h.region}, {h.phase, phaseColour(h.phase)}, {text: orDash(h.instanceType)},
			{text: slots(h.claimed, h.capacity)}, {text: orDash(h.reason)}, {text: seconds(h.elapsed)},
		})
	}
	return append([]string{""}, aligned(grid, colours)...)
}

func (v view) sessionLines(colours bool) []string {
	grid := [][]cell{titles("SESSION", "PHASE", "REASON", "INSTANCE", "ADDRESS", "ELAPSED")}
	for _, s := range v.sessions {
		grid = append(grid, []cell{
			{text: s.name}, {s.phase, phaseColour(s.phase)}, {text: orDash(s.reason)},
			{text: orDash(s.host)}, {text: orDash(s.address)}, {text: seconds(s.elapsed)},
		})
	}
	return append([]string{""}, aligned(grid, colours)...)
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

func titles(names ...string) []cell {
	row := make([]cell, 0, len(names))
	for _, name := range names {
		row = append(row, cell{name, bold})
	}
	return row
}

// aligned pads every column to its widest cell.
func aligned(grid [][]cell, colours bool) []string {
	widths := make([]int, len(grid[0]))
	for _, row := range grid {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	lines := make([]string, 0, len(grid))
	for _, row := range grid {
		var b strings.Builder
		for i, c := range row {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2)
			if colours && c.colour != "" {
				b.WriteString(c.colour + c.text + colourEnd + padding)
			} else {
				b.WriteString(c.text + padding)
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
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
		return green
	case string(v1alpha1.MandelboxFinished), string(v1alpha1.InstanceUnresponsive):
		return red
	default:
		return yellow
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
