// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mandelbox is the controller of sessions: each gets a slot of a host, a
// task in it, and its address; when the session ends the slot is free again.
//
// A slot is given by the Assigner, in claim.go by the claim protocol; the
// Reconciler does the rest for one session at a time.
package mandelbox

import (
	"context"
	"errors"
	"fmt"
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

// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=mandelboxes,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=mandelboxes/status,verbs=patch
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=instances;amis;regions,verbs=get;list;watch
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=instances/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

const (
	// conflictPause is how long to wait for the cache after a write met a newer version.
	conflictPause = 20 * time.Millisecond
	// avoidFor is how long a session isn't given the host on which its first attempt
	// failed; after the second it is twice that. Where no other host has room, the
	// pause may be what the host needs to recover.
	avoidFor = 5 * time.Second
)

// Reconciler brings one session at a time to its end.
type Reconciler struct {
	client.Client
	// Live reads past the cache.
	Live client.Reader
	// Regions are the open regions of the cloud.
	Regions *cloud.Regions
	// Assigner gives slots.
	Assigner *Assigner
	// Events tells of waiting and failures.
	Events events.EventRecorder
	// Clock is the wall clock.
	Clock clock.PassiveClock
	// Wake is fired for sessions whose verdict or task changed.
	Wake *trigger.Trigger

	started started
	// begun is when this manager was made.
	begun time.Time
}

// SetupWithManager starts the controller and the Assigner with the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.begun = r.Clock.Now()
	if err := mgr.Add(r.Assigner); err != nil {
		return fmt.Errorf("adding the assigner: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("mandelbox").
		For(&v1alpha1.Mandelbox{}).
		Watches(&v1alpha1.Instance{}, handler.EnqueueRequestsFromMapFunc(r.sessionsOf), builder.WithPredicates(hostMatters())).
		WatchesRawSource(r.Wake).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16, ReconciliationTimeout: time.Minute}).
		Complete(r)
}

// hostMatters lets through what changes for the sessions of a host.
func hostMatters() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*v1alpha1.Instance), e.ObjectNew.(*v1alpha1.Instance)
			return before.Status.Phase != after.Status.Phase || before.IP() != after.IP()
		},
	}
}

// sessionsOf maps a host to the sessions on it.
func (r *Reconciler) sessionsOf(ctx context.Context, o client.Object) []reconcile.Request {
	var list v1alpha1.MandelboxList
	if err := r.List(ctx, &list, client.MatchingFields{index.MandelboxByInstance: o.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the sessions of an Instance", "instance", o.GetName())
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// Reconcile brings a session one step further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	m := &v1alpha1.Mandelbox{}
	if err := r.Get(ctx, req.NamespacedName, m); err != nil {
		if apierrors.IsNotFound(err) {
			// One that never had a slot may have no finalizer, and is gone at once. It
			// leaves the queue here, after whatever reconcile may have offered it last.
			r.Assigner.Withdraw(req.NamespacedName)
			r.Assigner.written.forget(req.NamespacedName)
			return ctrl.Result{}, r.stopLeft(ctx, req.NamespacedName, "")
		}
		return ctrl.Result{}, fmt.Errorf("reading the Mandelbox: %w", err)
	}
	if err := r.stopLeft(ctx, req.NamespacedName, m.UID); err != nil {
		return ctrl.Result{}, err
	}
	if r.Assigner.written.ahead(m) {
		return ctrl.Result{}, nil
	}
	s := &scope{before: m, mandelbox: m.DeepCopy(), now: r.Clock.Now()}
	err := r.advance(ctx, s)
	if !s.gone {
		setStatus(s, err)
		err = errors.Join(settled(err), r.save(ctx, s))
	}
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictPause}, nil
	case err != nil:
		return ctrl.Result{}, err
	case s.anew != nil:
		r.Assigner.Avoid(m.UID, m.Status.InstanceName, time.Duration(m.Status.Attempt)*avoidFor)
	}
	return ctrl.Result{RequeueAfter: s.requeueAfter}, nil
}

// advance is what a session's life looks like.
func (r *Reconciler) advance(ctx context.Context, s *scope) error {
	m := s.mandelbox
	if !m.DeletionTimestamp.IsZero() || m.Finished() || m.Committed() {
		r.Assigner.Withdraw(client.ObjectKeyFromObject(m))
	}
	switch {
	case !m.DeletionTimestamp.IsZero():
		return r.remove(ctx, s)
	case m.Finished():
		return r.tidy(ctx, s)
	case !m.Committed():
		if restoring, err := r.restore(ctx, s); restoring || err != nil {
			return err
		}
		return errors.Join(r.stopOutdated(ctx, s, m.Status.Attempt), r.wait(s))
	}
	for _, step := range []func(context.Context, *scope) error{
		r.findHost,
		r.hold,
		r.findTask,
		r.stopEarlier,
		r.start,
		r.enforceLimits,
	} {
		if err := step(ctx, s); err != nil || s.outcome != nil || s.anew != nil || s.gone {
			return err
		}
	}
	return nil
}

// save writes the status if it changed, on no other version than the one that was
// read, since the Assigner writes it too; and tells of the change where it is one
// that somebody would want to hear of.
func (r *Reconciler) save(ctx context.Context, s *scope) error {
	if err := status.Patch(ctx, r.Client, s.before, s.mandelbox, true); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.Assigner.written.note(s.mandelbox)
	r.tell(s)
	return nil
}

// settled drops the errors that are part of the session's life and were written
// into its status: they are tried again by a requeue, not as a failure.
func settled(err error) error {
	switch cloud.KindOf(err) {
	case cloud.KindThrottled, cloud.KindUnauthorized, cloud.KindInvalid, cloud.KindNoRoom, cloud.KindHostUnavailable, cloud.KindConflict:
		return nil
	}
	return err
}

// scope carries the facts that the steps gather about one session.
type scope struct {
	before    *v1alpha1.Mandelbox
	mandelbox *v1alpha1.Mandelbox
	now       time.Time

	instance *v1alpha1.Instance
	region   *cloud.Region
	row      *v1alpha1.RevisionRegion
	task     *cloud.Task
	// tasksListed is when the listing began that the task was looked for in, or before.
	tasksListed time.Time

	// waiting is why the session has no slot; empty if it has, or not decided yet.
	waiting        string
	waitingMessage string
	// outcome is how the session ended, once it has.
	outcome *outcome
	// anew gives the slot back so that the session is placed elsewhere.
	anew *outcome
	// gone says that nothing is left to write to.
	gone         bool
	requeueAfter time.Duration
}

// outcome is how a session, or one attempt of it, ended.
type outcome struct {
	reason   string
	message  string
	exitCode *int32
}

// after asks for another look in d at the latest.
func (s *scope) after(d time.Duration) {
	d = max(d, time.Millisecond)
	if s.requeueAfter == 0 || d < s.requeueAfter {
		s.requeueAfter = d
	}
}

// keyOf is the namespaced name of an object.
func keyOf(o client.Object) types.NamespacedName { return client.ObjectKeyFromObject(o) }
