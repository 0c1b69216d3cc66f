// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How is what happens at a call.
type How string

// What can happen to the manager at a call, and to the call.
const (
	// KillBefore kills the manager before the call is passed on.
	KillBefore How = "before"
	// KillLost passes the call on and kills the manager before it is answered.
	KillLost How = "lost"
	// KillAfter passes the call on, answers it, and kills the manager right after.
	KillAfter How = "after"

	// Conflict answers 409, Busy 429 and Broken 500 without passing the call on.
	Conflict How = "conflict"
	Busy     How = "busy"
	Broken   How = "broken"
	// Timeout passes the call on and answers 504; Reset, and closes the connection.
	Timeout How = "timeout"
	Reset   How = "reset"

	// Throttle and Failing have AWS refuse the operation for a while.
	Throttle How = "throttle"
	Failing  How = "failing"
	// NoCapacity has EC2 launch nothing for a while; Partial, one host.
	NoCapacity How = "nocapacity"
	Partial    How = "partial"
	// Rival has a second manager work beside the first for a while, and then kills it.
	Rival How = "rival"
	// Lag has AWS's reads lag behind its writes for a while.
	Lag How = "lag"

	// Stale freezes what the manager reads of the API server for a while.
	Stale How = "stale"
	// Hold keeps a kind's watch events back for a while, and then passes on the
	// last of each object.
	Hold How = "hold"
	// Swallow drops a kind's watch events for a while, and then says that the
	// versions are gone; Cut ends the watch instead.
	Swallow How = "swallow"
	Cut     How = "cut"
)

// kills says whether the manager dies of it.
func (h How) kills() bool { return h == KillBefore || h == KillLost || h == KillAfter }

// lasting are those that go on for a while.
var lasting = []How{Rival, Throttle, Failing, NoCapacity, Partial, Lag, Stale, Hold, Swallow, Cut}

// instant are those that concern the one call.
var instant = []How{KillBefore, KillLost, KillAfter, Conflict, Busy, Broken, Timeout, Reset}

// Strike is one thing that happens in a plan.
type Strike struct {
	How How
	// Kind is whose watch events are meant.
	Kind string
	// For is how long it lasts.
	For time.Duration
	// At is the call, as Call.String has it; or +n, the n-th after the strike before.
	At string
}

// String is the strike in the form that ParsePlan reads, such as
// before@create:instances/host-1#1 or hold=instances,400ms@aws:RunTask/s1#1.
func (s Strike) String() string {
	how := string(s.How)
	if s.For > 0 {
		how += "="
		if s.Kind != "" {
			how += s.Kind + ","
		}
		how += s.For.String()
	}
	return how + "@" + s.At
}

// Plan is what happens in one run of the story, in its order.
type Plan []Strike

// separator is between the strikes of a plan.
const separator = "~"

// String is the plan's name.
func (p Plan) String() string {
	if len(p) == 0 {
		return "undisturbed"
	}
	parts := make([]string, len(p))
	for i, s := range p {
		parts[i] = s.String()
	}
	return strings.Join(parts, separator)
}

// ParsePlan reads the name of a plan.
func ParsePlan(name string) (Plan, error) {
	if name == (Plan{}).String() {
		return Plan{}, nil
	}
	var p Plan
	for _, part := range strings.Split(name, separator) {
		s, err := parseStrike(part)
		if err != nil {
			return nil, fmt.Errorf("plan %q: %w", name, err)
		}
		p = append(p, s)
	}
	return p, nil
}

func parseStrike(text string) (s Strike, err error) {
	what, at, ok := strings.Cut(text, "@")
	if !ok || at == "" {
		return s, fmt.Errorf("%q says not at which call", text)
	}
	how, details, lasts := strings.Cut(what, "=")
	s = Strike{How: How(how), At: at}
	if !slices.Contains(instant, s.How) && !slices.Contains(lasting, s.How) {
		return s, fmt.Errorf("nothing is called %q", how)
	}
	if slices.Contains(lasting, s.How) != lasts {
		return s, fmt.Errorf("%q must say for how long it lasts if it does, and only then", text)
	}
	if !lasts {
		return s, nil
	}
	if kind, length, ok := strings.Cut(details, ","); ok {
		s.Kind, details = kind, length
	}
	if s.For, err = time.ParseDuration(details); err != nil {
		return s, fmt.Errorf("%q: %w", text, err)
	}
	return s, nil
}

// strikes are those of a plan that are still to come.
type strikes struct {
	mu   sync.Mutex
	left Plan
	// since counts the calls after the last strike.
	since int
}

// meet counts a call, and returns what happens at it.
func (s *strikes) meet(c Call) []Strike {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since++
	var due []Strike
	for len(s.left) > 0 && s.left[0].strikes(c, s.since) {
		due = append(due, s.left[0])
		s.left = s.left[1:]
		s.since = 0
	}
	return due
}

// strikes says whether the strike happens at a call, the n-th since the last.
func (s Strike) strikes(c Call, n int) bool {
	if after, relative := strings.CutPrefix(s.At, "+"); relative {
		return after == strconv.Itoa(n)
	}
	return s.At == c.String()
}

// missed are the strikes that never happened.
func (s *strikes) missed() Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.left)
}
