// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// adminPrefix is where the admin API lives on the same listener. AWS's own
// protocols only use the root path.
const adminPrefix = "/_admin/"

// adminMux is the admin API. Bodies and answers are JSON; account and region are
// query parameters where an instance or a task is named, and may be left out.
//
//	GET, DELETE /_admin/requests   the request log; filters: service, operation,
//	                               account, region, outcome, code, caller
//	GET /_admin/denials            Denial; what the policy did not allow, if there is one
//	GET, POST, DELETE /_admin/faults, DELETE /_admin/faults/{id}
//	PUT  /_admin/limits            Limits
//	GET, PUT /_admin/delays        Delays, each as "1.5s"; PUT changes those named
//	POST /_admin/capacity          Capacity
//	POST /_admin/images            Image
//	POST /_admin/instances/{id}/{kill|stop|disconnect-agent|reconnect-agent|impair|heal|interrupt|rebalance}
//	POST /_admin/instances/{id}/schedule-event  ScheduledEvent
//	POST /_admin/tasks/{id}/{crash|exit}        exit takes {"exitCode": 3, "reason": ""}
//	POST /_admin/queues/{name}/events           EventDelivery; has the region's events
//	                               delivered to the queue
//	GET  /_admin/state             how many of everything there are
//	POST /_admin/reset             forget all state, faults and requests
func (s *Server) adminMux() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { answerAdmin(w, r, f) })
	}
	handle("GET /_admin/requests", s.adminRequests)
	handle("DELETE /_admin/requests", done(s.ResetRequests))
	handle("GET /_admin/denials", s.adminDenials)
	handle("GET /_admin/faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	handle("POST /_admin/faults", s.adminAddFault)
	handle("DELETE /_admin/faults", done(s.ClearFaults))
	handle("DELETE /_admin/faults/{id}", s.adminRemoveFault)
	handle("PUT /_admin/limits", s.adminLimits)
	handle("GET /_admin/delays", func(*http.Request) (any, error) { return s.Delays(), nil })
	handle("PUT /_admin/delays", s.adminDelays)
	handle("POST /_admin/capacity", s.adminCapacity)
	handle("POST /_admin/images", s.adminImage)
	handle("POST /_admin/instances/{id}/{verb}", s.adminInstance)
	handle("POST /_admin/tasks/{id}/{verb}", s.adminTask)
	handle("POST /_admin/queues/{name}/events", s.adminEvents)
	handle("GET /_admin/state", func(*http.Request) (any, error) { return s.State(), nil })
	handle("POST /_admin/reset", done(s.Reset))
	return mux
}

// done makes an answer of a deed that can't fail.
func done(deed func()) func(*http.Request) (any, error) {
	return func(*http.Request) (any, error) {
		deed()
		return nil, nil
	}
}

// errNotFound is answered with 404, any other error of the admin API with 400.
var errNotFound = errors.New("not found")

func answerAdmin(w http.ResponseWriter, r *http.Request, f func(r *http.Request) (any, error)) {
	value, err := f(r)
	status := http.StatusOK
	switch {
	case errors.Is(err, errNotFound):
		status = http.StatusNotFound
	case err != nil:
		status = http.StatusBadRequest
	case value == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err != nil {
		value = map[string]string{"error": err.Error()}
	}
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that went away has nothing to be told.
	_, _ = w.Write(append(body, '\n'))
}

// readAdmin reads the body into a value; unknown members are mistakes.
func readAdmin(r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the body: %w", err)
	}
	return nil
}

func (s *Server) adminRequests(r *http.Request) (any, error) {
	q := r.URL.Query()
	return s.Requests(RequestFilter{
		Service: q.Get("service"), Operation: q.Get("operation"), Account: q.Get("account"), Region: q.Get("region"),
		Outcome: q.Get("outcome"), Code: q.Get("code"), Caller: q.Get("caller"),
	}), nil
}

func (s *Server) adminDenials(*http.Request) (any, error) {
	if s.iam == nil {
		return []Denial{}, nil
	}
	return append([]Denial{}, s.iam.Denials()...), nil
}

func (s *Server) adminAddFault(r *http.Request) (any, error) {
	var f Fault
	if err := readAdmin(r, &f); err != nil {
		return nil, err
	}
	id, err := s.AddFault(f)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": id}, nil
}

func (s *Server) adminRemoveFault(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if !s.RemoveFault(id) {
		return nil, fmt.Errorf("fault %s: %w", id, errNotFound)
	}
	return nil, nil
}

func (s *Server) adminLimits(r *http.Request) (any, error) {
	var limits Limits
	if err := readAdmin(r, &limits); err != nil {
		return nil, err
	}
	s.SetLimits(limits)
	return nil, nil
}

