// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
)

// timing is one step of the demo.
type timing struct {
	step string
	// took is how long it took, at when it was done since the demo began.
	took, at time.Duration
}

// timings are the steps in their order.
type timings []timing

func (t *timings) add(step string, took, at time.Duration) {
	*t = append(*t, timing{step, took, at})
}

// milestones are the moments of the fleet.
type milestones struct {
	firstHost, lastHost, firstSession, lastSession time.Time
}

// milestones are when the first and the last of the hosts were Active and of the
// sessions ran.
func (f *fleet) milestones() milestones {
	f.mu.Lock()
	defer f.mu.Unlock()
	var m milestones
	for _, h := range f.hosts {
		m.firstHost, m.lastHost = earlier(m.firstHost, h.reached), later(m.lastHost, h.reached)
	}
	for _, s := range f.sessions {
		m.firstSession, m.lastSession = earlier(m.firstSession, s.reached), later(m.lastSession, s.reached)
	}
	return m
}

// addMilestones adds the moments, measured from when the samples were applied.
func (t *timings) addMilestones(m milestones, applied, began time.Time) {
	for _, milestone := range []struct {
		name string
		at   time.Time
	}{
		{"First host active", m.firstHost}, {"First session running", m.firstSession},
		{"All sessions running", m.lastSession}, {"All hosts active", m.lastHost},
	} {
		t.add(milestone.name, milestone.at.Sub(applied), milestone.at.Sub(began))
	}
}

// table shows the steps.
func (t timings) table() []string {
	grid := [][]terminal.Cell{terminal.Titles("STEP", "TOOK", "DONE AFTER")}
	for _, timing := range t {
		grid = append(grid, []terminal.Cell{{Text: timing.step}, {Text: seconds(timing.took)}, {Text: seconds(timing.at)}})
	}
	return append([]string{""}, terminal.Table(grid, false)...)
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
