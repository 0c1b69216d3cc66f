// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"
)

// When a fault acts: before the operation's effect, or after it.
const (
	PhaseBefore = "before"
	PhaseAfter  = "after"
)

// What a fault does to a request.
const (
	// ActionError answers with Code, Message and Status. In PhaseAfter the effect
	// has happened and the caller is told otherwise.
	ActionError = "error"
	// ActionDrop closes the connection without an answer.
	ActionDrop = "drop"
	// ActionLatency only waits; every other action waits for Latency too.
	ActionLatency = "latency"
	// ActionThrottle answers as the service does to a caller over its limit.
	ActionThrottle = "throttle"
)

// Duration is a time.Duration that reads and writes as "1.5s" in JSON.
type Duration struct{ time.Duration }

// MarshalJSON writes the duration as Go prints it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads "300ms", or a number of nanoseconds.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return json.Unmarshal(raw, &d.Duration)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("reading a duration: %w", err)
	}
	d.Duration = parsed
	return nil
}

// Fault is something that goes wrong with the requests it matches.
type Fault struct {
	// ID is given by AddFault when empty.
	ID string `json:"id"`
	// Service (ec2, ecs, sqs, sts), Operation, Region and Account are shell patterns
	// such as Describe*; empty matches everything.
	Service   string `json:"service,omitempty"`
	Operation string `json:"operation,omitempty"`
	Region    string `json:"region,omitempty"`
	Account   string `json:"account,omitempty"`
	// Phase is PhaseBefore (the default) or PhaseAfter.
	Phase string `json:"phase,omitempty"`
	// Action is one of the Action constants.
	Action string `json:"action"`
	// Code, Message and Status are of ActionError. Default: InternalError, 500.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Status  int    `json:"status,omitempty"`
	// Latency is waited before the action.
	Latency Duration `json:"latency,omitzero"`
	// Count is how many requests it strikes before it goes; 0 means no end.
	Count int `json:"count,omitempty"`
	// Probability that it strikes a request it matches; 0 means always.
	Probability float64 `json:"probability,omitempty"`
	// Hits is how many requests it has struck.
	Hits int `json:"hits"`
}

// validate fills defaults in and refuses what can't act.
func (f *Fault) validate() error {
	for _, pattern := range []string{f.Service, f.Operation, f.Region, f.Account} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("fault pattern %q: %w", pattern, err)
		}
	}
	if f.Phase == "" {
		f.Phase = PhaseBefore
	}
	if f.Phase != PhaseBefore && f.Phase != PhaseAfter {
		return fmt.Errorf("fault phase %q is neither %q nor %q", f.Phase, PhaseBefore, PhaseAfter)
	}
	switch f.Action {
	case ActionError:
		if f.Code == "" {
			f.Code = "InternalError"
		}
		if f.Status == 0 && f.Code == "InternalError" {
			f.Status = 500
		}
		if f.Message == "" {
			f.Message = "An error was asked for."
		}
	case ActionDrop, ActionLatency, ActionThrottle:
	default:
		return fmt.Errorf("fault action %q is not known", f.Action)
	}
	return nil
}

func (f *Fault) matches(c *call, phase string) bool {
	return f.Phase == phase &&
		globMatch(f.Service, c.operation.service) && globMatch(f.Operation, c.operation.name) &&
		globMatch(f.Region, c.region.name) && globMatch(f.Account, c.region.account)
}

// globMatch matches a pattern that validate has accepted; empty matches all.
func globMatch(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// faultSet is the faults in force.
type faultSet struct {
	mu     sync.Mutex
	dice   *dice
	list   []*Fault
	number int
}

func newFaultSet(d *dice) *faultSet { return &faultSet{dice: d} }

// match returns the faults that strike this request, and counts them.
func (s *faultSet) match(c *call, phase string) []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var struck []Fault
	s.list = slices.DeleteFunc(s.list, func(f *Fault) bool {
		if !f.matches(c, phase) || (f.Probability > 0 && s.dice.float() >= f.Probability) {
			return false
		}
		f.Hits++
		struck = append(struck, *f)
		return f.Count > 0 && f.Hits >= f.Count
	})
	return struck
}

func (s *faultSet) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
}

// AddFault puts a fault in force and returns its id, or an error when the fault
// could never act.
func (s *Server) AddFault(f Fault) (string, error) {
	if err := f.validate(); err != nil {
		return "", err
	}
	set := s.faults
	set.mu.Lock()
	defer set.mu.Unlock()
	set.number++
	if f.ID == "" {
		f.ID = fmt.Sprintf("fault-%d", set.number)
	}
	f.Hits = 0
	set.list = append(set.list, &f)
	return f.ID, nil
}

// RemoveFault lifts a fault and says whether it was in force.
func (s *Server) RemoveFault(id string) bool {
	set := s.faults
	set.mu.Lock()
	defer set.mu.Unlock()
	before := len(set.list)
	set.list = slices.DeleteFunc(set.list, func(f *Fault) bool { return f.ID == id })
	return len(set.list) < before
}

// ClearFaults lifts every fault.
func (s *Server) ClearFaults() { s.faults.clear() }

// Faults returns the faults in force, oldest first.
func (s *Server) Faults() []Fault {
	set := s.faults
	set.mu.Lock()
	defer set.mu.Unlock()
	list := make([]Fault, 0, len(set.list))
	for _, f := range set.list {
		list = append(list, *f)
	}
	return list
}
