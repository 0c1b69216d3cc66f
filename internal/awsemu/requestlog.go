// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
)

// How a request ended.
const (
	OutcomeOK        = "ok"
	OutcomeError     = "error"
	OutcomeThrottled = "throttled"
	// OutcomeDropped is a request whose connection a fault closed, or its sender while
	// the request waited.
	OutcomeDropped = "dropped"
)

// Request is one line of the request log.
type Request struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Service   string    `json:"service"`
	Operation string    `json:"operation"`
	Account   string    `json:"account"`
	Region    string    `json:"region"`
	// Caller is the user agent.
	Caller    string `json:"caller"`
	AccessKey string `json:"accessKey"`
	// ClientToken is the idempotency token, if the request has one.
	ClientToken string `json:"clientToken,omitempty"`
	// Status is the HTTP status; 0 when the connection was dropped.
	Status  int    `json:"status"`
	Outcome string `json:"outcome"`
	// Code is the error's code.
	Code string `json:"code,omitempty"`
	// Faults are the ids of those that struck it.
	Faults []string `json:"faults,omitempty"`
}

// RequestFilter picks lines of the log; an empty field picks all. Operation is a
// shell pattern such as Describe*, Caller a part of the user agent.
type RequestFilter struct {
	Service, Operation, Account, Region, Outcome, Code, Caller string
}

func (f RequestFilter) matches(r *Request) bool {
	return (f.Service == "" || f.Service == r.Service) &&
		globMatch(f.Operation, r.Operation) &&
		(f.Account == "" || f.Account == r.Account) &&
		(f.Region == "" || f.Region == r.Region) &&
		(f.Outcome == "" || f.Outcome == r.Outcome) &&
		(f.Code == "" || f.Code == r.Code) &&
		strings.Contains(r.Caller, f.Caller)
}

// requestLog keeps the latest requests in a ring.
type requestLog struct {
	mu   sync.Mutex
	size int
	ring []Request
	next int
}

func newRequestLog(size int) *requestLog { return &requestLog{size: size} }

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < l.size {
		l.ring = append(l.ring, r)
		return
	}
	l.ring[l.next] = r
	l.next = (l.next + 1) % l.size
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.next = nil, 0
}

// Requests returns the logged requests that the filter picks, oldest first.
func (s *Server) Requests(filter RequestFilter) []Request {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	picked := []Request{}
	for i := range l.ring {
		r := &l.ring[(l.next+i)%len(l.ring)]
		if filter.matches(r) {
			picked = append(picked, *r)
		}
	}
	return picked
}

// ResetRequests empties the request log.
func (s *Server) ResetRequests() { s.log.reset() }

// clientToken is the idempotency token of a request, which both protocols carry.
func (c *call) clientToken() string {
	if token := c.form.Get("ClientToken"); token != "" {
		return token
	}
	var body struct {
		ClientToken string `json:"clientToken"`
	}
	if len(c.body) == 0 || json.Unmarshal(c.body, &body) != nil {
		// Not JSON: the operation itself will say so.
		return ""
	}
	return body.ClientToken
}
