// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ami rolls out release channels: it keeps each release as a revision in
// the AMI's status, registers its task definitions, waits for its warm buffer in
// every region and then swaps it in by one write. The Region controller launches
// the hosts that a revision wants, and lets those of a replaced one go.
package ami

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// retryStale is how long the cache is given to catch up with a write.
const retryStale = 500 * time.Millisecond

// Demand says how many Mandelboxes wait for room.
type Demand interface {
	// Pending returns the number of Mandelboxes that wait for each release of a region.
	Pending(region string) map[placement.Key]int32
}

// Reconciler rolls out AMIs. All fields but the marked one are required.
type Reconciler struct {
	// Client reads from the manager's cache, which has the indexes of internal/index.
	client.Client
	// Live reads from the API server itself.
	Live client.Reader
	// Regions keeps the open regions; the Region controller opens them.
	Regions *cloud.Regions
	// ClusterID is the value of the tag that says whose a resource is.
	ClusterID string
	// Events records what people should know of.
	Events events.EventRecorder
	// Clock is the real one outside of tests.
	Clock clock.PassiveClock
	// Demand says how many Mandelboxes wait. May be nil: then none do.
	Demand Demand
	// Released is told of each AMI whose releases changed, as it was written. May be nil.
	Released func(*v1alpha1.AMI)

	interest interest
}

// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=amis,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=amis/status,verbs=patch
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=instances;regions,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one AMI closer to its spec, and its status to the truth.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ami := &v1alpha1.AMI{}
	if err := r.Get(ctx, req.NamespacedName, ami); err != nil {
		if apierrors.IsNotFound(err) {
			r.interest.forget(req.Name)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading AMI %s: %w", req.Name, err)
	}
	r.interest.set(ami)
	s, err := r.newScope(ctx, ami)
	if err != nil {
		return ctrl.Result{}, err
	}
	if v1alpha1.ReconcileAt(ami) != ami.Status.LastHandledReconcileAt {
		s.lookAnew()
	}
	steps := []step{
		r.holdWithFinalizer,
		r.ownCommitHash,
		r.planRevisions,
		r.findImages,
		r.registerTasks,
		r.activate,
	}
	if !ami.DeletionTimestamp.IsZero() {
		steps = []step{r.leave}
	}
	return r.finish(ctx, s, run(ctx, s, steps))
}

// step does one thing for the AMI. Where it fails, the steps after it are not
// taken: each stands on the one before.
type step func(context.Context, *scope) error

func run(ctx context.Context, s *scope, steps []step) error {
	for _, step := range steps {
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the status, records what changed, and says when to look again.
func (r *Reconciler) finish(ctx context.Context, s *scope, err error) (ctrl.Result, error) {
	if s.gone {
		return ctrl.Result{}, nil
	}
	verdict := trouble.Judge(err)
	if !s.stale {
		if err := r.writeStatus(ctx, s, verdict); err != nil {
			verdict.Err = errors.Join(verdict.Err, err)
		}
	}
	if apierrors.IsConflict(verdict.Err) {
		// A write met a newer object than the cache had. Nothing says when the cache
		// has that one, since changes of the status alone wake nobody.
		ctrl.LoggerFrom(ctx).V(1).Info("Reconciling again after a conflict", "error", verdict.Err.Error())
		return ctrl.Result{RequeueAfter: retryStale}, nil
	}
	if verdict.Err != nil {
		return ctrl.Result{}, verdict.Err
	}
	return ctrl.Result{RequeueAfter: earliest(verdict.RetryAfter, s.lookAgain)}, nil
}

// earliest returns the lesser of two durations that are set; 0 if neither is.
func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
