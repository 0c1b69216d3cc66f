// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// tally is what became of a group of sessions, by what the API server said of each.
type tally struct {
	// came were accepted, refused were not; of those that came, ran have run at
	// some time and left are gone.
	came, refused, ran, left int
	// lost ended, or stopped running, without having been deleted.
	lost int
	// longest is the longest time from a session's creation until it ran.
	longest time.Duration
}

// here are the sessions that exist.
func (t tally) here() int { return t.came - t.left }

// String is the tally in a line.
func (t tally) String() string {
	return fmt.Sprintf("%d came, %d here, %d left, %d refused, %d lost, longest wait %s",
		t.came, t.here(), t.left, t.refused, t.lost, seconds(t.longest))
}

// castTally is what became of the sessions of the first act.
func (r *release) castTally() tally {
	t := tally{came: len(r.cast)}
	for _, name := range r.cast {
		_, exists, lost := r.fleet.course(name)
		if !exists {
			t.left++
		}
		if lost {
			t.lost++
		}
	}
	return t
}

// review shows what came of the second act, and fails if a session was refused or
// lost, or if AWS and the API server differ.
func (d *demo) review(ctx context.Context, r *release) error {
	sides, err := d.compare(ctx)
	if err != nil {
		return err
	}
	if d.Once {
		d.screen.release(d.frame())
		d.screen.say(d.timings.table()...)
	}
	d.screen.say(append([]string{""}, r.sessionTable(false)...)...)
	d.screen.say(append([]string{""}, r.hostTable()...)...)
	d.screen.say(sides.table()...)
	d.tell("%s", r.verdict())
	return errors.Join(r.err(), sides.err())
}

// verdict is the second act in a line.
func (r *release) verdict() string {
	came, left := r.fleet.hostsOf(r.old)
	line := fmt.Sprintf("Release %s took over %s after it was applied; %d of %d old hosts left", r.next, seconds(r.swapped), left, came)
	if stayed := r.fleet.sessionsOn(r.old); len(stayed) > 0 {
		line += ", the rest stay for " + strings.Join(stayed, ", ")
	}
	guests, cast := r.guests.tally(), r.castTally()
	return line + fmt.Sprintf(". %d sessions refused, %d lost.", guests.refused, guests.lost+cast.lost)
}

// err says which sessions were refused, and which were lost.
func (r *release) err() error {
	errs := []error{r.guests.err()}
	r.fleet.mu.Lock()
	defer r.fleet.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(r.fleet.lost)) {
		if slices.Contains(r.cast, name) || strings.Contains(name, "/"+guestPrefix) {
			errs = append(errs, fmt.Errorf("session %s was lost: %s", name, r.fleet.lost[name]))
		}
	}
	return errors.Join(errs...)
}
