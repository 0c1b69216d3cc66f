// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import "time"

// shelf keeps what is known of the things of one sort, by id.
type shelf[T any] struct {
	items map[string]*item[T]
	// supersedes says whether fresh takes the place of old; later says whether it
	// was read by a call that began no earlier. Reads of AWS may come from a
	// replica that lags behind, so later alone proves nothing where a thing can
	// only move forward.
	supersedes func(old, fresh T, later bool) bool
	// same says whether no reconciler could tell the two apart.
	same func(a, b T) bool
}

// item is a thing, and since when it is known.
type item[T any] struct {
	value T
	// asOf is when the call began that brought the value.
	asOf time.Time
	// seenAt is when the last call began that showed the thing at all, and missed
	// counts the full listings since that lacked it.
	seenAt time.Time
	missed int
	// changedAt is when the value last differed from the one before.
	changedAt time.Time
	// hotUntil is until when a writer asked for it to be watched.
	hotUntil time.Time
}

func newShelf[T any](supersedes func(old, fresh T, later bool) bool, same func(a, b T) bool) shelf[T] {
	return shelf[T]{items: map[string]*item[T]{}, supersedes: supersedes, same: same}
}

// put takes in what a call that began at asOf showed, and says whether anything
// changed by it.
func (s *shelf[T]) put(id string, fresh T, asOf, now time.Time) bool {
	known, ok := s.items[id]
	if !ok {
		s.items[id] = &item[T]{value: fresh, asOf: asOf, seenAt: asOf, changedAt: now}
		return true
	}
	s.seen(id, asOf)
	if !s.supersedes(known.value, fresh, !asOf.Before(known.asOf)) {
		return false
	}
	changed := !s.same(known.value, fresh)
	known.value = fresh
	if asOf.After(known.asOf) {
		known.asOf = asOf
	}
	if changed {
		known.changedAt = now
	}
	return changed
}

// seen takes in that a call that began at asOf showed the thing, if it is known.
func (s *shelf[T]) seen(id string, asOf time.Time) {
	if known, ok := s.items[id]; ok && asOf.After(known.seenAt) {
		known.seenAt, known.missed = asOf, 0
	}
}

// prune removes and returns what a full listing that began at the given time lacks,
// as did the one before, and what was last seen at least the grace period before it:
// one read that lags behind takes nothing away, however long listings take.
func (s *shelf[T]) prune(listed map[string]bool, began time.Time, grace time.Duration) []T {
	var gone []T
	for id, known := range s.items {
		if listed[id] {
			continue
		}
		if known.missed++; known.missed < 2 || began.Sub(known.seenAt) < grace {
			continue
		}
		gone = append(gone, known.value)
		delete(s.items, id)
	}
	return gone
}

// touch has the thing watched until the given time, if it is known.
func (s *shelf[T]) touch(id string, until time.Time) {
	if known, ok := s.items[id]; ok && until.After(known.hotUntil) {
		known.hotUntil = until
	}
}

// hot returns the ids of what a writer asked to watch, and of what is in motion
// and changed within the window: what has stood in a passing state for longer
// is left to the listings.
func (s *shelf[T]) hot(now time.Time, window time.Duration, inMotion func(T) bool) []string {
	var ids []string
	for id, known := range s.items {
		if known.hotUntil.After(now) || now.Sub(known.changedAt) < window && inMotion(known.value) {
			ids = append(ids, id)
		}
	}
	return ids
}
