// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// retryPause is how long after an error the next pass is.
const retryPause = 500 * time.Millisecond

// Assigner gives waiting sessions their slots: it keeps the fleet's free slots in
// memory, decides in fair order, and writes each decision by the claim protocol
// (reserve on the Instance, then commit on the Mandelbox). Sessions that wait for
// the same host share its reservation.
type Assigner struct {
	Client client.Client
	// Live reads past the cache.
	Live  client.Reader
	Cache cache.Cache
	Clock clock.PassiveClock
	// PerUser is how many Mandelboxes one user may hold in a namespace; 0 is no limit.
	PerUser int32
	// Verdicts wakes the reconciler of a session whose verdict changed.
	Verdicts *trigger.Trigger
	// Demands wakes the controller of a region whose demand changed.
	Demands *trigger.Trigger
	// Counts are told of reservations that lost; nil for none.
	Counts *metrics.Counts

	// written is shared with the Reconciler.
	written written

	fleet *placement.Fleet
	wake  chan struct{}
	// begun is when this Assigner began to assign.
	begun time.Time
	// writers are at work; turns bounds how many write at once.
	writers sync.WaitGroup
	turns   chan struct{}

	mu       sync.Mutex
	queue    *placement.Queue
	waiting  map[types.UID]*v1alpha1.Mandelbox
	keys     map[types.NamespacedName]types.UID
	verdicts map[types.UID]placement.Verdict
	// granted holds the attempt of each session that was given a slot here and
	// whose cached object may not show it yet.
	granted map[types.UID]int32
	// avoid holds the host on which each session's last attempt failed, for as long
	// as it is not to be given again.
	avoid map[types.UID]string
	// hosts are the newest versions known of the Instances, from the cache or
	// from our own writes, whichever came later.
	hosts   map[string]*v1alpha1.Instance
	demand  map[string]map[placement.Key]int32
	catalog placement.Catalog
	// released are AMIs that the catalog must not be behind.
	released released
	// standing are the claims that there are.
	standing standing
	// promises are the slots given here that the cache's Instances may not show yet.
	promises promises
	// writing has the hosts that a reservation is being written on, each with the
	// claims that have gathered for the next.
	writing map[string][]pendingClaim
}

// NewAssigner returns an Assigner without its exported fields.
func NewAssigner() *Assigner {
	return &Assigner{
		fleet:    placement.NewFleet(),
		wake:     make(chan struct{}, 1),
		turns:    make(chan struct{}, parallelWrites),
		writing:  map[string][]pendingClaim{},
		promises: promises{},
		released: released{},
		standing: standing{},
		queue:    placement.NewQueue(),
		waiting:  map[types.UID]*v1alpha1.Mandelbox{},
		keys:     map[types.NamespacedName]types.UID{},
		verdicts: map[types.UID]placement.Verdict{},
		granted:  map[types.UID]int32{},
		avoid:    map[types.UID]string{},
		hosts:    map[string]*v1alpha1.Instance{},
		demand:   map[string]map[placement.Key]int32{},
	}
}

// NeedLeaderElection says that only the leader assigns.
func (a *Assigner) NeedLeaderElection() bool { return true }

// Start assigns until the context ends, and returns when nothing is being written
// any more.
func (a *Assigner) Start(ctx context.Context) error {
	defer a.writers.Wait()
	a.begun = a.Clock.Now()
	if err := a.watch(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		}
		if err := a.pass(ctx); err != nil {
			a.tryAgain(ctx, err)
		}
	}
}

// Wake asks for a pass over the queue.
func (a *Assigner) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Offer puts a session that waits for a slot into the queue, or replaces the
// version of it that waits there.
func (a *Assigner) Offer(m *v1alpha1.Mandelbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if attempt, ok := a.granted[m.UID]; ok && m.Status.Attempt < attempt {
		return // An old version from the cache; the slot is given.
	}
	delete(a.granted, m.UID)
	key := client.ObjectKeyFromObject(m)
	if before, ok := a.keys[key]; ok && before != m.UID {
		a.drop(before) // Deleted, and made again under the same name.
	}
	_, known := a.waiting[m.UID]
	a.waiting[m.UID] = m
	a.keys[key] = m.UID
	a.queue.Push(a.requestOf(m))
	if !known {
		a.Wake()
	}
}