func (s *Server) adminDelays(r *http.Request) (any, error) {
	d := s.Delays()
	if err := readAdmin(r, &d); err != nil {
		return nil, err
	}
	s.SetDelays(d)
	return d, nil
}

func (s *Server) adminCapacity(r *http.Request) (any, error) {
	var bound Capacity
	if err := readAdmin(r, &bound); err != nil {
		return nil, err
	}
	if bound.Region == "" {
		return nil, errors.New("the capacity's region is missing")
	}
	s.SetCapacity(bound)
	return nil, nil
}

func (s *Server) adminImage(r *http.Request) (any, error) {
	var image Image
	if err := readAdmin(r, &image); err != nil {
		return nil, err
	}
	return nil, s.AddImage(image)
}

func (s *Server) adminInstance(r *http.Request) (any, error) {
	q, id := r.URL.Query(), r.PathValue("id")
	account, region := q.Get("account"), q.Get("region")
	if region == "" {
		found, err := s.regionOfInstance(id)
		if err != nil {
			return nil, err
		}
		account, region = found.account, found.name
	}
	switch verb := r.PathValue("verb"); verb {
	case "kill":
		return nil, s.KillInstance(account, region, id)
	case "stop":
		return nil, s.StopInstance(account, region, id)
	case "disconnect-agent":
		return nil, s.DisconnectAgent(account, region, id)
	case "reconnect-agent":
		return nil, s.ReconnectAgent(account, region, id)
	case "impair":
		return nil, s.ImpairInstance(account, region, id, true)
	case "heal":
		return nil, s.ImpairInstance(account, region, id, false)
	case "interrupt":
		return nil, s.InterruptSpot(account, region, id)
	case "rebalance":
		return nil, s.RecommendRebalance(account, region, id)
	case "schedule-event":
		var event ScheduledEvent
		if err := readAdmin(r, &event); err != nil {
			return nil, err
		}
		return nil, s.ScheduleEvent(account, region, id, event)
	default:
		return nil, fmt.Errorf("what to do with an instance, %q: %w", verb, errNotFound)
	}
}

func (s *Server) adminTask(r *http.Request) (any, error) {
	q, id := r.URL.Query(), r.PathValue("id")
	account, region := q.Get("account"), q.Get("region")
	if region == "" {
		found, err := s.regionOfTask(id)
		if err != nil {
			return nil, err
		}
		account, region = found.account, found.name
	}
	switch verb := r.PathValue("verb"); verb {
	case "crash":
		return nil, s.CrashTask(account, region, id)
	case "exit":
		var how struct {
			ExitCode int    `json:"exitCode"`
			Reason   string `json:"reason"`
		}
		if err := readAdmin(r, &how); err != nil {
			return nil, err
		}
		return nil, s.ExitTask(account, region, id, how.ExitCode, how.Reason)
	default:
		return nil, fmt.Errorf("what to do with a task, %q: %w", verb, errNotFound)
	}
}

func (s *Server) adminEvents(r *http.Request) (any, error) {
	var how EventDelivery
	if err := readAdmin(r, &how); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	if q.Get("region") == "" {
		return nil, errors.New("the queue's region is missing")
	}
	return nil, s.SendEvents(q.Get("account"), q.Get("region"), r.PathValue("name"), how)
}

// RegionState counts what one account has in one region.
type RegionState struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	// Instances and Tasks count by state, those gone but still listed included.
	Instances map[string]int `json:"instances"`
	Tasks     map[string]int `json:"tasks"`
	// ContainerInstances and ConnectedAgents count registered hosts.
	ContainerInstances int `json:"containerInstances"`
	ConnectedAgents    int `json:"connectedAgents"`
}

// State counts everything there is, ordered by account and region.
func (s *Server) State() []RegionState {
	states := []RegionState{}
	for _, r := range s.allRegions() {
		states = append(states, r.state())
	}
	return states
}

func (r *region) state() RegionState {
	r.lock()
	defer r.unlock()
	out := RegionState{Account: r.account, Region: r.name, Instances: map[string]int{}, Tasks: map[string]int{}}
	for _, i := range r.ec2.instances {
		out.Instances[string(i.state)]++
	}
	for _, cl := range r.ecs.clusters {
		for _, ci := range cl.hosts {
			if !ci.registered() {
				continue
			}
			out.ContainerInstances++
			if ci.connected {
				out.ConnectedAgents++
			}
		}
		for _, t := range cl.tasks {
			out.Tasks[t.last]++
		}
	}
	return out
}
