// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// batchSize is how many things one describe takes: the most that ECS does.
	// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html.
	batchSize = 100
	// motionWindow is how long something that doesn't change counts as in motion.
	// A host that drains for hours, or never registers, is left to the listings.
	motionWindow = 20 * time.Minute
	// hotTimeout bounds one look at what is in motion.
	hotTimeout = 30 * time.Second
	// maxHotInterval is the longest pause that failing looks back off to.
	maxHotInterval = 30 * time.Second
)

// hotLoop looks at what is in motion over and over until the context ends. The first
// look comes at random within the interval: regions that are opened together would
// else all look at the same moment, and a second's news of all of them would
// reach the API server at once, with what people wait for behind it.
func (o *Observer) hotLoop(ctx context.Context) {
	wait := rand.N(o.opts.HotInterval)
	for o.pause(ctx, wait) {
		limited, cancel := context.WithTimeout(ctx, hotTimeout)
		err := o.lookAtHot(limited)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			wait = o.opts.HotInterval
		} else {
			// What is in motion shares its budget of calls with the listings and the
			// writers: whatever is wrong, more calls don't mend it.
			wait = min(2*max(wait, o.opts.HotInterval), max(maxHotInterval, o.opts.HotInterval))
			o.opts.Log.Error(err, "Looking at what is in motion failed; trying again", "after", wait)
		}
		o.mu.Lock()
		o.hotErr = err
		o.mu.Unlock()
	}
}

// hotSet is what is in motion.
type hotSet struct {
	hosts          []string
	containerHosts []string
	tasks          []string
	// unregistered are hosts that run and have no container host yet.
	unregistered []string
}

func (o *Observer) hotSet() hotSet {
	now := o.opts.Clock.Now()
	o.mu.RLock()
	defer o.mu.RUnlock()
	set := hotSet{
		hosts:          o.hosts.hot(now, motionWindow, hostInMotion),
		containerHosts: o.containerHosts.hot(now, motionWindow, o.containerHostInMotion),
		tasks:          o.tasks.hot(now, motionWindow, taskInMotion),
		unregistered:   o.hosts.hot(now, motionWindow, func(h Host) bool { return h.State == HostRunning }),
	}
	set.unregistered = slices.DeleteFunc(set.unregistered, func(id string) bool {
		_, registered := o.containerHost(id)
		return registered || o.hosts.items[id].value.State != HostRunning
	})
	// Whoever stopped a task asked to watch it for a while; it is all over sooner.
	set.tasks = slices.DeleteFunc(set.tasks, func(arn string) bool { return o.tasks.items[arn].value.Stopped() })
	return set
}

func hostInMotion(h Host) bool {
	return h.State == HostPending || h.State == HostShuttingDown || h.State == HostStopping
}

// containerHostInMotion leaves out what is on other people's hosts, and on those
// that won't come back.
func (o *Observer) containerHostInMotion(ch ContainerHost) bool {
	host, ours := o.hosts.items[ch.InstanceID]
	if !ours || host.value.State.Gone() || ch.Status == ContainerHostInactive {
		return false
	}
	return ch.Status != ContainerHostActive || !ch.AgentConnected
}

func taskInMotion(t Task) bool {
	if t.LastStatus == TaskStopped {
		return false
	}
	return t.LastStatus != TaskRunning || t.DesiredStatus != TaskRunning
}

// lookAtHot describes what is in motion, in batches; nothing is called if
// nothing is. A batch that fails is left for the next look, and is never taken
// apart into single calls.
func (o *Observer) lookAtHot(ctx context.Context) error {
	set := o.hotSet()
	return errors.Join(
		look(ctx, o, set.hosts, o.api.DescribeHosts, o.takeHost),
		look(ctx, o, set.containerHosts, o.api.DescribeContainerHosts, o.takeContainerHost),
		look(ctx, o, set.unregistered, o.api.FindContainerHosts, o.takeContainerHost),
		look(ctx, o, set.tasks, o.api.DescribeTasks, o.takeTask),
	)
}

// look describes the ids of one sort, and takes in what comes back.
func look[T any](ctx context.Context, o *Observer, ids []string,
	describe func(context.Context, []string) ([]T, error), take func(T, time.Time, time.Time) []Change,
) error {
	slices.Sort(ids)
	for batch := range slices.Chunk(ids, batchSize) {
		began := o.opts.Clock.Now()
		found, err := describe(ctx, batch)
		if err != nil {
			return fmt.Errorf("describing %d in motion: %w", len(batch), err)
		}
		var changes []Change
		o.mu.Lock()
		now := o.opts.Clock.Now()
		for _, t := range found {
			changes = append(changes, take(t, began, now)...)
		}
		o.mu.Unlock()
		o.emit(changes)
	}
	return nil
}
