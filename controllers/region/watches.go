// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"maps"
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
	// parallelRegions is how many Regions are reconciled at a time.
	parallelRegions = 8
	// reconcileTimeout bounds one reconcile, which may make thousands of Instances.
	reconcileTimeout = 2 * time.Minute
	// gatherHosts is how long changes of hosts are gathered before their Region
	// counts them: a burst of sessions changes many hosts at once.
	gatherHosts = 200 * time.Millisecond
	// lookAfterWrite is how long after a write, which may be another manager's, the
	// status is looked at again.
	lookAfterWrite = 2 * time.Second
	// gatherClaims is the same for what only takes or frees slots, which under load is
	// every host several times a second. Hosts take a minute to boot, so that they can
	// be asked for two seconds later.
	gatherClaims = 2 * time.Second
)

// SetupWithManager registers the controller. The manager's cache must have the
// indexes of internal/index.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	observed := &trigger.Trigger{}
	r.Regions.Subscribe(func(region string, change cloud.Change) {
		if change.Kind == cloud.CatalogChanged || change.Kind == cloud.SyncedChanged {
			observed.FireName(region)
		}
	})
	b := ctrl.NewControllerManagedBy(mgr).
		Named("region").
		For(&v1alpha1.Region{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.Region{}, trigger.Later(lookAfterWrite)).
		Watches(&v1alpha1.Instance{}, gathered(regionOfHost), builder.WithPredicates(hostCounts())).
		Watches(&v1alpha1.AMI{}, handler.EnqueueRequestsFromMapFunc(regionsOfChannel),
			builder.WithPredicates(releasesChanged())).
		WatchesRawSource(observed).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: parallelRegions,
			ReconciliationTimeout:   reconcileTimeout,
		})
	if r.Changes != nil {
		b = b.WatchesRawSource(r.Changes)
	}
	return b.Complete(r)
}

func regionOfHost(o client.Object) string { return o.(*v1alpha1.Instance).Spec.RegionName }

// gathered asks for a reconcile of the named object after a short while, so that
// many changes at once are one reconcile.
func gathered(name func(client.Object) string) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(o client.Object, q queue, during time.Duration) {
		q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: name(o)}}, during)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(e.Object, q, gatherHosts) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if failsNow(e.ObjectOld.(*v1alpha1.Instance), e.ObjectNew.(*v1alpha1.Instance)) {
				add(e.ObjectNew, q, 0)
				return
			}
			old, now := censusOf(e.ObjectOld), censusOf(e.ObjectNew)
			if now.claims = old.claims; old == now {
				add(e.ObjectNew, q, gatherClaims)
				return
			}
			add(e.ObjectNew, q, gatherHosts)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(e.Object, q, gatherHosts) },
	}
}

// failsNow says whether a host begins to leave that never became Active. The Region
// remembers such, and must count it before it is gone.
func failsNow(old, now *v1alpha1.Instance) bool {
	return old.DeletionTimestamp.IsZero() && !now.DeletionTimestamp.IsZero() && now.Status.ActiveTime == nil
}

// hostCensus is what the census goes by: where a host is in its life, how much room
// it has, and how much of that is taken.
type hostCensus struct {
	phase                               v1alpha1.InstancePhase
	slots, planned, claims              int32
	draining, leaving, deleted, planSet bool
}

func censusOf(o client.Object) hostCensus {
	host := o.(*v1alpha1.Instance)
	c := hostCensus{
		phase: host.Status.Phase, slots: host.Slots(), claims: int32(len(host.Status.Claims)),
		draining: host.Draining(), leaving: host.Leaving(), deleted: !host.DeletionTimestamp.IsZero(),
	}
	if host.Status.PlannedCapacity != nil {
		c.planned, c.planSet = *host.Status.PlannedCapacity, true
	}
	return c
}

// hostCounts lets through what changes the census.
func hostCounts() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool { return censusOf(e.ObjectOld) != censusOf(e.ObjectNew) },
	}
}

// regionsOfChannel are the Regions that a channel is, was or will be offered in.
func regionsOfChannel(_ context.Context, o client.Object) []reconcile.Request {
	ami := o.(*v1alpha1.AMI)
	names := map[string]bool{}
	for _, image := range ami.Spec.Images {
		names[image.Region] = true
	}
	for _, revision := range ami.Status.Revisions {
		for _, row := range revision.Regions {
			names[row.Region] = true
		}
	}
	requests := make([]reconcile.Request, 0, len(names))
	for name := range names {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
	return requests
}

// releasesChanged lets through what changes which hosts a channel wants.
func releasesChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, now := e.ObjectOld.(*v1alpha1.AMI), e.ObjectNew.(*v1alpha1.AMI)
		return old.Generation != now.Generation ||
			old.DeletionTimestamp.IsZero() != now.DeletionTimestamp.IsZero() ||
			old.Status.ActiveRevision != now.Status.ActiveRevision ||
			!equality.Semantic.DeepEqual(old.Status.Revisions, now.Status.Revisions) ||
			!maps.Equal(old.Swapped(), now.Swapped())
	}}
}
