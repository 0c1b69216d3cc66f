// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package trigger wakes a controller for a reason that is not a Kubernetes
// object's: a change in the cloud, or a decision of another part of the manager.
package trigger

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Trigger is a source of reconcile requests. What is fired before the controller
// has started is lost, which is harmless: it begins with all its objects anyway.
type Trigger struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// Start is called by the controller.
func (t *Trigger) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = queue
	return nil
}

// Fire asks for a reconcile of each key, at once.
func (t *Trigger) Fire(keys ...types.NamespacedName) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.queue == nil {
		return
	}
	for _, key := range keys {
		t.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

// FireName asks for a reconcile of a cluster-wide object.
func (t *Trigger) FireName(name string) { t.Fire(types.NamespacedName{Name: name}) }
