// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/trace"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Follower tells of sessions and hosts for as long as its manager leads.
type Follower struct {
	// Provider makes the tracer.
	Provider trace.TracerProvider
	// Cache is the manager's.
	Cache cache.Cache
	// Clock is the wall clock.
	Clock clock.PassiveClock
}

var (
	_ manager.Runnable               = (*Follower)(nil)
	_ manager.LeaderElectionRunnable = (*Follower)(nil)
)

// NeedLeaderElection says that only the leader tells: every replica sees the same.
func (f *Follower) NeedLeaderElection() bool { return true }

// Start follows until the context ends.
func (f *Follower) Start(ctx context.Context) error {
	tracer := f.Provider.Tracer("github.com/mandelbox/mandelbox-operator")
	sessions, hosts := newSessions(tracer, f.Clock), newHosts(tracer, f.Clock)
	for of, handler := range map[client.Object]toolscache.ResourceEventHandler{
		&v1alpha1.Mandelbox{}: toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc:    func(o any, old bool) { sessions.added(o.(*v1alpha1.Mandelbox), old) },
			UpdateFunc: func(o, n any) { sessions.changed(o.(*v1alpha1.Mandelbox), n.(*v1alpha1.Mandelbox)) },
			DeleteFunc: func(o any) { last(o, sessions.deleted) },
		},
		&v1alpha1.Instance{}: toolscache.ResourceEventHandlerDetailedFuncs{
			AddFunc:    func(o any, old bool) { hosts.added(o.(*v1alpha1.Instance), old) },
			UpdateFunc: func(o, n any) { hosts.changed(o.(*v1alpha1.Instance), n.(*v1alpha1.Instance)) },
			DeleteFunc: func(o any) { last(o, hosts.deleted) },
		},
	} {
		informer, err := f.Cache.GetInformer(ctx, of)
		if err != nil {
			return fmt.Errorf("following %T for traces: %w", of, err)
		}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("following %T for traces: %w", of, err)
		}
	}
	<-ctx.Done()
	return nil
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
