// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"slices"
	"time"
)

// eventLook is how the things of one kind of event are looked at.
type eventLook struct {
	kind EventKind
	// tells says whether the event may tell of something that isn't known; the lock
	// is held.
	tells func(Event) bool
	// look looks at what the events are about.
	look func(ctx context.Context, ids []string) error
}

func (o *Observer) eventLooks() []eventLook {
	return []eventLook{
		{EventHost, o.hostEventTells, func(ctx context.Context, ids []string) error {
			return look(ctx, o, ids, o.api.DescribeHosts, o.takeOwnHost)
		}},
		{EventContainerHost, o.containerHostEventTells, func(ctx context.Context, ids []string) error {
			return look(ctx, o, ids, o.api.DescribeContainerHosts, o.takeContainerHost)
		}},
		{EventTask, o.taskEventTells, func(ctx context.Context, ids []string) error {
			return look(ctx, o, ids, o.api.DescribeTasks, o.takeOwnTask)
		}},
		{EventHealth, o.healthEventTells, func(ctx context.Context, _ []string) error { return o.listChecks(ctx) }},
	}
}

// actOn looks at what the messages tell of, once for all of one kind, and returns
// the receipts of those that are settled. What failed is left to come again.
func (o *Observer) actOn(ctx context.Context, batch []EventMessage) (settled []string, err error) {
	var errs []error
	for _, l := range o.eventLooks() {
		some, err := o.actOnKind(ctx, l, batch)
		settled = append(settled, some...)
		errs = append(errs, err)
	}
	for _, m := range batch {
		switch m.Kind {
		case EventNotice:
			o.count(m.Event, o.takeNoticeOf(m.Event))
			o.measure([]EventMessage{m})
		case EventOther, EventUnreadable:
			o.count(m.Event, EventIgnored)
		case EventHost, EventContainerHost, EventTask, EventHealth:
			continue // Looked at above.
		}
		settled = append(settled, m.Receipt)
	}
	return settled, errors.Join(errs...)
}

// takeNoticeOf takes in what EC2 gives notice of, to hosts not known yet too: they may
// be ours.
func (o *Observer) takeNoticeOf(e Event) EventOutcome {
	outcome := EventIgnored
	for _, id := range e.IDs {
		o.Notify(id, e.Notice)
		if _, presence := o.HostByID(id); presence == Present {
			outcome = EventNoticed
		}
	}
	return outcome
}

func (o *Observer) actOnKind(ctx context.Context, l eventLook, batch []EventMessage) (settled []string, err error) {
	var ids []string
	var telling []EventMessage
	for _, m := range batch {
		if m.Kind != l.kind {
			continue
		}
		if outcome := o.worth(l, m.Event); outcome != EventLooked {
			settled = append(settled, m.Receipt)
			o.count(m.Event, outcome)
			continue
		}
		ids = append(ids, m.IDs...)
		telling = append(telling, m)
	}
	if len(telling) == 0 {
		return settled, nil
	}
	slices.Sort(ids)
	err = l.look(ctx, slices.Compact(ids))
	outcome := EventLooked
	if err != nil {
		outcome = EventFailed
	}
	for _, m := range telling {
		o.count(m.Event, outcome)
		if err == nil {
			settled = append(settled, m.Receipt)
			o.followUp(m.Event)
		}
	}
	if err == nil {
		o.measure(telling)
	}
	return settled, err
}

// worth says what is to become of an event: a look, or nothing.
func (o *Observer) worth(l eventLook, e Event) EventOutcome {
	if len(e.IDs) == 0 {
		return EventIgnored
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if !l.tells(e) {
		return EventKnown
	}
	return EventLooked
}

// followUp watches what the look didn't show as far along as the event told: the
// read came from a replica that lags behind.
func (o *Observer) followUp(e Event) {
	until := o.opts.Clock.Now().Add(o.opts.TouchTime)
	o.mu.Lock()
	defer o.mu.Unlock()
	id := e.IDs[0]
	switch e.Kind {
	case EventHost:
		known, ok := o.hosts.items[id]
		if ok && hostOrder[HostState(e.State)] > hostOrder[known.value.State] {
			o.hosts.touch(id, until)
		}
	case EventTask:
		known, ok := o.tasks.items[id]
		if ok && taskOrder[e.State] > taskOrder[known.value.LastStatus] {
			o.tasks.touch(id, until)
		}
	case EventContainerHost:
		if o.containerHostEventTells(e) {
			o.containerHosts.touch(id, until)
		}
	case EventHealth, EventNotice, EventOther, EventUnreadable:
	}
}

func (o *Observer) count(e Event, outcome EventOutcome) {
	o.opts.EventCounts.EventHandled(o.opts.Target.Region, string(e.Kind), string(outcome))
}

// measure tells how old the newest of the events was when it had been acted on.
func (o *Observer) measure(acted []EventMessage) {
	var newest time.Time
	for _, m := range acted {
		if m.Time.After(newest) {
			newest = m.Time
		}
	}
	if !newest.IsZero() {
		o.opts.EventCounts.EventAge(o.opts.Target.Region, max(0, o.opts.Clock.Since(newest)))
	}
}

func (o *Observer) hostEventTells(e Event) bool {
	known, ok := o.hosts.items[e.IDs[0]]
	return !ok || string(known.value.State) != e.State
}

// containerHostEventTells leaves out that tasks come and go on a host, which is
// most of what ECS tells of it.
func (o *Observer) containerHostEventTells(e Event) bool {
	known, ok := o.containerHosts.items[e.IDs[0]]
	return !ok || known.value.Status != e.State || known.value.AgentConnected != e.AgentConnected
}

func (o *Observer) taskEventTells(e Event) bool {
	known, ok := o.tasks.items[e.IDs[0]]
	if !ok {
		return true
	}
	t := known.value
	return t.LastStatus != e.State || e.Stopping && t.DesiredStatus != TaskStopped || e.Health != "" && e.Health != t.Health
}

// healthEventTells leaves out what happens to other people's hosts.
func (o *Observer) healthEventTells(e Event) bool {
	return slices.ContainsFunc(e.IDs, func(id string) bool {
		_, ours := o.hosts.items[id]
		return ours
	})
}

// takeOwnHost takes in a host that is known or carries the target's tags. A host
// of ours whose tags aren't visible yet is left to the next event or listing.
func (o *Observer) takeOwnHost(h Host, asOf, now time.Time) []Change {
	if _, known := o.hosts.items[h.InstanceID]; !known && !o.opts.Target.Owns(h.Tags) {
		return nil
	}
	return o.takeHost(h, asOf, now)
}

// takeOwnTask takes in a task that is known or carries the target's tags.
func (o *Observer) takeOwnTask(t Task, asOf, now time.Time) []Change {
	if _, known := o.tasks.items[t.ARN]; !known && !o.opts.Target.Owns(t.Tags) {
		return nil
	}
	return o.takeTask(t, asOf, now)
}
