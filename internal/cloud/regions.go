// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"fmt"
	"sync"
)

// Regions keeps the regions that are open: for each a client and a running
// Observer. It is a runnable of the manager; what is opened lives until it is
// removed, replaced, or the manager stops.
type Regions struct {
	provider Provider
	opts     ObserverOptions

	mu          sync.Mutex
	open        map[string]*openRegion
	subscribers []func(region string, change Change)
	// ctx is that of Start; nil before.
	ctx     context.Context
	running sync.WaitGroup
}

// Region is one open region.
type Region struct {
	target   Target
	api      API
	observer *Observer
}

// Target returns what the region was opened for.
func (r *Region) Target() Target { return r.target }

// API returns the region's client. What its writers answer is put into the
// Observer before they return.
func (r *Region) API() API { return r.api }

// Observer returns the region's observer.
func (r *Region) Observer() *Observer { return r.observer }

type openRegion struct {
	*Region
	// cancel ends the observer; nil until it runs.
	cancel context.CancelFunc
}

// NewRegions returns a registry with no region open. The options are those of each
// Observer; their OnChange is called before the subscribers.
func NewRegions(provider Provider, opts ObserverOptions) *Regions {
	return &Regions{provider: provider, opts: opts, open: map[string]*openRegion{}}
}

// Start runs the observers of all regions that are open or will be, until the
// context ends and they have returned.
func (r *Regions) Start(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	for _, region := range r.open {
		r.run(region)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	// Nothing opened from now on runs, since its context has ended already; the
	// lock makes sure that nothing is added while this waits.
	r.ctx = nil
	r.mu.Unlock()
	r.running.Wait()
	return nil
}

// Ensure returns the region of the target's name, opened for exactly this target:
// if it was open for another one, that is closed. No call is made to the cloud.
func (r *Regions) Ensure(ctx context.Context, target Target) (*Region, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.open[target.Region]; ok {
		if known.target == target {
			return known.Region, nil
		}
		r.close(target.Region)
	}
	api, err := r.provider.Open(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("opening region %s: %w", target.Region, err)
	}
	opts := r.opts.withDefaults()
	opts.Log = opts.Log.WithValues("region", target.Region)
	opts.Target, opts.Queue = target, api.EventQueue()
	first := opts.OnChange
	opts.OnChange = func(change Change) {
		first(change)
		r.publish(target.Region, change)
	}
	observer := NewObserver(api, opts)
	region := &openRegion{Region: &Region{
		target:   target,
		observer: observer,
		api:      &observedAPI{API: api, observer: observer},
	}}
	r.open[target.Region] = region
	r.run(region)
	return region.Region, nil
}

// Get returns the open region of this name.
func (r *Regions) Get(name string) (*Region, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.open[name]
	if !ok {
		return nil, false
	}
	return known.Region, true
}

// All returns the open regions, in no order.
func (r *Regions) All() []*Region {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Region, 0, len(r.open))
	for _, known := range r.open {
		all = append(all, known.Region)
	}
	return all
}

// Remove closes the region of this name, if it is open. Its client still works
// for those who hold it; nothing is observed any more.
func (r *Regions) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close(name)
}

// Subscribe has the function called for each change in any region, one that is
// opened later included. It must not block, nor open or remove regions.
func (r *Regions) Subscribe(fn func(region string, change Change)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subscribers = append(r.subscribers, fn)
}

func (r *Regions) publish(region string, change Change) {
	r.mu.Lock()
	// Subscribers are only ever appended, so that the slice can be read unlocked.
	subscribers := r.subscribers
	r.mu.Unlock()
	for _, fn := range subscribers {
		fn(region, change)
	}
}

// run starts the region's observer if the registry runs; the lock is held.
func (r *Regions) run(region *openRegion) {
	if r.ctx == nil || region.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	region.cancel = cancel
	r.running.Go(func() {
		defer cancel()
		if err := region.observer.Run(ctx); err != nil {
			r.opts.Log.Error(err, "Observing stopped", "region", region.target.Region)
		}
	})
}

// close ends the region's observer and forgets it; the lock is held.
func (r *Regions) close(name string) {
	known, ok := r.open[name]
	if !ok {
		return
	}
	if known.cancel != nil {
		known.cancel()
	}
	delete(r.open, name)
}