// Avoid has a session not be given a slot of that host for a while, because its
// attempt there failed.
func (a *Assigner) Avoid(uid types.UID, host string, during time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.avoid[uid] = host
	time.AfterFunc(during, func() { a.forgive(uid, host) })
}

// forgive ends what Avoid began.
func (a *Assigner) forgive(uid types.UID, host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.avoid[uid] != host {
		return
	}
	delete(a.avoid, uid)
	if m, waits := a.waiting[uid]; waits {
		a.queue.Push(a.requestOf(m))
		a.Wake()
	}
}

// Withdraw takes a session out of the queue: it has a slot, is over, or is gone.
func (a *Assigner) Withdraw(key types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	uid, ok := a.keys[key]
	if !ok {
		return
	}
	delete(a.keys, key)
	a.drop(uid)
}

// drop forgets a session; the lock is held.
func (a *Assigner) drop(uid types.UID) {
	delete(a.granted, uid)
	delete(a.verdicts, uid)
	delete(a.avoid, uid)
	if _, waits := a.waiting[uid]; waits {
		delete(a.waiting, uid)
		a.queue.Remove(string(uid))
		a.Wake() // The demand has changed.
	}
}

// Verdict returns what the last pass said of a session that waits.
func (a *Assigner) Verdict(uid types.UID) (placement.Verdict, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.verdicts[uid]
	return v, ok
}

// Demand returns what waits for slots in a region, and what has been promised of its
// hosts, both of one moment.
func (a *Assigner) Demand(region string) placement.Demand {
	a.mu.Lock()
	defer a.mu.Unlock()
	return placement.Demand{
		Pending: maps.Clone(a.demand[region]),
		Promised: a.promises.of(func(host string) bool {
			i := a.hosts[host]
			return i != nil && i.Spec.RegionName == region
		}),
	}
}

// Pending returns how many sessions wait in a region, by what they wait for. Each
// counts once, in the first region that could take it.
func (a *Assigner) Pending(region string) map[placement.Key]int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.demand[region])
}

func (a *Assigner) requestOf(m *v1alpha1.Mandelbox) placement.Request {
	request := placement.RequestOf(m)
	request.Avoid = a.avoid[m.UID]
	return request
}

// pass decides for every session that waits, in fair order, and has what it decided
// written.
func (a *Assigner) pass(ctx context.Context) error {
	reservations, changed, err := a.decide(ctx)
	a.Verdicts.Fire(changed...)
	for _, r := range reservations {
		a.dispatch(ctx, r)
	}
	return err
}

