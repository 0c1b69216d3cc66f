// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// EventDelivery says how the events of a region come to a queue. EventBridge
// delivers each at least once, in no order; its zero value delivers each once, at
// once and in order.
// See https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rules-best-practices.html.
type EventDelivery struct {
	// Drop and Duplicate are the probabilities that an event is lost, and that it
	// comes twice.
	Drop      float64 `json:"drop,omitempty"`
	Duplicate float64 `json:"duplicate,omitempty"`
	// Delay is how late each event comes, and Jitter how much later than that at
	// most, at random, which takes events out of their order.
	Delay  Duration `json:"delay,omitzero"`
	Jitter Duration `json:"jitter,omitzero"`
}

// SendEvents has all events of a region delivered to one of its queues from now
// on, as rules of EventBridge would; again, it changes how.
func (s *Server) SendEvents(account, name, queue string, how EventDelivery) error {
	r := s.region(scope{account: account, region: name})
	r.lock()
	defer r.unlock()
	q, err := r.queue(queue)
	if err != nil {
		return fmt.Errorf("queue %s in %s: %w", queue, name, errNotFound)
	}
	q.events = how
	if !slices.Contains(r.sqs.takers, q) {
		r.sqs.takers = append(r.sqs.takers, q)
	}
	return nil
}

// occurrence is an event in the envelope of
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
type occurrence struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     any      `json:"detail"`
}

// publish delivers an event to the queues that take the region's events. The
// caller holds the region's lock, which is all that delivery needs.
func (r *region) publish(source, detailType, resource string, detail any) {
	if len(r.sqs.takers) == 0 {
		return
	}
	body := r.render(source, detailType, resource, detail)
	for _, q := range r.sqs.takers {
		r.deliver(q, body)
	}
}

func (r *region) render(source, detailType, resource string, detail any) string {
	body, err := json.Marshal(occurrence{
		Version: "0", ID: r.srv.dice.uuid(), DetailType: detailType, Source: source, Account: r.account,
		Time: r.now().UTC().Format(time.RFC3339), Region: r.name, Resources: []string{resource}, Detail: detail,
	})
	if err != nil {
		// Only a detail of ours that is no JSON can do that.
		panic(fmt.Sprintf("rendering an event %q: %v", detailType, err))
	}
	return string(body)
}

// deliver sends the event on its way to the queue, as often as the dice say.
func (r *region) deliver(q *queue, body string) {
	copies := 1
	if how := q.events; how.Drop > 0 && r.srv.dice.float() < how.Drop {
		copies = 0
	} else if how.Duplicate > 0 && r.srv.dice.float() < how.Duplicate {
		copies = 2
	}
	for range copies {
		late := q.events.Delay.Duration
		if jitter := q.events.Jitter.Duration; jitter > 0 {
			late += time.Duration(r.srv.dice.float() * float64(jitter))
		}
		if late <= 0 {
			r.send(q, body, 0)
			continue
		}
		r.after(late, func() { r.send(q, body, 0) })
	}
}
