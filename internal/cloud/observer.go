// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
)

// ObserverOptions say how a region is observed. The zero value of each field
// stands for its default.
type ObserverOptions struct {
	// ListInterval is the time from the end of a full listing to the next, 30s by
	// default, with up to a fifth added at random.
	ListInterval time.Duration
	// HotInterval is the time between two looks at what is in motion; 1s by default.
	HotInterval time.Duration
	// CatalogInterval is the time between two refreshes of the catalogue; 5m by default.
	CatalogInterval time.Duration
	// GracePeriod is how long reads of AWS may lag behind; 60s by default. What was
	// seen or made within it and is missing from a listing isn't gone.
	GracePeriod time.Duration
	// TouchTime is how long something is watched after a writer acted on it; 30s by
	// default, which is longer than AWS takes to show the effect.
	TouchTime time.Duration
	// Clock is the real one by default.
	Clock clock.Clock
	// Log discards by default.
	Log logr.Logger
	// Target says whose hosts and tasks are observed: what isn't known yet and an
	// event tells of is taken in if it carries the target's tags.
	Target Target
	// Queue brings the region's events; nil for none.
	Queue EventQueue
	// EventCounts counts those; nothing does by default.
	EventCounts EventCounts
	// OnChange is called for each change, never concurrently with itself for the
	// same listing and never under a lock; it must not block. May be nil.
	OnChange func(Change)
}

func (o ObserverOptions) withDefaults() ObserverOptions {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.ListInterval, 30 * time.Second},
		{&o.HotInterval, time.Second},
		{&o.CatalogInterval, 5 * time.Minute},
		{&o.GracePeriod, time.Minute},
		{&o.TouchTime, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if o.EventCounts == nil {
		o.EventCounts = uncounted{}
	}
	if o.OnChange == nil {
		o.OnChange = func(Change) {}
	}
	return o
}

// launchKey identifies a host before its id is known.
type launchKey struct {
	token string
	index int32
}

// listing is how one sort of thing was last listed.
type listing struct {
	// beganAt is when the last listing that succeeded began; zero if none has.
	beganAt time.Time
	err     error
}

// The sorts of things that are listed, each by itself: the failure of one
// listing doesn't keep the others from being current.
const (
	hostListing          = "hosts"
	containerHostListing = "container hosts"
	taskListing          = "tasks"
	healthListing        = "host health"
	spotListing          = "spot interruptions"
)

// Observer is an informer over one region of EC2 and ECS. It lists everything
// slowly, looks at what is in motion often and at what events tell of at once, and
// takes in what writers learn from the answers to their own calls. All methods may be called concurrently; values
// that they return share their maps and slices with the Observer and must not be
// changed.
type Observer struct {
	api  Reader
	opts ObserverOptions

	// mu guards everything below. It is never held while AWS or OnChange is called.
	mu             sync.RWMutex
	startedAt      time.Time
	hosts          shelf[Host]
	containerHosts shelf[ContainerHost]
	tasks          shelf[Task]
	byLaunch       map[launchKey]string
	byInstance     index
	byStarter      index
	bySession      index
	expected       map[string]time.Time
	// taskListings counts the listings of tasks, and turns gives each task its turn.
	taskListings uint64
	turns        maphash.Seed
	health       map[string]HostHealth
	// notices are by host and the code of their event.
	notices  map[string]map[string]notice
	listings map[string]*listing
	hotErr   error
	events   eventState

	catalog catalogState
}

// NewObserver returns an Observer that knows nothing until it is run.
func NewObserver(api Reader, opts ObserverOptions) *Observer {
	return &Observer{
		api:            api,
		opts:           opts.withDefaults(),
		hosts:          newShelf(hostSupersedes, sameHost),
		containerHosts: newShelf(containerHostSupersedes, sameContainerHost),
		tasks:          newShelf(taskSupersedes, sameTask),
		byLaunch:       map[launchKey]string{},
		byInstance:     index{},
		byStarter:      index{},
		bySession:      index{},
		expected:       map[string]time.Time{},
		turns:          maphash.MakeSeed(),
		notices:        map[string]map[string]notice{},
		listings: map[string]*listing{
			hostListing: {}, containerHostListing: {}, taskListing: {}, healthListing: {}, spotListing: {},
		},
		catalog: newCatalogState(),
	}
}

// Run observes until the context ends, which is its only error, and nil is
// returned for it. Errors of AWS are kept for Err and tried again.
func (o *Observer) Run(ctx context.Context) error {
	o.mu.Lock()
	o.startedAt = o.opts.Clock.Now()
	o.mu.Unlock()

	loops := []func(context.Context){
		func(ctx context.Context) { o.listLoop(ctx, o.listHosts) },
		func(ctx context.Context) { o.listLoop(ctx, o.listContainerHosts) },
		func(ctx context.Context) { o.listLoop(ctx, o.listTasks) },
		func(ctx context.Context) { o.listLoop(ctx, o.listHealth) },
		o.hotLoop,
		o.catalogLoop,
	}
	if o.opts.Queue != nil {
		loops = append(loops, o.eventLoop)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range loops {
		group.Go(func() error {
			loop(ctx)
			return nil
		})
	}
	return group.Wait()
}

// Synced says whether hosts and container hosts have been listed once.
func (o *Observer) Synced() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.synced()
}

func (o *Observer) synced() bool {
	return !o.listings[hostListing].beganAt.IsZero() && !o.listings[containerHostListing].beganAt.IsZero()
}

// TasksSynced says whether tasks have been listed once.
func (o *Observer) TasksSynced() bool {
	return !o.TasksListedAt().IsZero()
}

// HostsListedAt is when the last full listing of hosts that succeeded began; zero
// if there was none.
func (o *Observer) HostsListedAt() time.Time {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.listings[hostListing].beganAt
}

// TasksListedAt is when the last full listing of tasks that succeeded began; zero
// if there was none. What it lacks and what was started a grace period earlier
// does not exist.
func (o *Observer) TasksListedAt() time.Time {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.listings[taskListing].beganAt
}

// Err returns what went wrong in the last listings and the last look at what is
// in motion; nil once they succeed again.
func (o *Observer) Err() error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	errs := []error{o.hotErr}
	for _, sort := range []string{hostListing, containerHostListing, taskListing, healthListing, spotListing} {
		if err := o.listings[sort].err; err != nil {
			errs = append(errs, fmt.Errorf("listing %s: %w", sort, err))
		}
	}
	return errors.Join(errs...)
}

// emit tells of changes; the lock must not be held.
func (o *Observer) emit(changes []Change) {
	for _, change := range changes {
		o.opts.OnChange(change)
	}
}

// index finds ids by another key. Nearly every key has one id, for which a slice is
// a fraction of a set.
type index map[string][]string

func (x index) add(key, id string) {
	if !slices.Contains(x[key], id) {
		x[key] = append(x[key], id)
	}
}

func (x index) remove(key, id string) {
	x[key] = slices.DeleteFunc(x[key], func(one string) bool { return one == id })
	if len(x[key]) == 0 {
		delete(x, key)
	}
}

func (x index) ids(key string) iter.Seq[string] { return slices.Values(x[key]) }
