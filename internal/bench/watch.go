// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
)

// sessionWatch is an informer of Mandelboxes, as the product's backend has one: it
// knows when each session was first seen assigned, and running.
type sessionWatch struct {
	cancel context.CancelFunc
	ended  chan error

	mu       sync.Mutex
	sessions map[types.NamespacedName]*seenSession
	changed  chan struct{}
	assigned int
	running  int
	waiting  int
	// synced says that what was there from the start has been seen, and moments are
	// when sessions were seen assigned since.
	synced  bool
	moments []time.Time
	// onAdd is told of each session that is new.
	onAdd func(*v1alpha1.Mandelbox)
}

// seenSession is when a session was seen first in each state.
type seenSession struct {
	assignedAt, runningAt time.Time
	// assigned and gone are closed when it was seen assigned, and deleted.
	assigned, gone chan struct{}
	waits          bool
}

// watchSessions starts the informer and waits until it knows all there are. onAdd
// may be nil.
func watchSessions(ctx context.Context, config *rest.Config, onAdd func(*v1alpha1.Mandelbox)) (*sessionWatch, error) {
	informers, err := cache.New(config, cache.Options{Scheme: controllers.NewScheme(), DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		return nil, fmt.Errorf("making an informer of sessions: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &sessionWatch{
		cancel: cancel, ended: make(chan error, 1), onAdd: onAdd,
		sessions: map[types.NamespacedName]*seenSession{}, changed: make(chan struct{}, 1),
	}
	go func() { w.ended <- informers.Start(running) }()
	informer, err := informers.GetInformer(ctx, &v1alpha1.Mandelbox{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watching sessions: %w", err), w.stop())
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			m := o.(*v1alpha1.Mandelbox)
			w.see(m)
			if w.onAdd != nil {
				w.onAdd(m)
			}
		},
		UpdateFunc: func(_, o any) { w.see(o.(*v1alpha1.Mandelbox)) },
		DeleteFunc: w.left,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watching sessions: %w", err), w.stop())
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil, errors.Join(ctx.Err(), w.stop())
	}
	w.mu.Lock()
	w.synced = true
	w.mu.Unlock()
	return w, nil
}

// stop ends the informer.
func (w *sessionWatch) stop() error {
	w.cancel()
	return <-w.ended
}

func (w *sessionWatch) entry(key types.NamespacedName) *seenSession {
	s := w.sessions[key]
	if s == nil {
		s = &seenSession{assigned: make(chan struct{}), gone: make(chan struct{})}
		w.sessions[key] = s
	}
	return s
}

// see takes in a version.
func (w *sessionWatch) see(m *v1alpha1.Mandelbox) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.entry(types.NamespacedName{Namespace: m.Namespace, Name: m.Name})
	if m.Committed() && s.assignedAt.IsZero() {
		s.assignedAt = now
		w.assigned++
		if w.synced {
			w.moments = append(w.moments, now)
		}
		close(s.assigned)
	}
	if m.Status.Phase == v1alpha1.MandelboxRunning && s.runningAt.IsZero() {
		s.runningAt = now
		w.running++
	}
	if m.Status.Phase == v1alpha1.MandelboxPending && !s.waits {
		s.waits = true
		w.waiting++
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// left takes in that a session is gone; a name is not used again.
func (w *sessionWatch) left(o any) {
	key, err := toolscache.DeletionHandlingObjectToName(o)
	if err != nil {
		return // It is an object, or the tombstone of one.
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.entry(types.NamespacedName(key)).gone)
}

// awaitAssigned waits until the session was seen assigned, and says when.
func (w *sessionWatch) awaitAssigned(ctx context.Context, key types.NamespacedName) (time.Time, error) {
	s := w.of(key)
	if err := await(ctx, s.assigned, key, "assigned"); err != nil {
		return time.Time{}, err
	}
	return s.assignedAt, nil
}

// awaitGone waits until the session was seen to be deleted.
func (w *sessionWatch) awaitGone(ctx context.Context, key types.NamespacedName) error {
	return await(ctx, w.of(key).gone, key, "gone")
}

// of is what was seen of a session so far.
func (w *sessionWatch) of(key types.NamespacedName) *seenSession {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.entry(key)
}

// await waits until what is seen of a session closes the channel.
func await(ctx context.Context, seen <-chan struct{}, key types.NamespacedName, what string) error {
	select {
	case <-seen:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(fiveMinutes):
		return fmt.Errorf("session %s was not %s within %s", key, what, fiveMinutes)
	}
}

// around are the last assignment before a moment and the first after it; zero where
// there is none.
func (w *sessionWatch) around(moment time.Time) (before, after time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, _ := slices.BinarySearchFunc(w.moments, moment, time.Time.Compare)
	if at > 0 {
		before = w.moments[at-1]
	}
	if at < len(w.moments) {
		after = w.moments[at]
	}
	return before, after
}

// counts are how many sessions were ever seen waiting, assigned and running.
func (w *sessionWatch) counts() (waiting, assigned, running int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting, w.assigned, w.running
}

// await waits until done says so of the counts.
func (w *sessionWatch) await(ctx context.Context, patience time.Duration, what string, done func(waiting, assigned, running int) bool) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		waiting, assigned, running := w.counts()
		if done(waiting, assigned, running) {
			return nil
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return fmt.Errorf("waiting for %s: after %s, %d waited, %d were assigned and %d ran", what, patience, waiting, assigned, running)
		}
	}
}
