// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"maps"
	"slices"
	"time"
)

// The codes of what EC2 gives notice of to spot hosts.
const (
	// EventSpotInterruption says that EC2 takes the host back.
	// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html.
	EventSpotInterruption = "spot-interruption"
	// EventRebalance says that EC2 is likely to take the host back soon.
	// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html.
	EventRebalance = "rebalance-recommendation"
)

const (
	// SpotNotice is how long a spot host goes on after EC2's notice.
	SpotNotice = 2 * time.Minute
	// noticeKept is how long a notice is kept that names no host we know, or that
	// need not come true: a rebalance recommendation.
	noticeKept = time.Hour
)

// SpotInterruption is a spot host that EC2 takes back, or took.
type SpotInterruption struct {
	InstanceID string
	// NoticedAt is when EC2 gave notice.
	NoticedAt time.Time
	// Message is EC2's.
	Message string
}

// notice is an event that is not listed with a host's health.
type notice struct {
	event HostEvent
	until time.Time
}

// Notify takes in what another source than the listings, such as a queue of events,
// says of a host: EventSpotInterruption, with the time that EC2 takes it if that is
// known, or EventRebalance. It is part of the host's health from then on: an
// interruption until the host is gone, a recommendation for an hour. The same notice
// may come any number of times, from any number of sources, and for any host.
func (o *Observer) Notify(instanceID string, event HostEvent) {
	now := o.opts.Clock.Now()
	o.mu.Lock()
	changes := o.takeNotice(instanceID, event, now)
	o.mu.Unlock()
	o.emit(changes)
}

// takeNotice keeps a notice, and returns the change by it. A host that will be taken
// is watched, so that its end is seen at once.
func (o *Observer) takeNotice(instanceID string, event HostEvent, now time.Time) []Change {
	known, ours := o.hosts.items[instanceID]
	if ours && known.value.State.Gone() {
		return nil
	}
	before, noticed := o.notices[instanceID][event.Code]
	if o.notices[instanceID] == nil {
		o.notices[instanceID] = map[string]notice{}
	}
	if noticed && (event.NotBefore.IsZero() || !before.event.NotBefore.IsZero()) {
		event = before.event // A repetition; only a time is news.
	}
	o.notices[instanceID][event.Code] = notice{event: event, until: now.Add(noticeKept)}
	if !ours || noticed && event == before.event {
		return nil
	}
	if event.Code == EventSpotInterruption {
		end := event.NotBefore
		if end.IsZero() {
			end = now.Add(SpotNotice)
		}
		o.hosts.touch(instanceID, end.Add(o.opts.TouchTime))
	}
	return []Change{hostChange(known.value)}
}

// dropNotices forgets the notices of hosts that are gone, and those whose time is over.
func (o *Observer) dropNotices(now time.Time) []Change {
	var changes []Change
	for id, byCode := range o.notices {
		known, ours := o.hosts.items[id]
		for code, n := range byCode {
			gone := ours && known.value.State.Gone()
			stays := ours && code == EventSpotInterruption
			if gone || !stays && now.After(n.until) {
				delete(byCode, code)
				if ours && !gone {
					changes = append(changes, hostChange(known.value))
				}
			}
		}
		if len(byCode) == 0 {
			delete(o.notices, id)
		}
	}
	return changes
}

// withNotices adds to what was listed of a host what there is notice of.
func (o *Observer) withNotices(instanceID string, health HostHealth) HostHealth {
	byCode := o.notices[instanceID]
	if len(byCode) == 0 {
		return health
	}
	health.InstanceID = instanceID
	health.Events = slices.Clone(health.Events)
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		health.Events = append(health.Events, byCode[code].event)
	}
	return health
}

// listSpotInterruptions lists once which spot hosts EC2 takes back; it makes no call
// in a region that has no spot host.
func (o *Observer) listSpotInterruptions(ctx context.Context) error {
	began := o.opts.Clock.Now()
	var list []SpotInterruption
	var err error
	if o.hasSpotHosts() {
		list, err = o.api.ListSpotInterruptions(ctx)
	}
	return o.listed(ctx, spotListing, began, err, func(now time.Time) []Change {
		var changes []Change
		for _, i := range list {
			if _, ours := o.hosts.items[i.InstanceID]; !ours {
				continue // EC2 lists for hours what it took.
			}
			changes = append(changes, o.takeNotice(i.InstanceID, HostEvent{
				Code: EventSpotInterruption, Description: i.Message, NotBefore: i.NoticedAt.Add(SpotNotice),
			}, now)...)
		}
		return append(changes, o.dropNotices(now)...)
	})
}

func (o *Observer) hasSpotHosts() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, known := range o.hosts.items {
		if known.value.Spot && !known.value.State.Gone() {
			return true
		}
	}
	return false
}
