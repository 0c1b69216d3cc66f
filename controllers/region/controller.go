// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package region keeps each AWS region ready: it finds the network, makes the
// ECS cluster, launches hosts until every channel has its warm room, and lets
// those go that are too many. It makes and deletes Instances; what happens to
// the host behind one is the Instance controller's.
package region

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
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// retryStale is how long the cache is given to catch up with a write.
const retryStale = 500 * time.Millisecond

// Demand says how many Mandelboxes wait for room.
type Demand interface {
	// Demand returns what the Mandelboxes of a region wait for, and what they have
	// been given that its Instances don't show yet.
	Demand(region string) placement.Demand
}

// Orphans says what is left of hosts that belong to no Instance.
type Orphans interface {
	// Refusal says why such hosts of a region wait for a person; "" if none do.
	Refusal(region string) string
}

// Reconciler keeps Regions ready. All fields but the marked ones are required.
type Reconciler struct {
	// Client reads from the manager's cache, which has the indexes of internal/index.
	client.Client
	// Live reads from the API server itself.
	Live client.Reader
	// Regions keeps the open regions.
	Regions *cloud.Regions
	// ClusterID is the value of the tag that says whose a resource is.
	ClusterID string
	// Events records what people should know of.
	Events events.EventRecorder
	// Clock is the real one outside of tests.
	Clock clock.PassiveClock
	// Demand says how many Mandelboxes wait.
	Demand Demand
	// Orphans says which hosts that belong to nobody wait for a person. May be nil.
	Orphans Orphans
	// Changes asks for a reconcile of a Region by name when its demand or its orphans change.
	// May be nil.
	Changes source.Source

	settled settledDecisions
}

// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=regions,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=regions/status,verbs=patch
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=instances,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=amis,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one Region closer to its spec, and its status to the truth.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	region := &v1alpha1.Region{}
	if err := r.Get(ctx, req.NamespacedName, region); err != nil {
		if apierrors.IsNotFound(err) {
			r.Regions.Remove(req.Name)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading Region %s: %w", req.Name, err)
	}
	s, err := r.newScope(ctx, region)
	if err != nil {
		return ctrl.Result{}, err
	}
	steps := []step{
		r.holdWithFinalizer,
		r.openRegion,
		r.findNetwork,
		r.ensureCluster,
		r.readSchedules,
		r.recordLaunches,
		r.carryOutDecision,
		r.scaleUp,
		r.scaleDown,
		r.judgeOrphans,
	}
	switch {
	case !region.DeletionTimestamp.IsZero():
		steps = []step{r.openRegion, r.leave}
	case region.Suspended():
		steps = []step{r.holdWithFinalizer, r.openRegion, r.findNetwork, r.findCluster, r.readSchedules, r.recordLaunches, r.judgeOrphans}
	}
	return r.finish(ctx, s, run(ctx, s, steps))
}

// step does one thing for the Region. A step whose ground an earlier one could
// not lay does nothing.
type step func(context.Context, *scope) error

// run takes every step and returns what went wrong. Only a failed write to the
// Region itself ends the run, since the steps after it would go by a stale object.
func run(ctx context.Context, s *scope, steps []step) []error {
	var errs []error
	for _, step := range steps {
		if err := step(ctx, s); err != nil {
			errs = append(errs, err)
		}
		if s.stale {
			break
		}
	}
	return errs
}

// finish writes the status, records what changed, and says when to look again.
func (r *Reconciler) finish(ctx context.Context, s *scope, errs []error) (ctrl.Result, error) {
	if s.gone {
		return ctrl.Result{}, nil
	}
	verdict := trouble.JudgeAll(errs...)
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
