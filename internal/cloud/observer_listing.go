// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"time"
)

const (
	// listTimeout bounds one full listing, and nothing but one that hangs should meet
	// it: after a start, an hour's tasks are listed and described by a hundred, at 20
	// pages a second, and at a region's limit of 40 starts a second these are 2,880
	// pages. What a listing that failed has read is not read again by the next.
	listTimeout = 10 * time.Minute
	// retryInterval is the time to the next try after a listing failed; it doubles
	// up to the interval itself.
	retryInterval = time.Second
)

// jittered adds up to a fifth, so that managers don't call in step.
func jittered(d time.Duration) time.Duration {
	return d + rand.N(d/5+1)
}

// pause waits, and says whether to go on.
func (o *Observer) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-o.opts.Clock.After(d):
		return true
	}
}

// listLoop lists over and over until the context ends. The second listing comes at
// random within the interval of the first. All regions are opened together, and
// would else read thousands of hosts and tasks at the same time ever after, for a
// second in which a session waits for its turn.
func (o *Observer) listLoop(ctx context.Context, list func(context.Context) error) {
	retry, interval := retryInterval, rand.N(o.opts.ListInterval)
	for {
		limited, cancel := context.WithTimeout(ctx, listTimeout)
		err := list(limited)
		cancel()
		wait := jittered(interval)
		if err != nil {
			wait = jittered(min(retry, o.opts.ListInterval))
			retry = min(2*retry, o.opts.ListInterval)
		} else {
			retry, interval = retryInterval, o.opts.ListInterval
		}
		if !o.pause(ctx, wait) {
			return
		}
	}
}

// listHosts lists all hosts once.
func (o *Observer) listHosts(ctx context.Context) error {
	began := o.opts.Clock.Now()
	hosts, err := o.api.ListHosts(ctx)
	return o.listed(ctx, hostListing, began, err, func(now time.Time) []Change {
		var changes []Change
		listed := make(map[string]bool, len(hosts))
		for _, h := range hosts {
			listed[h.InstanceID] = true
			changes = append(changes, o.takeHost(h, began, now)...)
		}
		for _, h := range o.hosts.prune(listed, began, o.opts.GracePeriod) {
			changes = append(changes, o.dropHost(h))
		}
		for token, at := range o.expected {
			if began.Sub(at) >= o.opts.GracePeriod {
				delete(o.expected, token)
			}
		}
		return changes
	})
}

// listContainerHosts lists all container hosts once.
func (o *Observer) listContainerHosts(ctx context.Context) error {
	began := o.opts.Clock.Now()
	containerHosts, err := o.api.ListContainerHosts(ctx)
	return o.listed(ctx, containerHostListing, began, err, func(now time.Time) []Change {
		var changes []Change
		listed := make(map[string]bool, len(containerHosts))
		for _, ch := range containerHosts {
			listed[ch.ARN] = true
			changes = append(changes, o.takeContainerHost(ch, began, now)...)
		}
		for _, ch := range o.containerHosts.prune(listed, began, o.opts.GracePeriod) {
			o.byInstance.remove(ch.InstanceID, ch.ARN)
			changes = append(changes, o.containerHostChange(ch)...)
		}
		return changes
	})
}

// describeEvery is with how many listings a task that runs, as it is to, is described
// once, in case something that is not expected of it changed; with the others it is
// enough that it is listed. To describe all each time would be most of what a listing
// costs, and of the calls: ECS lists and describes a hundred at a time.
const describeEvery = 10

// listTasks lists all tasks once.
func (o *Observer) listTasks(ctx context.Context) error {
	began := o.opts.Clock.Now()
	o.mu.Lock()
	o.taskListings++
	turn := o.taskListings % describeEvery
	o.mu.Unlock()
	listing, err := o.api.ListTasks(ctx, func(arn string) bool { return o.taskSettled(arn, turn) })
	return o.listed(ctx, taskListing, began, err, func(now time.Time) []Change {
		var changes []Change
		listed := make(map[string]bool, len(listing.Tasks)+len(listing.Settled))
		for _, arn := range listing.Settled {
			listed[arn] = true
			o.tasks.seen(arn, began)
		}
		for _, t := range listing.Tasks {
			listed[t.ARN] = true
			changes = append(changes, o.takeTask(t, began, now)...)
		}
		for _, t := range o.tasks.prune(listed, began, o.opts.GracePeriod) {
			changes = append(changes, o.dropTask(t))
		}
		return changes
	})
}

// taskSettled says whether a task that ECS lists as one that is to run needs no
// description: it is known to run as it is to, and it isn't its turn. One that somebody
// watches is described by the hot loop.
func (o *Observer) taskSettled(arn string, turn uint64) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	known, ok := o.tasks.items[arn]
	return ok && known.value.LastStatus == TaskRunning && known.value.DesiredStatus == TaskRunning &&
		maphash.String(o.turns, arn)%describeEvery != turn
}

// listed takes in how a listing went, and tells of what it changed.
func (o *Observer) listed(ctx context.Context, sort string, began time.Time, err error, take func(now time.Time) []Change) error {
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return nil // The observer is being stopped; that is not AWS's error.
	}
	o.mu.Lock()
	before := o.reliance()
	l := o.listings[sort]
	l.err = err
	var changes []Change
	if err == nil {
		changes = take(o.opts.Clock.Now())
		l.beganAt = began
	}
	if o.reliance() != before {
		changes = append(changes, Change{Kind: SyncedChanged})
	}
	o.mu.Unlock()
	if err != nil {
		o.opts.Log.Error(err, "Listing failed; trying again", "sort", sort)
	}
	o.emit(changes)
	return err
}

// reliance is how far the observer can be relied on; a change in it may let a
// reconciler go on.
type reliance struct {
	hosts, containerHosts, tasks bool
	absence                      Presence
	failing                      [5]bool
}

func (o *Observer) reliance() reliance {
	h, c, t := o.listings[hostListing], o.listings[containerHostListing], o.listings[taskListing]
	health, spot := o.listings[healthListing], o.listings[spotListing]
	return reliance{
		hosts:          !h.beganAt.IsZero(),
		containerHosts: !c.beganAt.IsZero(),
		tasks:          !t.beganAt.IsZero(),
		absence:        o.absence(),
		failing:        [5]bool{h.err != nil, c.err != nil, t.err != nil, health.err != nil, spot.err != nil},
	}
}
