// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// parallelChannels is how many AMIs are reconciled at a time.
	parallelChannels = 8
	// reconcileTimeout bounds one reconcile, which may wait for ECS in each region.
	reconcileTimeout = 2 * time.Minute
	// gatherHosts is how long changes of hosts are gathered before their channel
	// counts them: a burst of sessions changes many hosts at once.
	gatherHosts = 200 * time.Millisecond
	// lookAfterWrite is how long after a write, which may be another manager's, the
	// status is looked at again.
	lookAfterWrite = 2 * time.Second
	// gatherClaims is the same for what only takes or frees slots, which under load
	// every host does several times a second.
	gatherClaims = 2 * time.Second
)

// queue is the controller's queue.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager registers the controller. The manager's cache must have the
// indexes of internal/index.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	observed := &trigger.Trigger{}
	r.Regions.Subscribe(func(region string, change cloud.Change) {
		if change.Kind != cloud.CatalogChanged && change.Kind != cloud.SyncedChanged {
			return
		}
		for _, name := range r.interest.in(region) {
			observed.FireName(name)
		}
	})
	inRegion := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return requests(r.interest.in(o.GetName()))
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("ami").
		For(&v1alpha1.AMI{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.AMI{}, trigger.Later(lookAfterWrite)).
		Watches(&v1alpha1.AMI{}, handler.EnqueueRequestsFromMapFunc(r.younger),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Instance{}, gathered(), builder.WithPredicates(hostCounts())).
		Watches(&v1alpha1.Region{}, inRegion, builder.WithPredicates(regionChanged())).
		WatchesRawSource(observed).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: parallelChannels,
			ReconciliationTimeout:   reconcileTimeout,
		}).
		Complete(r)
}

func requests(names []string) []reconcile.Request {
	list := make([]reconcile.Request, 0, len(names))
	for _, name := range names {
		list = append(list, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
	return list
}

// younger are the AMIs that may have waited for the commit hash of another, which
// changed or went: those that share a region with it.
func (r *Reconciler) younger(_ context.Context, o client.Object) []reconcile.Request {
	names := map[string]bool{}
	for _, region := range regionNames(o.(*v1alpha1.AMI)) {
		for _, name := range r.interest.in(region) {
			names[name] = name != o.GetName()
		}
	}
	var others []string
	for name, other := range names {
		if other {
			others = append(others, name)
		}
	}
	return requests(others)
}

// gathered asks for a reconcile of a host's channel after a short while, so that
// many changes at once are one reconcile.
func gathered() handler.EventHandler {
	add := func(o client.Object, q queue, during time.Duration) {
		name := o.(*v1alpha1.Instance).Spec.AMIName
		q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}, during)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(e.Object, q, gatherHosts) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			old, now := roomOf(e.ObjectOld), roomOf(e.ObjectNew)
			if now.claims = old.claims; old == now {
				add(e.ObjectNew, q, gatherClaims)
				return
			}
			add(e.ObjectNew, q, gatherHosts)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(e.Object, q, gatherHosts) },
	}
}

// hostRoom is a host's phase and its free slots.
type hostRoom struct {
	phase         v1alpha1.InstancePhase
	slots, claims int32
	leaving       bool
}

func roomOf(o client.Object) hostRoom {
	host := o.(*v1alpha1.Instance)
	return hostRoom{
		phase: host.Status.Phase, slots: host.Slots(),
		claims: int32(len(host.Status.Claims)), leaving: host.Leaving(),
	}
}

// hostCounts lets through what changes a host's phase or its free slots.
func hostCounts() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool { return roomOf(e.ObjectOld) != roomOf(e.ObjectNew) },
	}
}

// regionChanged lets through a Region's new spec, its first reconcile, which
// opened it, and what became of hosts there.
func regionChanged() predicate.Predicate {
	observed := func(region *v1alpha1.Region) bool {
		return region.Status.ObservedGeneration != nil && *region.Status.ObservedGeneration >= 0
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, now := e.ObjectOld.(*v1alpha1.Region), e.ObjectNew.(*v1alpha1.Region)
		return old.Generation != now.Generation || observed(old) != observed(now) ||
			!equality.Semantic.DeepEqual(old.Status.Launches, now.Status.Launches)
	}}
}

// interest remembers which AMIs care for which regions, so that a change in one
// wakes them without a look into the cache, which may not be there yet.
type interest struct {
	mu      sync.RWMutex
	regions map[string][]string
}

func (i *interest) set(ami *v1alpha1.AMI) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.regions == nil {
		i.regions = map[string][]string{}
	}
	i.regions[ami.Name] = regionNames(ami)
}

func (i *interest) forget(ami string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.regions, ami)
}

// in returns the AMIs that care for a region, in no order.
func (i *interest) in(region string) []string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	var names []string
	for name, regions := range i.regions {
		if slices.Contains(regions, region) {
			names = append(names, name)
		}
	}
	return names
}