// decide makes one reservation for each host that gets sessions, and returns the
// keys of the sessions whose verdict changed. It may return both and an error: a
// session that could not be decided for stays in the queue.
func (a *Assigner) decide(ctx context.Context) ([]*reservation, []types.NamespacedName, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.catalog == nil {
		catalog, err := a.readCatalog(ctx)
		if err != nil {
			return nil, nil, err
		}
		a.catalog = catalog
	}
	byHost := map[string]*reservation{}
	var order []*reservation
	var changed []types.NamespacedName
	var undecided error
	for _, request := range a.queue.Ordered(a.queue.Len()) {
		uid := types.UID(request.UID)
		m := a.waiting[uid]
		if c, ok := a.standing.of(uid, request.Attempt); ok {
			if c.written { // Otherwise it is being written.
				again := &reservation{instance: a.hosts[c.host], standing: true}
				again.add(m, c.Slot, c.Attempt)
				order = append(order, again)
				a.take(request)
			}
			continue
		}
		verdict := placement.Decide(request, a.catalog, a.fleet)
		if verdict.Assigned {
			full, err := a.atLimit(ctx, m)
			if err != nil {
				undecided = err
				continue
			}
			if full != "" {
				verdict = placement.Verdict{Terminal: true, Reason: v1alpha1.ReasonUserAlreadyActive, Message: full}
			}
		}
		if !verdict.Assigned {
			if a.verdicts[uid] != verdict {
				a.verdicts[uid] = verdict
				changed = append(changed, client.ObjectKeyFromObject(m))
			}
			continue
		}
		if !a.fleet.Assume(verdict.Host, verdict.Slot, request.UID) {
			a.Wake()
			continue
		}
		a.take(request)
		r := byHost[verdict.Host]
		if r == nil {
			r = &reservation{instance: a.hosts[verdict.Host]}
			byHost[verdict.Host] = r
			order = append(order, r)
		}
		c := r.add(m, verdict.Slot, request.Attempt)
		a.standing.begin(verdict.Host, c)
		a.promises.add(verdict.Host, c)
	}
	a.updateDemand()
	return order, changed, undecided
}

// take has a session wait no more, since it gets a slot.
func (a *Assigner) take(request placement.Request) {
	uid := types.UID(request.UID)
	a.queue.Remove(request.UID)
	a.queue.Served(request.Namespace)
	delete(a.waiting, uid)
	delete(a.verdicts, uid)
	a.granted[uid] = request.Attempt
}

// updateDemand recounts what is waited for, and wakes the regions where it changed.
func (a *Assigner) updateDemand() {
	demand := map[string]map[placement.Key]int32{}
	for uid := range a.waiting {
		key := a.verdicts[uid].WaitsFor
		if key.Region == "" {
			continue
		}
		if demand[key.Region] == nil {
			demand[key.Region] = map[placement.Key]int32{}
		}
		demand[key.Region][key]++
	}
	for region := range union(a.demand, demand) {
		if !equalCounts(a.demand[region], demand[region]) {
			a.Demands.FireName(region)
		}
	}
	a.demand = demand
}

// back puts sessions into the queue again after a write that definitely did not
// happen; the reconciler will offer a newer version where there is one.
func (a *Assigner) back(claims ...pendingClaim) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range claims {
		if a.granted[c.mandelbox.UID] != c.Attempt {
			continue // Withdrawn in the meantime.
		}
		delete(a.granted, c.mandelbox.UID)
		if _, ok := a.waiting[c.mandelbox.UID]; !ok {
			a.waiting[c.mandelbox.UID] = c.mandelbox
			a.queue.Push(a.requestOf(c.mandelbox))
		}
		a.Verdicts.Fire(client.ObjectKeyFromObject(c.mandelbox))
	}
	// Not at once: what made the write fail may be news that is still on its way.
	time.AfterFunc(conflictPause, a.Wake)
}

// atLimit says, if the user holds as many Mandelboxes as they may, that they do.
func (a *Assigner) atLimit(ctx context.Context, m *v1alpha1.Mandelbox) (string, error) {
	limit, err := userLimit(ctx, a.Client, m.Namespace, a.PerUser)
	if err != nil || limit == 0 {
		return "", err
	}
	others, err := index.UnfinishedOf(ctx, a.Client, m.Namespace, m.Spec.UserID)
	if err != nil {
		return "", err
	}
	holds := int32(0)
	for _, o := range others {
		_, granted := a.granted[o.UID]
		// One that is being placed anew keeps its place among its user's.
		if o.UID != m.UID && o.DeletionTimestamp.IsZero() && (granted || o.Status.Attempt > 0) {
			holds++
		}
	}
	if holds < limit {
		return "", nil
	}
	return fmt.Sprintf("user %q holds %d Mandelboxes in namespace %s, and may hold %d", m.Spec.UserID, holds, m.Namespace, limit), nil
}
