// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"time"
)

// EventQueue is a queue that AWS puts the events of a region into. It hands each
// message out at least once and in no order, and again some time after it was
// received unless it was deleted.
type EventQueue interface {
	// Receive returns a few messages, ReceiveBatch at most; if there are none, it
	// waits for one as long as told, 20 seconds at most, and then returns none.
	Receive(ctx context.Context, wait time.Duration) ([]EventMessage, error)
	// Delete deletes messages by the receipts of their last reception. One that is
	// gone already is no error.
	Delete(ctx context.Context, receipts []string) error
}

// ReceiveBatch is the most messages that one Receive returns.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html.
const ReceiveBatch = 10

// EventMessage is an event with the receipt that its message is deleted by.
type EventMessage struct {
	Receipt string
	Event
}

// EventKind says what an event is about.
type EventKind string

// The kinds of events.
const (
	// EventHost is an EC2 instance that changed its state.
	EventHost EventKind = "Host"
	// EventContainerHost is a container instance that changed.
	EventContainerHost EventKind = "ContainerHost"
	// EventTask is a task that changed.
	EventTask EventKind = "Task"
	// EventHealth is maintenance that AWS scheduled for EC2 instances, or took back.
	EventHealth EventKind = "Health"
	// EventNotice is what EC2 gives notice of to a spot host: it is taken at its word,
	// since no call tells of it as soon, or at all.
	EventNotice EventKind = "Notice"
	// EventOther is about nothing that the operator cares for.
	EventOther EventKind = "Other"
	// EventUnreadable is a message that is no event.
	EventUnreadable EventKind = "Unreadable"
)

// Event is a hint that something is worth a look. What it says of the state is
// never taken for what is: it may be late, out of order, or come twice. A notice
// may be so too, but stays true.
type Event struct {
	Kind EventKind
	// IDs are the instance ids or ARNs of what it is about; none if it can't be the
	// target's.
	IDs []string
	// State is the state that it tells of: a HostState, or the status of a container
	// host or task; Stopping says that the task is to stop, and AgentConnected is of
	// the container host. Health is the task's.
	State          string
	Stopping       bool
	AgentConnected bool
	Health         string
	// Notice is what there is notice of.
	Notice HostEvent
	// Time is when it happened; zero if the message doesn't say.
	Time time.Time
}

// EventOutcome is what became of a message.
type EventOutcome string

// The outcomes of messages.
const (
	// EventLooked was followed by a look at what it told of.
	EventLooked EventOutcome = "Looked"
	// EventNoticed gave notice of something to a host, which is now known.
	EventNoticed EventOutcome = "Noticed"
	// EventKnown told of nothing that wasn't known.
	EventKnown EventOutcome = "Known"
	// EventIgnored was about nothing of ours.
	EventIgnored EventOutcome = "Ignored"
	// EventFailed is left in the queue, because the look failed.
	EventFailed EventOutcome = "Failed"
)

// EventCounts takes in what becomes of messages.
type EventCounts interface {
	// EventHandled counts a message of a kind by its outcome.
	EventHandled(region, kind, outcome string)
	// EventAge says how old the newest event of a round was when it had been acted on.
	EventAge(region string, age time.Duration)
}

// uncounted is the default.
type uncounted struct{}

func (uncounted) EventHandled(string, string, string) {}
func (uncounted) EventAge(string, time.Duration)      {}
