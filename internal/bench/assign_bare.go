// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	// afterWorkers is how many bare clients do what comes after the assignments: as
	// many as the manager reconciles sessions at once.
	afterWorkers = 16
	// afterBacklog is how far they may fall behind.
	afterBacklog = 64
)

// bareSessions makes, session by session, the writes that the manager made: those
// up to its assignment with its share of the writes on hosts and regions, and what
// comes after by clients of their own.
type bareSessions struct {
	*replay
	sessions map[types.NamespacedName]*bareSession
	// others are the writes on hosts and regions, in order.
	others []*step

	mu   sync.Mutex
	next int
	seen int

	after  chan []*step
	done   chan struct{}
	failed chan error
}

// bareSession is what is to be written for one session.
type bareSession struct {
	object *copied
	// assign ends with the write that assigns; after are those that come later.
	assign, after []*step
}

// newBareSessions plans the writes, and copies the hosts.
func (a *assignment) newBareSessions(ctx context.Context, hosts []v1alpha1.Instance, writes []auditWrite) (*bareSessions, error) {
	p, err := newReplay(a.bare)
	if err != nil {
		return nil, err
	}
	b := &bareSessions{
		replay: p, sessions: map[types.NamespacedName]*bareSession{},
		after: make(chan []*step, afterBacklog), done: make(chan struct{}), failed: make(chan error, afterWorkers),
	}
	for i := range a.sessions {
		m := a.session("s", i)
		key := types.NamespacedName{Namespace: m.Namespace, Name: copyName(m.Name)}
		b.sessions[key] = &bareSession{object: p.object("mandelboxes", m.Namespace, m.Name)}
	}
	for _, w := range writes {
		if err := b.plan(w); err != nil {
			return nil, err
		}
	}
	for key, s := range b.sessions {
		if len(s.assign) == 0 {
			return nil, fmt.Errorf("no write was seen that assigned the session %s is a copy of", key)
		}
	}
	if err := p.copyHosts(ctx, hosts); err != nil {
		return nil, err
	}
	return b, p.prepare(ctx)
}

// plan puts a write where it is to be made.
func (b *bareSessions) plan(w auditWrite) error {
	s, err := b.add(w)
	if err != nil {
		return err
	}
	session := b.sessions[types.NamespacedName{Namespace: w.Object.Namespace, Name: copyName(w.Object.Name)}]
	switch {
	case w.Object.Resource != "mandelboxes" || session == nil:
		b.others = append(b.others, s)
	case len(session.assign) > 0 && session.assign[len(session.assign)-1].write.assigns():
		session.after = append(session.after, s)
	default:
		session.assign = append(session.assign, s)
	}
	return nil
}

// assign makes the writes of one session up to its assignment; version is that of
// the copy.
func (b *bareSessions) assign(ctx context.Context, key types.NamespacedName, version string) error {
	s := b.sessions[key]
	s.object.version = version
	for _, other := range b.due() {
		if err := b.do(ctx, other); err != nil {
			return err
		}
	}
	for _, step := range s.assign {
		if err := b.do(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// due takes the next session's share of the writes on hosts and regions.
func (b *bareSessions) due() []*step {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen++
	from, to := b.next, b.seen*len(b.others)/len(b.sessions)
	b.next = to
	return b.others[from:to]
}

// startAfter starts the clients that do what comes after the assignments.
func (b *bareSessions) startAfter(ctx context.Context) {
	var workers sync.WaitGroup
	for range afterWorkers {
		workers.Go(func() {
			for steps := range b.after {
				for _, step := range steps {
					if err := b.do(ctx, step); err != nil {
						select {
						case b.failed <- err:
						default: // One failure is enough to tell.
						}
					}
				}
			}
		})
	}
	go func() {
		workers.Wait()
		close(b.done)
	}()
}

// follow leaves to them what comes after the assignment of a session.
func (b *bareSessions) follow(ctx context.Context, key types.NamespacedName) error {
	select {
	case b.after <- b.sessions[key].after:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish waits until all is written.
func (b *bareSessions) finish() error {
	close(b.after)
	<-b.done
	select {
	case err := <-b.failed:
		return err
	default:
		return nil
	}
}

// create makes the copy of a session, as a user would.
func (b *bareSessions) createCopy(ctx context.Context, m *v1alpha1.Mandelbox) (*v1alpha1.Mandelbox, error) {
	copy := sessionCopy(m)
	if err := persist(func() error { return b.create.Create(ctx, copy) }); err != nil {
		return nil, fmt.Errorf("creating the copy of session %s: %w", m.Name, err)
	}
	return copy, nil
}

// writesPerSession counts what the manager writes for a session until it runs: all
// its writes from the first creation to the last session's Running, whatever they
// are on.
func (a *assignment) writesPerSession(ctx context.Context, w window) (float64, error) {
	err := a.watch.await(ctx, fiveMinutes, "all sessions to run", func(_, _, running int) bool { return running == a.sessions })
	if err != nil {
		return 0, errors.Join(err, a.manager.failure())
	}
	all, err := a.audit.since(w.mark)
	if err != nil {
		return 0, err
	}
	done := all[:0]
	for _, write := range all {
		if write.done() {
			done = append(done, write)
		}
	}
	a.say("%s: until all run, the manager wrote %s", a.part, describe(mix(done)))
	return float64(len(done)) / float64(a.sessions), nil
}

// keyOf is the namespaced name of an object.
func keyOf(o client.Object) types.NamespacedName { return client.ObjectKeyFromObject(o) }
