// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sqsState is everything of SQS in one region.
type sqsState struct {
	queues map[string]*queue
	// takers are the queues that the region's events are delivered to.
	takers []*queue
}

func newSQSState() sqsState { return sqsState{queues: map[string]*queue{}} }

// queue is a standard queue. Messages are handed out oldest first, which the real
// one only tries to.
type queue struct {
	name string
	// attributes are those that can be set, by the name that SQS has for each.
	attributes map[string]time.Duration
	messages   []*message
	// events says how the region's events are delivered to it, if any are.
	events EventDelivery
}

// message is one message in a queue.
type message struct {
	id, body              string
	sentAt, firstReceived time.Time
	// visibleAt is when it may be received, or received again.
	visibleAt time.Time
	receives  int
}

// The attributes of a queue that are durations in seconds.
const (
	attributeVisibility = "VisibilityTimeout"
	attributeRetention  = "MessageRetentionPeriod"
	attributeWait       = "ReceiveMessageWaitTimeSeconds"
	attributeDelay      = "DelaySeconds"
)

// queueAttributes are the defaults and bounds of
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
var queueAttributes = map[string]struct{ value, least, most time.Duration }{
	attributeVisibility: {30 * time.Second, 0, 12 * time.Hour},
	attributeRetention:  {4 * 24 * time.Hour, time.Minute, 14 * 24 * time.Hour},
	attributeWait:       {0, 0, 20 * time.Second},
	attributeDelay:      {0, 0, 15 * time.Minute},
}

// newQueue makes a queue with the attributes given, as SQS writes them.
func newQueue(name string, given map[string]string) (*queue, error) {
	q := &queue{name: name, attributes: map[string]time.Duration{}}
	for attribute, bounds := range queueAttributes {
		q.attributes[attribute] = bounds.value
	}
	for attribute, text := range given {
		bounds, known := queueAttributes[attribute]
		if !known {
			return nil, &apiError{Code: "InvalidAttributeName", Message: "Unknown Attribute " + attribute + "."}
		}
		seconds, err := strconv.Atoi(text)
		value := time.Duration(seconds) * time.Second
		if err != nil || value < bounds.least || value > bounds.most {
			return nil, &apiError{Code: "InvalidAttributeValue", Message: "Invalid value for the parameter " + attribute + "."}
		}
		q.attributes[attribute] = value
	}
	return q, nil
}

// url is where the queue is found, on the endpoint that the request came to.
func (q *queue) url(c *call) string {
	return "http://" + c.host + "/" + c.region.account + "/" + q.name
}

// queueAt finds the queue of a URL; one of another account isn't the caller's.
func (r *region) queueAt(url string) (*queue, error) {
	parts := strings.Split(strings.TrimSuffix(url, "/"), "/")
	name := parts[len(parts)-1]
	if len(parts) >= 2 && isAccount(parts[len(parts)-2]) && parts[len(parts)-2] != r.account {
		return nil, &apiError{Code: "AccessDeniedException", QueryCode: "AccessDenied", Status: 403,
			Message: "Access to the resource " + url + " is denied."}
	}
	return r.queue(name)
}

func (r *region) queue(name string) (*queue, error) {
	q, ok := r.sqs.queues[name]
	if !ok {
		return nil, sqsRefusal("QueueDoesNotExist", "NonExistentQueue", "The specified queue does not exist.")
	}
	return q, nil
}

// send puts a message into the queue.
func (r *region) send(q *queue, body string, delay time.Duration) *message {
	m := &message{id: r.srv.dice.uuid(), body: body, sentAt: r.now(), visibleAt: r.now().Add(delay)}
	q.messages = append(q.messages, m)
	r.wake()
	return m
}

// expire drops what has been in the queue for longer than it keeps messages.
func (q *queue) expire(now time.Time) {
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool {
		return now.Sub(m.sentAt) >= q.attributes[attributeRetention]
	})
}

// receive takes up to n messages, which are then invisible for that long.
func (q *queue) receive(n int, now time.Time, visibility time.Duration) []*message {
	var taken []*message
	for _, m := range q.messages {
		if len(taken) == n {
			break
		}
		if m.visibleAt.After(now) {
			continue
		}
		if m.receives == 0 {
			m.firstReceived = now
		}
		m.receives++
		m.visibleAt = now.Add(visibility)
		taken = append(taken, m)
	}
	return taken
}

// nextVisible is when the next message can be received, if that is before limit.
func (q *queue) nextVisible(limit time.Time) time.Time {
	for _, m := range q.messages {
		if m.visibleAt.Before(limit) {
			limit = m.visibleAt
		}
	}
	return limit
}

// receipt names one receipt of the message: the next one makes it out of date.
func (m *message) receipt() string { return fmt.Sprintf("%s#%d", m.id, m.receives) }

// received finds the message of a receipt: nil if it was deleted or received again
// since, which SQS doesn't tell apart.
func (q *queue) received(receipt string) (*message, error) {
	id, _, ok := strings.Cut(receipt, "#")
	if !ok || id == "" {
		return nil, &apiError{Code: "ReceiptHandleIsInvalid", Message: fmt.Sprintf("The input receipt handle \"%s\" is not a valid receipt handle.", receipt)}
	}
	for _, m := range q.messages {
		if m.receipt() == receipt {
			return m, nil
		}
	}
	return nil, nil
}

// remove deletes the message of a receipt. A receipt that is out of date deletes
// nothing, and is no error:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html
func (q *queue) remove(receipt string) error {
	gone, err := q.received(receipt)
	if err != nil {
		return err
	}
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool { return m == gone })
	return nil
}
