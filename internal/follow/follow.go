// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package follow reads the objects of the four kinds with a user's own
// credentials, once or for as long as somebody looks on, and makes them a
// view.Snapshot. It knows nothing of what is shown of them.
package follow

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

// pageSize is how many objects are asked for at once.
const pageSize = 500

// Read reads all objects, the Mandelboxes of one namespace, or of all if it is empty.
func Read(ctx context.Context, c client.Reader, namespace string) (view.Snapshot, error) {
	s := view.Snapshot{Namespace: namespace}
	var err error
	if s.Regions, err = read[v1alpha1.Region](ctx, c, &v1alpha1.RegionList{}, ""); err != nil {
		return s, fmt.Errorf("reading Regions: %w", err)
	}
	if s.AMIs, err = read[v1alpha1.AMI](ctx, c, &v1alpha1.AMIList{}, ""); err != nil {
		return s, fmt.Errorf("reading AMIs: %w", err)
	}
	if s.Instances, err = read[v1alpha1.Instance](ctx, c, &v1alpha1.InstanceList{}, ""); err != nil {
		return s, fmt.Errorf("reading Instances: %w", err)
	}
	if s.Mandelboxes, err = read[v1alpha1.Mandelbox](ctx, c, &v1alpha1.MandelboxList{}, namespace); err != nil {
		return s, fmt.Errorf("reading Mandelboxes: %w", err)
	}
	s.Now = time.Now()
	return s, nil
}

// read reads the pages of a list.
func read[T any](ctx context.Context, c client.Reader, list client.ObjectList, namespace string) ([]T, error) {
	var all []T
	for {
		options := []client.ListOption{client.Limit(pageSize), client.Continue(list.GetContinue())}
		if namespace != "" {
			options = append(options, client.InNamespace(namespace))
		}
		if err := c.List(ctx, list, options...); err != nil {
			return nil, err
		}
		// ExtractList gives pointers to the items, of which T is the type.
		items, err := meta.ExtractList(list)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			all = append(all, *any(item).(*T))
		}
		if list.GetContinue() == "" {
			return all, nil
		}
	}
}

// Follower keeps the objects as they are now.
type Follower struct {
	namespace string
	changed   chan struct{}
	kinds     []*kind
}

// kind is one kind that is followed.
type kind struct {
	name     string
	store    cache.Store
	follower cache.Controller

	mu sync.Mutex
	// err is why the last list or watch failed, since when; nil while one goes on.
	err   error
	since time.Time
}

// Start follows all objects until the context ends, the Mandelboxes of one
// namespace, or of all if it is empty.
func Start(ctx context.Context, c client.WithWatch, namespace string) *Follower {
	f := &Follower{namespace: namespace, changed: make(chan struct{}, 1)}
	f.add(ctx, c, "Regions", &v1alpha1.Region{}, func() client.ObjectList { return &v1alpha1.RegionList{} }, "")
	f.add(ctx, c, "AMIs", &v1alpha1.AMI{}, func() client.ObjectList { return &v1alpha1.AMIList{} }, "")
	f.add(ctx, c, "Instances", &v1alpha1.Instance{}, func() client.ObjectList { return &v1alpha1.InstanceList{} }, "")
	f.add(ctx, c, "Mandelboxes", &v1alpha1.Mandelbox{}, func() client.ObjectList { return &v1alpha1.MandelboxList{} }, namespace)
	return f
}

func (f *Follower) add(ctx context.Context, c client.WithWatch, name string, object client.Object, newList func() client.ObjectList, namespace string) {
	k := &kind{name: name}
	options := func(raw metav1.ListOptions) *client.ListOptions {
		return &client.ListOptions{Namespace: namespace, Raw: &raw}
	}
	k.store, k.follower = cache.NewInformerWithOptions(cache.InformerOptions{
		ObjectType: object,
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
				list := newList()
				err := c.List(ctx, list, options(raw))
				f.note(k, err)
				return list, err
			},
			WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
				w, err := c.Watch(ctx, newList(), options(raw))
				f.note(k, err)
				return w, err
			},
		},
		Transform: slimmed,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { f.tell() },
			UpdateFunc: func(any, any) { f.tell() },
			DeleteFunc: func(any) { f.tell() },
		},
	})
	f.kinds = append(f.kinds, k)
	go k.follower.RunWithContext(ctx)
}

// slimmed takes from an object what nobody is shown and what may be secret.
func slimmed(object any) (any, error) {
	if o, ok := object.(metav1.Object); ok {
		o.SetManagedFields(nil)
	}
	switch o := object.(type) {
	case *v1alpha1.Region:
		o.Spec.UserData = ""
	case *v1alpha1.AMI:
		o.Spec.Task.Env = nil
	case *v1alpha1.Mandelbox:
		o.Spec.Env = nil
	}
	return object, nil
}

// note takes in how a list or watch of a kind went.
func (f *Follower) note(k *kind, err error) {
	k.mu.Lock()
	changed := (k.err == nil) != (err == nil)
	if changed {
		k.since = time.Now()
	}
	k.err = err
	k.mu.Unlock()
	if changed {
		f.tell()
	}
}

// tell says that something has changed to whoever waits for it.
func (f *Follower) tell() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Changed receives a value when something may have changed since the last; one
// value may stand for many changes.
func (f *Follower) Changed() <-chan struct{} { return f.changed }

// Synced says whether all objects have been seen once.
func (f *Follower) Synced() bool {
	for _, k := range f.kinds {
		if !k.follower.HasSynced() {
			return false
		}
	}
	return true
}

// Trouble says why the objects may be behind, and since when; nil if they aren't.
func (f *Follower) Trouble() (since time.Time, err error) {
	for _, k := range f.kinds {
		k.mu.Lock()
		if k.err != nil && (err == nil || k.since.Before(since)) {
			since, err = k.since, fmt.Errorf("following %s: %w", k.name, k.err)
		}
		k.mu.Unlock()
	}
	return since, err
}

// Snapshot is all objects as they were last seen. They are shared: nobody may change them.
func (f *Follower) Snapshot() view.Snapshot {
	return view.Snapshot{
		Regions: all[v1alpha1.Region](f.kinds[0]), AMIs: all[v1alpha1.AMI](f.kinds[1]),
		Instances: all[v1alpha1.Instance](f.kinds[2]), Mandelboxes: all[v1alpha1.Mandelbox](f.kinds[3]),
		Namespace: f.namespace, Now: time.Now(),
	}
}

func all[T any](k *kind) []T {
	objects := k.store.List()
	list := make([]T, 0, len(objects))
	for _, object := range objects {
		list = append(list, *object.(*T))
	}
	return list
}
