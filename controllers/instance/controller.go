// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package instance is the controller of hosts: each is launched under a durable
// intent, taken into service once its ECS agent registered, released of the claims
// whose sessions are over, and led out of EC2 when it is to leave.
package instance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
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
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=instances,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=instances/status;mandelboxes/status,verbs=patch
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=mandelboxes;amis;regions,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler leads one host at a time through its life.
type Reconciler struct {
	client.Client
	// Live reads past the cache.
	Live client.Reader
	// Regions are the open regions of the cloud.
	Regions *cloud.Regions
	// Launcher launches hosts, many in one call.
	Launcher *Launcher
	// ClusterID names this control cluster on everything made in AWS.
	ClusterID string
	// Events tells of what happens to hosts.
	Events events.EventRecorder
	// Clock is the wall clock.
	Clock clock.PassiveClock
	// Wake is fired for hosts that changed in the cloud, or whose launch was answered.
	Wake *trigger.Trigger

	mu sync.Mutex
	// reserved says since when a claim has been seen without its commit.
	reserved map[reservation]time.Time
}

// SetupWithManager starts the controller and the Launcher with the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.Launcher.Live = r.Live
	if err := mgr.Add(r.Launcher); err != nil {
		return fmt.Errorf("adding the launcher: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("instance").
		For(&v1alpha1.Instance{}).
		Watches(&v1alpha1.Mandelbox{}, handler.EnqueueRequestsFromMapFunc(hostOf), builder.WithPredicates(sessionMatters())).
		Watches(&v1alpha1.Region{}, handler.EnqueueRequestsFromMapFunc(r.hostsIn), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.Wake).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8, ReconciliationTimeout: time.Minute}).
		Complete(reconcile.AsReconciler(r.Client, r))
}

// sessionMatters lets through what may free a slot: a session that is over, gone,
// or was given another slot.
func sessionMatters() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*v1alpha1.Mandelbox), e.ObjectNew.(*v1alpha1.Mandelbox)
			return before.Finished() != after.Finished() || before.Status.InstanceName != after.Status.InstanceName && before.Committed()
		},
	}
}

// hostOf maps a session to its host. An update maps both of its versions, so that
// the host that a session left is found too.
func hostOf(_ context.Context, o client.Object) []reconcile.Request {
	name := o.(*v1alpha1.Mandelbox).Status.InstanceName
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

// hostsIn maps a Region to its hosts.
func (r *Reconciler) hostsIn(ctx context.Context, o client.Object) []reconcile.Request {
	return r.find(ctx, index.InstanceByRegion, o.GetName())
}

func (r *Reconciler) find(ctx context.Context, field, value string) []reconcile.Request {
	var list v1alpha1.InstanceList
	if err := r.List(ctx, &list, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Looking up Instances", "field", field, "value", value)
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// Observed wakes the hosts that a change in the cloud concerns.
func (r *Reconciler) Observed(ctx context.Context, region string, change cloud.Change) {
	var requests []reconcile.Request
	switch change.Kind {
	case cloud.HostChanged:
		if change.Token != "" {
			requests = r.find(ctx, index.InstanceByLaunch, v1alpha1.LaunchKey(change.Token, change.Index))
		} else if change.InstanceID != "" {
			requests = r.find(ctx, index.InstanceByHost, change.InstanceID)
		}
	case cloud.TaskChanged:
		if warming(change.StartedBy) {
			requests = r.find(ctx, index.InstanceByHost, change.InstanceID)
		}
	case cloud.CatalogChanged, cloud.SyncedChanged:
		requests = r.find(ctx, index.InstanceByRegion, region)
	}
	for _, request := range requests {
		r.Wake.Fire(request.NamespacedName)
	}
}

// Reconcile leads a host one step further.
func (r *Reconciler) Reconcile(ctx context.Context, i *v1alpha1.Instance) (ctrl.Result, error) {
	s := &scope{before: i, instance: i.DeepCopy(), now: r.Clock.Now()}
	err := r.advance(ctx, s)
	if !s.gone {
		setStatus(s, err)
		err = errors.Join(settled(err), r.save(ctx, s))
	}
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictPause}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: s.requeueAfter}, nil
}

// advance is what a host's life looks like.
func (r *Reconciler) advance(ctx context.Context, s *scope) error {
	steps := []func(context.Context, *scope) error{
		r.findRegion,
		r.hold,
		r.observe,
		r.adopt,
		r.sole,
		r.releaseClaims,
		r.launch,
		r.warmUp,
		r.giveUp,
		r.endSessions,
		r.leave,
	}
	for _, step := range steps {
		if err := step(ctx, s); err != nil || s.gone {
			return err
		}
	}
	return nil
}

// save writes the status if it changed, and then orders the launch, whose intent
// goes on top of it. Claims are never part of this write, but for those of an adopted
// host: they are written where they are released, and by the Mandelbox controller. The EC2 instance is written
// on no other version than the one with the intent that launched it: beside a later
// intent it would look like a host that was lost.
func (r *Reconciler) save(ctx context.Context, s *scope) error {
	if s.order != nil && s.before.Status.Launch == nil && s.refusal == nil {
		// A new host: its first status goes with the intent, in one write.
		s.order.instance, s.order.before = s.instance, s.before
		if r.Launcher.Ask(*s.order) {
			r.tell(s)
		}
		return nil
	}
	found := s.before.Status.InstanceID != s.instance.Status.InstanceID
	if err := status.Patch(ctx, r.Client, s.before, s.instance, found || len(s.rebuilt) > 0); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.tell(s)
	if s.order != nil {
		s.order.instance = s.instance
		r.Launcher.Ask(*s.order)
	}
	return nil
}

// settled drops the errors that were written into the status: the host is tried
// again by a requeue, not as a failure.
func settled(err error) error {
	switch cloud.KindOf(err) {
	case cloud.KindThrottled, cloud.KindUnauthorized, cloud.KindInvalid, cloud.KindNoRoom, cloud.KindHostUnavailable:
		return nil
	}
	return err
}

var _ reconcile.ObjectReconciler[*v1alpha1.Instance] = (*Reconciler)(nil)
