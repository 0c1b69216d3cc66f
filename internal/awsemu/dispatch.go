// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxBody is more than any request of the operations served may hold.
const maxBody = 8 << 20

// dispatch takes one AWS request all the way: parse, limits, faults before the
// effect, the effect, faults after it, answer, log.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	c, err := s.parse(r)
	entry := Request{
		ID: c.requestID, Time: s.clock.Now(), Service: c.operation.service, Operation: c.operation.name,
		Account: c.region.account, Region: c.region.name, Caller: c.caller, AccessKey: c.accessKey,
		ClientToken: c.clientToken(),
	}
	proto := protocolOf(c.operation.service)
	var out answer
	if err != nil {
		out = s.refuse(c, err, &entry)
	} else {
		out = s.run(c, proto, &entry)
	}
	entry.Status = out.status
	if entry.Outcome == OutcomeDropped {
		entry.Status = 0
	}
	s.log.add(entry)
	s.logger.V(1).Info("AWS request", "service", entry.Service, "operation", entry.Operation,
		"region", entry.Region, "outcome", entry.Outcome, "code", entry.Code)
	if entry.Outcome == OutcomeDropped {
		// The client sees the connection close without an answer.
		panic(http.ErrAbortHandler)
	}
	writeAnswer(w, c.requestID, out)
}

// run is the way of a request that could be parsed.
func (s *Server) run(c *call, proto protocol, entry *Request) answer {
	if !s.limiter.take(c, s.clock.Now()) {
		return s.refuse(c, proto.throttled(), entry)
	}
	for _, f := range s.faults.match(c, PhaseBefore) {
		if out, stop := s.strike(c, f, entry); stop {
			return out
		}
	}
	out := s.commit(c, proto, entry)
	for _, f := range s.faults.match(c, PhaseAfter) {
		if struck, stop := s.strike(c, f, entry); stop {
			return struck
		}
	}
	return out
}

// commit runs the operation, again and again while it has nothing to say yet and
// its caller waits.
func (s *Server) commit(c *call, proto protocol, entry *Request) answer {
	for {
		out, pause := s.attempt(c, proto, entry)
		if pause == nil {
			return out
		}
		if pause(); c.ctx.Err() != nil {
			entry.Outcome = OutcomeDropped
			return answer{}
		}
	}
}

// attempt runs the operation once and renders what came of it, both under the
// region's lock, so that the answer is one moment's truth. Where the operation has
// nothing to say yet, pause waits until it may.
func (s *Server) attempt(c *call, proto protocol, entry *Request) (out answer, pause func()) {
	c.region.lock()
	defer c.region.unlock()
	c.now = c.region.now()
	if err := s.authorize(c); err != nil {
		return s.refuse(c, err, entry), nil
	}
	value, err := c.operation.handle(c)
	if waits, ok := errors.AsType[*notYet](err); ok {
		return answer{}, s.pause(c, waits.until)
	}
	if err != nil {
		return s.refuse(c, err, entry), nil
	}
	out, err = proto.result(c, value)
	if err != nil {
		return s.refuse(c, err, entry), nil
	}
	entry.Outcome = OutcomeOK
	return out, nil
}

// notYet is the error of an operation that has nothing to say before the given
// time unless something changes.
type notYet struct{ until time.Time }

// Error says so.
func (*notYet) Error() string { return "there is nothing to say yet" }

// pause returns a wait, for the caller without the region's lock, until then or
// until something in the region may have changed. Nothing happens in a region that
// nobody looks at, so it ends also when the next event falls due.
func (s *Server) pause(c *call, until time.Time) func() {
	if due, ok := c.region.nextDue(); ok && due.Before(until) {
		until = due
	}
	changed, d := c.region.awaitChange(), until.Sub(c.now)
	return func() {
		timer := s.clock.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-changed:
		case <-c.ctx.Done():
		case <-s.closed:
			c.deadline = c.now // Nothing more will come.
		}
	}
}

