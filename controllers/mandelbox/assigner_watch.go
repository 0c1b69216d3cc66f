// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// watch follows Instances, AMIs and Regions, and sessions that are new, and waits
// until it knows them all.
func (a *Assigner) watch(ctx context.Context) error {
	var synced []toolscache.InformerSynced
	for of, handler := range map[client.Object]toolscache.ResourceEventHandler{
		&v1alpha1.Instance{}: toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { a.seen(o.(*v1alpha1.Instance)) },
			UpdateFunc: func(_, o any) { a.seen(o.(*v1alpha1.Instance)) },
			DeleteFunc: a.forget,
		},
		&v1alpha1.Mandelbox{}: toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { a.offerNew(o.(*v1alpha1.Mandelbox)) },
			DeleteFunc: a.withdrawGone,
		},
		&v1alpha1.AMI{}:    a.catalogChanges(),
		&v1alpha1.Region{}: a.catalogChanges(),
	} {
		informer, err := a.Cache.GetInformer(ctx, of)
		if err != nil {
			return fmt.Errorf("watching %T: %w", of, err)
		}
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			return fmt.Errorf("watching %T: %w", of, err)
		}
		synced = append(synced, registration.HasSynced)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), synced...) {
		return ctx.Err()
	}
	return nil
}

// offerNew puts a session into the queue as soon as it is seen, ahead of its first
// reconcile, which under load comes after those of all that have their slot. Only
// what surely never had one is: the rest is for the reconcile to find out.
func (a *Assigner) offerNew(m *v1alpha1.Mandelbox) {
	untouched := m.Status.Phase == "" && m.Status.Attempt == 0 && m.DeletionTimestamp.IsZero()
	if untouched && !m.CreationTimestamp.Time.Before(a.begun) && !a.written.ahead(m) {
		a.Offer(m)
	}
}

// withdrawGone takes a session out of the queue whose reconcile finds nothing any more.
func (a *Assigner) withdrawGone(o any) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	m, ok := o.(*v1alpha1.Mandelbox)
	if !ok {
		return
	}
	a.mu.Lock()
	current := a.keys[keyOf(m)] == m.UID
	a.mu.Unlock()
	if current {
		a.Withdraw(keyOf(m))
	}
}

func (a *Assigner) catalogChanges() toolscache.ResourceEventHandler {
	changed := func() {
		a.mu.Lock()
		a.catalog = nil
		a.mu.Unlock()
		a.Wake()
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		UpdateFunc: func(any, any) { changed() },
		DeleteFunc: func(any) { changed() },
	}
}

// seen takes in a version of an Instance that the cache has.
func (a *Assigner) seen(i *v1alpha1.Instance) {
	a.mu.Lock()
	a.promises.seen(i)
	a.mu.Unlock()
	a.observe(i)
}

// observe takes in a version of an Instance, unless a later one is known.
func (a *Assigner) observe(i *v1alpha1.Instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.hosts[i.Name]; ok && known.UID == i.UID && newer(known, i) {
		return
	}
	before := a.hosts[i.Name]
	a.standing.observe(before, i)
	a.hosts[i.Name] = i
	a.fleet.Set(placement.HostOf(i))
	if before == nil || before.FreeSlots() < i.FreeSlots() {
		a.Wake()
	}
}

func (a *Assigner) forget(o any) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	if i, ok := o.(*v1alpha1.Instance); ok {
		a.forgetHost(i)
	}
}

// forgetHost drops a host, unless another of its name has come.
func (a *Assigner) forgetHost(i *v1alpha1.Instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.hosts[i.Name]; ok && known.UID == i.UID {
		delete(a.hosts, i.Name)
		delete(a.promises, i.Name)
		a.standing.observe(known, nil)
		a.fleet.Delete(i.Name)
	}
}
