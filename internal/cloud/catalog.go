// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// catalogTimeout bounds one refresh of the catalogue.
const catalogTimeout = time.Minute

// Wants is what is wanted of the catalogue. The order of names and ids in it has
// no meaning. An empty selector wants nothing.
type Wants struct {
	InstanceTypes  []string
	Subnets        Selector
	SecurityGroups Selector
	Images         []string
}

// Catalog is what AWS answered to Wants. An error leaves the last answer to the
// same wants in place, unless it says that they can't be met.
type Catalog struct {
	// Wants is what this answers.
	Wants Wants
	// Ready says whether each part has been asked for since the wants were last
	// set, well or with an error.
	Ready bool
	// InstanceTypes and Images lack those that AWS doesn't know.
	InstanceTypes  map[string]InstanceType
	Subnets        []Subnet
	SecurityGroups []string
	Images         map[string]Image
	// ClusterARN is empty if there is no active ECS cluster.
	ClusterARN string

	InstanceTypesErr  error
	SubnetsErr        error
	SecurityGroupsErr error
	ImagesErr         error
	ClusterErr        error
}

// Err returns all that went wrong.
func (c Catalog) Err() error {
	return errors.Join(c.InstanceTypesErr, c.SubnetsErr, c.SecurityGroupsErr, c.ImagesErr, c.ClusterErr)
}

// catalogState guards the catalogue apart from what is observed, since it has
// nothing to do with it.
type catalogState struct {
	mu    sync.RWMutex
	wants *Wants
	// generation counts the changes of wants, so that an answer to old ones isn't
	// taken for one to the new.
	generation int
	current    Catalog
	// wake has room for one: a refresh that is due is due once.
	wake chan struct{}
}

func newCatalogState() catalogState {
	return catalogState{wake: make(chan struct{}, 1)}
}

// SetWants says what is wanted. If that differs from before, the catalogue is
// refreshed at once, in the background; equal wants cause no call.
func (o *Observer) SetWants(wants Wants) {
	wants = normalized(wants)
	c := &o.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wants != nil && reflect.DeepEqual(*c.wants, wants) {
		return
	}
	c.wants = &wants
	c.generation++
	c.current.Ready = false
	o.RefreshCatalog()
}

// RefreshCatalog has the catalogue refreshed soon, because a writer made
// something that it would show, or a person asked for a fresh look.
func (o *Observer) RefreshCatalog() {
	select {
	case o.catalog.wake <- struct{}{}:
	default:
	}
}

// Catalog returns the last answers. They may be to earlier wants until Ready.
func (o *Observer) Catalog() Catalog {
	o.catalog.mu.RLock()
	defer o.catalog.mu.RUnlock()
	return o.catalog.current
}

// normalized makes wants that ask for the same equal.
func normalized(w Wants) Wants {
	return Wants{
		InstanceTypes:  sortedSet(w.InstanceTypes),
		Images:         sortedSet(w.Images),
		Subnets:        Selector{IDs: sortedSet(w.Subnets.IDs), Tags: copied(w.Subnets.Tags)},
		SecurityGroups: Selector{IDs: sortedSet(w.SecurityGroups.IDs), Tags: copied(w.SecurityGroups.Tags)},
	}
}

func sortedSet(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

func copied(tags map[string]string) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	return maps.Clone(tags)
}

// catalogLoop refreshes when the wants change, and now and then.
func (o *Observer) catalogLoop(ctx context.Context) {
	retry := retryInterval
	for {
		wait := jittered(o.opts.CatalogInterval)
		if o.catalogFailing() {
			wait = min(retry, wait)
			retry = min(2*retry, o.opts.CatalogInterval)
		} else {
			retry = retryInterval
		}
		timer := o.opts.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-o.catalog.wake:
			timer.Stop()
		case <-timer.C():
		}
		limited, cancel := context.WithTimeout(ctx, catalogTimeout)
		o.refreshCatalog(limited)
		cancel()
	}
}