// strike lets a fault act; stop says that its answer is the request's.
func (s *Server) strike(c *call, f Fault, entry *Request) (out answer, stop bool) {
	entry.Faults = append(entry.Faults, f.ID)
	s.wait(c.ctx.Done(), f.Latency.Duration)
	switch f.Action {
	case ActionDrop:
		entry.Outcome = OutcomeDropped
		return answer{}, true
	case ActionThrottle:
		return s.refuse(c, protocolOf(c.operation.service).throttled(), entry), true
	case ActionError:
		return s.refuse(c, &apiError{Code: f.Code, Message: f.Message, Status: f.Status}, entry), true
	default:
		return answer{}, false
	}
}

// refuse renders an error and notes it.
func (s *Server) refuse(c *call, err error, entry *Request) answer {
	refusal := asAPIError(err)
	proto := protocolOf(c.operation.service)
	entry.Outcome, entry.Code = OutcomeError, refusal.Code
	if refusal.Code == proto.throttled().Code {
		entry.Outcome = OutcomeThrottled
	}
	return proto.failure(c, refusal)
}

func writeAnswer(w http.ResponseWriter, requestID string, out answer) {
	h := w.Header()
	h.Set("Content-Type", out.contentType)
	h.Set("Content-Length", strconv.Itoa(len(out.body)))
	h.Set("X-Amzn-Requestid", requestID)
	if out.errorType != "" {
		h.Set("X-Amzn-Errortype", out.errorType)
	}
	if out.queryError != "" {
		h.Set("X-Amzn-Query-Error", out.queryError)
	}
	w.WriteHeader(out.status)
	// A client that went away changes nothing: what happened has happened, as with AWS.
	_, _ = w.Write(out.body)
}

// parse finds out what is asked. The call it returns is always good enough to
// answer and log, also with an error.
func (s *Server) parse(r *http.Request) (*call, error) {
	cred := readCredentials(r)
	c := &call{
		ctx: r.Context(), region: s.region(cred.scope()),
		requestID: s.dice.uuid(), accessKey: cred.accessKey, caller: r.UserAgent(), host: r.Host,
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return c, s.parseJSON(r, c, target)
	}
	return c, s.parseQuery(r, c, cred.service)
}

// parseJSON reads a request whose operation is in the X-Amz-Target header, as
// <service and version>.<operation>.
func (s *Server) parseJSON(r *http.Request, c *call, target string) error {
	version, name, _ := strings.Cut(target, ".")
	service, known := jsonServices[version]
	if !known {
		service = serviceECS
	}
	c.operation = operation{service: service, name: name}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	c.body = body
	op, ok := s.operations[operationKey{service, name}]
	if !ok || !known {
		return protocolOf(service).unknown(target)
	}
	c.operation = op
	return nil
}

// jsonServices are the services that are asked in JSON, by what their targets begin with.
var jsonServices = map[string]string{"AmazonEC2ContainerServiceV20141113": serviceECS, "AmazonSQS": serviceSQS}

// parseQuery reads a request whose parameters, the action among them, are a form.
func (s *Server) parseQuery(r *http.Request, c *call, service string) error {
	c.operation = operation{service: serviceEC2}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return refuse("MalformedQueryString", "The query string contains a syntax error: %v", err)
	}
	for key, values := range r.URL.Query() {
		form[key] = append(form[key], values...)
	}
	c.form = form
	if service == serviceSTS || form.Get("Version") == "2011-06-15" {
		c.operation.service = serviceSTS
	}
	name := form.Get("Action")
	c.operation.name = name
	if name == "" {
		return refuse("MissingAction", "The request is missing an action or a required parameter.")
	}
	op, ok := s.operations[operationKey{c.operation.service, name}]
	if !ok {
		return protocolOf(c.operation.service).unknown(name)
	}
	c.operation = op
	return nil
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &apiError{
			Code: "RequestEntityTooLarge", Message: fmt.Sprintf("The request holds more than %d bytes.", maxBody),
			Status: http.StatusRequestEntityTooLarge,
		}
	case err != nil:
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return body, nil
}
