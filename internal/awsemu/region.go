// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"container/heap"
	"sync"
	"time"
)

// scope names the state that a request acts on.
type scope struct{ account, region string }

// region is everything that one account has in one AWS region. Whoever touches
// the state holds mu; lock does so and first lets time pass.
type region struct {
	mu            sync.Mutex
	srv           *Server
	account, name string
	ec2           ec2State
	ecs           ecsState
	sqs           sqsState

	timeline timeline
	sequence int
	// at is the moment of the event being run, so that what follows from it
	// falls due in relation to it and not to when somebody looked.
	at time.Time
	// untold is what changed in ECS since the last of its events was published.
	untold []eventful
	// changed is closed when those who wait for something should look again; nil
	// while nobody waits.
	changed chan struct{}
}

func newRegion(s *Server, sc scope, images []Image) *region {
	r := &region{srv: s, account: sc.account, name: sc.region}
	r.ec2 = newEC2State(r, images)
	r.ecs = newECSState(r)
	r.sqs = newSQSState()
	return r
}

// lock takes the region's lock and runs every event that has fallen due; unlock
// first publishes what changed meanwhile.
func (r *region) lock() {
	r.mu.Lock()
	r.catchUp(r.srv.clock.Now())
}

func (r *region) unlock() {
	r.tellAll()
	r.mu.Unlock()
}

// now is the time as far as the caller, who holds mu, may know: within an event,
// the moment that it fell due.
func (r *region) now() time.Time {
	if !r.at.IsZero() {
		return r.at
	}
	return r.srv.clock.Now()
}

// after has f run with mu held once d has passed. The caller holds mu. There is
// no cancelling: f looks whether it still applies.
func (r *region) after(d time.Duration, f func()) {
	r.sequence++
	heap.Push(&r.timeline, event{due: r.now().Add(d), sequence: r.sequence, run: f})
	if r.timeline[0].sequence == r.sequence {
		r.wake() // Those who wait would sleep through it.
	}
}

// nextDue is when the next event falls due, if there is one.
func (r *region) nextDue() (due time.Time, ok bool) {
	if len(r.timeline) == 0 {
		return time.Time{}, false
	}
	return r.timeline[0].due, true
}

// awaitChange returns what is closed when something has changed that a request may
// be waiting for.
func (r *region) awaitChange() <-chan struct{} {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// wake has those who wait look again.
func (r *region) wake() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// delays is how long things take at present.
func (r *region) delays() Delays { return r.srv.Delays() }

// catchUp runs what has fallen due by now, in the order in which it fell due.
func (r *region) catchUp(now time.Time) {
	for len(r.timeline) > 0 && !r.timeline[0].due.After(now) {
		e, _ := heap.Pop(&r.timeline).(event)
		r.at = e.due
		e.run()
		r.tellAll()
	}
	r.at = time.Time{}
}

// newID returns an identifier such as i-0123456789abcdef0.
func (r *region) newID(prefix string) string {
	return prefix + "-0" + r.srv.dice.hex(16)
}

// event is something that happens later.
type event struct {
	due      time.Time
	sequence int
	run      func()
}

// timeline is a heap of events: the earliest first, the oldest of equals first.
type timeline []event

func (t timeline) Len() int { return len(t) }
func (t timeline) Less(i, j int) bool {
	if t[i].due.Equal(t[j].due) {
		return t[i].sequence < t[j].sequence
	}
	return t[i].due.Before(t[j].due)
}
func (t timeline) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push and Pop are for container/heap.
func (t *timeline) Push(x any) {
	if e, ok := x.(event); ok {
		*t = append(*t, e)
	}
}

// Pop removes the last element, as container/heap asks.
func (t *timeline) Pop() any {
	last := len(*t) - 1
	e := (*t)[last]
	(*t)[last] = event{}
	*t = (*t)[:last]
	return e
}
