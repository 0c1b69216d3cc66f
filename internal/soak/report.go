// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
)

// Progress is how a soak stands.
type Progress struct {
	// ElapsedSeconds since the plan began.
	ElapsedSeconds float64 `json:"elapsedSeconds"`
	// Started, Ran and Finished count sessions ever; Running and Waiting, now.
	Started  int `json:"started"`
	Ran      int `json:"ran"`
	Finished int `json:"finished"`
	Running  int `json:"running"`
	Waiting  int `json:"waiting"`
	// Hosts are Instances, Active those that take sessions.
	Hosts  int `json:"hosts"`
	Active int `json:"active"`
	// Rollouts are swaps of a channel's release; Faults, what went wrong on purpose.
	Rollouts int `json:"rollouts"`
	Faults   int `json:"faults"`
	// Versions is how many versions of objects the checker has judged.
	Versions   int `json:"versions"`
	Violations int `json:"violations"`
}

func (p *player) progress() Progress {
	p.feed.mu.Lock()
	defer p.feed.mu.Unlock()
	o := &p.feed.objects
	return Progress{
		ElapsedSeconds: time.Since(p.started).Round(time.Millisecond).Seconds(),
		Started:        o.created, Ran: len(o.ran), Finished: o.finished,
		Running: count(o.phases, v1alpha1.MandelboxRunning),
		Waiting: count(o.phases, v1alpha1.MandelboxPending) + count(o.phases, ""),
		Hosts:   len(o.hosts), Active: count(o.hosts, v1alpha1.InstanceActive),
		Rollouts: o.swaps, Faults: p.faults, Versions: p.checker.Versions(), Violations: len(p.checker.Violations()),
	}
}

// String is the progress in one line.
func (p Progress) String() string {
	return fmt.Sprintf("%7.1fs  sessions: %d started, %d ran, %d finished, %d running, %d waiting  hosts: %d, %d active  rollouts: %d  faults: %d  versions: %d  violations: %d",
		p.ElapsedSeconds, p.Started, p.Ran, p.Finished, p.Running, p.Waiting, p.Hosts, p.Active, p.Rollouts, p.Faults, p.Versions, p.Violations)
}

// Summary is what a soak came to.
type Summary struct {
	Seed uint64 `json:"seed"`
	Progress
	Found []checker.Violation `json:"found"`
}

// reporter tells people, or programs, how it goes.
type reporter struct {
	out  io.Writer
	json bool
	told int
	last time.Time
}

// progressInterval is the time between two lines.
const progressInterval = 5 * time.Second

// say writes a line for people; programs read only objects.
func (r *reporter) say(format string, args ...any) {
	if !r.json {
		// There is no other place to tell that nothing can be told.
		_, _ = fmt.Fprintf(r.out, format+"\n", args...)
	}
}

func (r *reporter) object(what string, value any) {
	line, err := json.Marshal(map[string]any{what: value})
	if err != nil {
		line = fmt.Appendf(nil, `{"error":%q}`, err)
	}
	_, _ = fmt.Fprintf(r.out, "%s\n", line)
}

// tell writes each new violation at once, and the progress every few seconds.
func (r *reporter) tell(p *player) {
	violations := p.checker.Violations()
	for _, v := range violations[r.told:] {
		if r.json {
			r.object("violation", v)
		} else {
			r.say("VIOLATION %s", v)
		}
	}
	r.told = len(violations)
	if time.Since(r.last) < progressInterval {
		return
	}
	r.last = time.Now()
	if r.json {
		r.object("progress", p.progress())
	} else {
		r.say("%s", p.progress())
	}
}

// close writes the summary.
func (r *reporter) close(s Summary) {
	if r.json {
		r.object("summary", s)
		return
	}
	r.say("\nseed %d: %s", s.Seed, s.Progress)
	for _, v := range s.Found {
		r.say("  %s", v)
	}
	r.say("violations: %d", len(s.Found))
}