// catalogFailing says whether the last refresh should be tried again soon. What
// AWS says doesn't exist may be made by a person in a while: the retries back off
// up to the interval.
func (o *Observer) catalogFailing() bool {
	return o.Catalog().Err() != nil
}

// refreshCatalog asks for every part that is wanted.
func (o *Observer) refreshCatalog(ctx context.Context) {
	c := &o.catalog
	c.mu.RLock()
	wants, generation, last := c.wants, c.generation, c.current
	c.mu.RUnlock()
	if wants == nil {
		return
	}
	next := o.askCatalog(ctx, *wants, last)
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}

	c.mu.Lock()
	stale := c.generation != generation
	changed := !stale && !sameCatalog(c.current, next)
	if !stale {
		c.current = next
	}
	c.mu.Unlock()
	if err := next.Err(); err != nil {
		o.opts.Log.Error(err, "Refreshing the catalog failed; trying again")
	}
	if changed {
		o.emit([]Change{{Kind: CatalogChanged}})
	}
}

// askCatalog asks for each part by itself, so that one refused call doesn't keep
// the others from being known.
func (o *Observer) askCatalog(ctx context.Context, wants Wants, last Catalog) Catalog {
	next := Catalog{Wants: wants, Ready: true}
	next.InstanceTypes, next.InstanceTypesErr = ask(ctx, o.api.InstanceTypes, wants.InstanceTypes,
		len(wants.InstanceTypes) == 0, keep(wants.InstanceTypes, last.Wants.InstanceTypes, last.InstanceTypes))
	next.Images, next.ImagesErr = ask(ctx, o.api.Images, wants.Images,
		len(wants.Images) == 0, keep(wants.Images, last.Wants.Images, last.Images))
	next.Subnets, next.SubnetsErr = ask(ctx, o.api.Subnets, wants.Subnets,
		wants.Subnets.empty(), keep(wants.Subnets, last.Wants.Subnets, last.Subnets))
	next.SecurityGroups, next.SecurityGroupsErr = ask(ctx, o.api.SecurityGroups, wants.SecurityGroups,
		wants.SecurityGroups.empty(), keep(wants.SecurityGroups, last.Wants.SecurityGroups, last.SecurityGroups))
	cluster, err := o.api.Cluster(ctx)
	if err != nil {
		cluster = last.ClusterARN
	}
	next.ClusterARN, next.ClusterErr = cluster, err
	return next
}

// empty says whether the selector selects nothing.
func (s Selector) empty() bool { return len(s.IDs) == 0 && len(s.Tags) == 0 }

// keep returns the last answer if it was to the same question.
func keep[W, A any](want, wanted W, last A) A {
	if reflect.DeepEqual(want, wanted) {
		return last
	}
	var none A
	return none
}

// ask asks for one part, if anything of it is wanted. When the call fails the
// last answer stays, unless AWS says that there is no such thing.
func ask[W, A any](ctx context.Context, call func(context.Context, W) (A, error), want W, nothing bool, last A) (A, error) {
	var none A
	if nothing {
		return none, nil
	}
	answer, err := call(ctx, want)
	switch KindOf(err) {
	case KindNotFound, KindInvalid:
		return none, err
	}
	if err != nil {
		return last, err
	}
	return answer, nil
}

// sameCatalog compares errors by their kind, since each failure has a text of its
// own; free addresses are left out, since every launch changes them.
func sameCatalog(a, b Catalog) bool {
	strip := func(c Catalog) (Catalog, [5]string) {
		texts := [5]string{}
		for i, err := range []*error{&c.InstanceTypesErr, &c.SubnetsErr, &c.SecurityGroupsErr, &c.ImagesErr, &c.ClusterErr} {
			if *err != nil {
				texts[i] = string(KindOf(*err)) + " error"
				*err = nil
			}
		}
		c.Subnets = slices.Clone(c.Subnets)
		for i := range c.Subnets {
			c.Subnets[i].FreeAddresses = 0
		}
		return c, texts
	}
	catalogA, errorsA := strip(a)
	catalogB, errorsB := strip(b)
	return errorsA == errorsB && reflect.DeepEqual(catalogA, catalogB)
}
