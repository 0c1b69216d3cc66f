// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Reporter shows the Fleet in a registry, and follows Changes, for as long as its
// manager leads.
type Reporter struct {
	// Registry takes the Fleet. There may be one leading manager to a registry.
	Registry prometheus.Registerer
	// Counts are of the same registry.
	Counts *Counts
	// Cache is the manager's.
	Cache cache.Cache
	// Clock is the wall clock.
	Clock clock.PassiveClock
	// DesiredFree is how many slots a channel keeps free in a Region.
	DesiredFree func(*v1alpha1.AMI, *v1alpha1.Region) int32
}

var (
	_ manager.Runnable               = (*Reporter)(nil)
	_ manager.LeaderElectionRunnable = (*Reporter)(nil)
)

// NeedLeaderElection says that only the leader reports: what every replica has in
// its cache would otherwise be counted once for each.
func (r *Reporter) NeedLeaderElection() bool { return true }

// Start reports until the context ends.
func (r *Reporter) Start(ctx context.Context) error {
	fleet := &Fleet{Reader: r.Cache, Clock: r.Clock, DesiredFree: r.DesiredFree}
	if err := r.Registry.Register(fleet); err != nil {
		// Whatever is wrong with metrics, sessions go on being served.
		logr.FromContextOrDiscard(ctx).WithName("metrics").Error(err, "The gauges of the fleet are not reported")
	} else {
		defer r.Registry.Unregister(fleet)
	}
	for of, handler := range r.handlers() {
		informer, err := r.Cache.GetInformer(ctx, of)
		if err != nil {
			return fmt.Errorf("following %T for metrics: %w", of, err)
		}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("following %T for metrics: %w", of, err)
		}
	}
	<-ctx.Done()
	return nil
}

// handlers tell Changes of the objects. Each is called by one goroutine.
func (r *Reporter) handlers() map[client.Object]toolscache.ResourceEventHandler {
	changes := NewChanges(r.Counts, r.Clock)
	return map[client.Object]toolscache.ResourceEventHandler{
		&v1alpha1.Mandelbox{}: toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc:    func(o any, old bool) { changes.SessionAdded(o.(*v1alpha1.Mandelbox), old) },
			UpdateFunc: func(o, n any) { changes.SessionChanged(o.(*v1alpha1.Mandelbox), n.(*v1alpha1.Mandelbox)) },
			DeleteFunc: func(o any) { last(o, changes.SessionDeleted) },
		},
		&v1alpha1.Instance{}: toolscache.ResourceEventHandlerFuncs{
			UpdateFunc: func(o, n any) { changes.HostChanged(o.(*v1alpha1.Instance), n.(*v1alpha1.Instance)) },
			DeleteFunc: func(o any) { last(o, changes.HostDeleted) },
		},
		&v1alpha1.Region{}: toolscache.ResourceEventHandlerFuncs{
			DeleteFunc: func(o any) { last(o, changes.RegionDeleted) },
		},
		&v1alpha1.AMI{}: toolscache.ResourceEventHandlerFuncs{
			UpdateFunc: func(o, n any) { changes.ChannelChanged(o.(*v1alpha1.AMI), n.(*v1alpha1.AMI)) },
		},
	}
}

// last calls f with the last version that is known of an object that is gone.
func last[T client.Object](o any, f func(T)) {
	if missed, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = missed.Obj
	}
	if object, ok := o.(T); ok {
		f(object)
	}
}
