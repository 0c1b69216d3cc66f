// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"errors"
	"fmt"
	"time"
)

// ScheduledEvent is a maintenance that AWS announces for a host:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusEvent.html
type ScheduledEvent struct {
	// ID is given when empty.
	ID string `json:"id,omitempty"`
	// Code is such as instance-retirement, which is the default.
	Code        string `json:"code,omitempty"`
	Description string `json:"description,omitempty"`
	// NotBefore is the earliest time of the event. Default: in a day.
	NotBefore time.Time `json:"notBefore,omitzero"`
}

// onInstance runs f on a host with its region locked.
func (s *Server) onInstance(account, name, id string, f func(*region, *instance) error) error {
	r := s.region(scope{account: account, region: name})
	r.lock()
	defer r.unlock()
	i, ok := r.ec2.instances[id]
	if !ok {
		return fmt.Errorf("instance %s in %s: %w", id, name, errNotFound)
	}
	return f(r, i)
}

// KillInstance has a host die at once, as when its hardware fails for good.
func (s *Server) KillInstance(account, region, id string) error {
	return s.onInstance(account, region, id, killInstance)
}

func killInstance(r *region, i *instance) error {
	r.terminate(i, reasonInternal, 0)
	return nil
}

// StopInstance stops a host as if it had shut itself down: with the shutdown
// behaviour terminate, it is terminated.
func (s *Server) StopInstance(account, region, id string) error {
	return s.onInstance(account, region, id, shutDown)
}

func shutDown(r *region, i *instance) error {
	if i.terminateOnShutdown {
		r.terminate(i, reasonInstance, r.delays().InstanceShuttingDown)
		return nil
	}
	r.stop(i, reasonInstance)
	return nil
}

// ImpairInstance has a host's status check fail, or pass again.
func (s *Server) ImpairInstance(account, region, id string, impaired bool) error {
	return s.onInstance(account, region, id, setImpaired(impaired))
}

func setImpaired(impaired bool) func(*region, *instance) error {
	return func(_ *region, i *instance) error {
		i.impaired = impaired
		return nil
	}
}

// ScheduleEvent announces a maintenance, seen in DescribeInstanceStatus.
func (s *Server) ScheduleEvent(account, region, id string, event ScheduledEvent) error {
	return s.onInstance(account, region, id, announce(event))
}

func announce(event ScheduledEvent) func(*region, *instance) error {
	return func(r *region, i *instance) error {
		if event.ID == "" {
			event.ID = r.newID("instance-event")
		}
		if event.Code == "" {
			event.Code = "instance-retirement"
		}
		if event.NotBefore.IsZero() {
			event.NotBefore = r.now().Add(24 * time.Hour)
		}
		i.events = append(i.events, event)
		r.publishHealth(i, event)
		return nil
	}
}

// InterruptSpot gives a spot host its notice, which its spot request tells of and its
// agent acts on; after Delays.SpotNotice it goes. See
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
func (s *Server) InterruptSpot(account, region, id string) error {
	return s.onInstance(account, region, id, interrupt)
}

func interrupt(r *region, i *instance) error {
	if !i.spot {
		return errors.New("only a spot instance can be interrupted")
	}
	r.spotNoticed(i)
	r.publishInstance(i, "EC2 Spot Instance Interruption Warning", map[string]string{"instance-action": "terminate"})
	r.after(r.delays().SpotNotice, func() { r.terminate(i, reasonSpot, r.delays().InstanceShuttingDown) })
	return nil
}

// RecommendRebalance has EC2 say that a spot host is at an elevated risk of being
// interrupted, which only an event tells. See
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
func (s *Server) RecommendRebalance(account, region, id string) error {
	return s.onInstance(account, region, id, recommendRebalance)
}

func recommendRebalance(r *region, i *instance) error {
	if !i.spot {
		return errors.New("only a spot instance can be recommended for a rebalance")
	}
	r.publishInstance(i, "EC2 Instance Rebalance Recommendation", nil)
	return nil
}

// regionOfInstance finds the region a host is in.
func (s *Server) regionOfInstance(id string) (*region, error) {
	return s.findRegion("instance "+id, func(r *region) bool { return r.ec2.instances[id] != nil })
}

// regionOfTask finds the region a task is in.
func (s *Server) regionOfTask(id string) (*region, error) {
	return s.findRegion("task "+id, func(r *region) bool {
		t, err := r.findTask(id)
		return err == nil && t != nil
	})
}

func (s *Server) findRegion(what string, holds func(*region) bool) (*region, error) {
	for _, r := range s.allRegions() {
		r.lock()
		held := holds(r)
		r.unlock()
		if held {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", what, errNotFound)
}
