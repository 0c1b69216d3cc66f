// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"
)

// HostHealth is what EC2's checks and schedules say of a running host. Its zero
// value says that all is well.
type HostHealth struct {
	InstanceID string
	// Impaired says that a status check of the host, or of what it runs on, fails.
	// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html.
	Impaired bool
	// ImpairedSince is when the first failing check began to; zero if EC2 doesn't say.
	ImpairedSince time.Time
	// Events are the maintenance that AWS has scheduled for the host, and what EC2
	// gave notice of.
	Events []HostEvent
}

// HostEvent is what AWS will do to a host, or is likely to.
// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instances-status-check_sched.html.
type HostEvent struct {
	// Code is what will happen, as EC2 names it: instance-stop, instance-retirement,
	// instance-reboot, system-reboot or system-maintenance; or EventSpotInterruption
	// or EventRebalance.
	Code        string
	Description string
	// NotBefore is the earliest time of it; zero if that isn't known.
	NotBefore time.Time
}

// over says whether the event is past: EC2 lists such for a while, and says so in
// front of the description.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusEvent.html.
func (e HostEvent) over() bool {
	return strings.HasPrefix(e.Description, "[Completed]") || strings.HasPrefix(e.Description, "[Canceled]")
}

// Interruption is the first event that ends what runs on the host; ok is false if
// there is none. Maintenance of the system it runs on leaves the host running.
func (h HostHealth) Interruption() (first HostEvent, ok bool) {
	for _, e := range h.Events {
		if e.over() || e.Code == "system-maintenance" || e.Code == EventRebalance {
			continue
		}
		if !ok || e.NotBefore.Before(first.NotBefore) {
			first, ok = e, true
		}
	}
	return first, ok
}

// Rebalance is EC2's recommendation to leave the host before it is interrupted; ok is
// false if there is none.
func (h HostHealth) Rebalance() (event HostEvent, ok bool) {
	for _, e := range h.Events {
		if e.Code == EventRebalance {
			return e, true
		}
	}
	return HostEvent{}, false
}

// HostHealth returns what was last listed of a host, or noticed; its zero value while
// nothing speaks against the host. It is known once health has been listed.
func (o *Observer) HostHealth(instanceID string) (health HostHealth, known bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	listed := !o.listings[healthListing].beganAt.IsZero()
	return o.withNotices(instanceID, o.health[instanceID]), listed || len(o.notices[instanceID]) > 0
}

// listHealth lists once what EC2 has to say of hosts.
func (o *Observer) listHealth(ctx context.Context) error {
	return errors.Join(o.listChecks(ctx), o.listSpotInterruptions(ctx))
}

// listChecks lists once how the checks of hosts stand, and what is scheduled for them.
func (o *Observer) listChecks(ctx context.Context) error {
	began := o.opts.Clock.Now()
	list, err := o.api.ListHostHealth(ctx)
	return o.listed(ctx, healthListing, began, err, func(time.Time) []Change {
		before := o.health
		o.health = make(map[string]HostHealth, len(list))
		for _, h := range list {
			o.health[h.InstanceID] = h
		}
		var changes []Change
		for id, known := range o.hosts.items {
			if !reflect.DeepEqual(before[id], o.health[id]) {
				changes = append(changes, hostChange(known.value))
			}
		}
		return changes
	})
}
