// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	// guestPrefix begins the names of the sessions that come and go.
	guestPrefix = "guest-"
	// guestTick is the time between two looks at who has to come or go.
	guestTick = 50 * time.Millisecond
	// guestsPerLine is how many guests come between two lines about them.
	guestsPerLine = 10
)

// pace is how fast guests come and go.
type pace struct {
	// interval is the time between two arrivals.
	interval time.Duration
	// stay is how long the shortest session runs; the longest runs twice as long.
	stay time.Duration
}

// defaultPace is a load that the samples' warm room is enough for.
var defaultPace = pace{interval: 750 * time.Millisecond, stay: 3 * time.Second}

// guests are users who come at a steady rate, stay for some seconds once their
// session runs, and delete it: each with one session, in turn in every namespace
// and region of the samples.
type guests struct {
	pace
	api     client.Client
	fleet   *fleet
	samples *samples
	// tell gets a line now and then.
	tell func(format string, args ...any)

	mu sync.Mutex
	// here are those who have come and not gone, by the names of their sessions.
	here map[string]*guest
	// seen is what all guests so far have seen.
	seen tally
	// refused are the API server's reasons.
	refused []error
	closed  bool
}

// guest is a user and their session.
type guest struct {
	session *v1alpha1.Mandelbox
	asked   time.Time
	// leaves is when the user has had enough; zero until the session runs.
	leaves time.Time
	// seen says that the API server has shown the session, deleted that the user
	// has deleted it.
	seen, deleted bool
}

// arrive has guests come and go until ctx ends, or until nobody may come and the
// last has left.
func (g *guests) arrive(ctx context.Context) error {
	ticker := time.NewTicker(guestTick)
	defer ticker.Stop()
	for next := time.Now(); ; {
		now := time.Now()
		if !now.Before(next) && !g.isClosed() {
			next = next.Add(g.interval)
			g.invite(ctx, now)
		}
		if err := g.attend(ctx, now); err != nil {
			return err
		}
		if g.isClosed() && g.tally().here() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// close lets nobody in any more.
func (g *guests) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g *guests) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// invite creates the session of another guest.
func (g *guests) invite(ctx context.Context, now time.Time) {
	g.mu.Lock()
	number := g.seen.came + g.seen.refused
	g.mu.Unlock()
	session := g.samples.guestSession(number)
	err := g.api.Create(ctx, session)
	if err != nil && ctx.Err() != nil {
		return // The demo ends; the API server refused nothing.
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.seen.refused++
		g.refused = append(g.refused, fmt.Errorf("session %s was refused: %w", sessionName(session), err))
		return
	}
	g.seen.came++
	g.here[sessionName(session)] = &guest{session: session, asked: now}
	if g.seen.came%guestsPerLine == 0 {
		g.tell("guests   %s", g.seen)
	}
}

// guestSession is the session of the guest with a number: the regions and
// namespaces of the samples take turns, the other regions are second choice.
func (s *samples) guestSession(number int) *v1alpha1.Mandelbox {
	var regions []string
	for i := range s.regions {
		regions = append(regions, s.regions[(number+i)%len(s.regions)].Name)
	}
	namespaces := s.namespaces()
	name := fmt.Sprintf("%s%03d", guestPrefix, number+1)
	return &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespaces[number/len(regions)%len(namespaces)], Name: name},
		Spec: v1alpha1.MandelboxSpec{
			UserID: "auth0|" + name, SessionID: name + "-1", Regions: regions, AMIName: s.channels[0].Name,
		},
	}
}

// isGuest says whether a session is one of those that come and go.
func isGuest(session *v1alpha1.Mandelbox) bool { return strings.HasPrefix(session.Name, guestPrefix) }

// attend looks after everybody who is here.
func (g *guests) attend(ctx context.Context, now time.Time) error {
	g.mu.Lock()
	here := maps.Clone(g.here)
	g.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(here)) {
		guest := here[name]
		ran, exists, lost := g.fleet.course(name)
		g.note(guest, ran, lost)
		guest.seen = guest.seen || exists
		switch {
		case guest.seen && !exists:
			g.mu.Lock()
			delete(g.here, name)
			g.seen.left++
			g.mu.Unlock()
			g.fleet.announce("") // Who waits for guests to leave looks again.
		case !guest.deleted && (lost || !guest.leaves.IsZero() && now.After(guest.leaves)):
			if err := client.IgnoreNotFound(g.api.Delete(ctx, guest.session)); err != nil {
				return fmt.Errorf("deleting session %s: %w", name, err)
			}
			guest.deleted = true
		}
	}
	return nil
}

// note takes in that the session of a guest runs, or was lost.
func (g *guests) note(guest *guest, ran time.Time, lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if guest.leaves.IsZero() && !ran.IsZero() {
		extra := g.stay * time.Duration(g.seen.ran%5) / 4
		guest.leaves = ran.Add(g.stay + extra)
		g.seen.ran++
		g.seen.longest = max(g.seen.longest, ran.Sub(guest.asked))
	}
	if lost && !guest.deleted {
		g.seen.lost++
	}
}

// tally is what became of the guests so far.
func (g *guests) tally() tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

// err says who was refused.
func (g *guests) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.refused...)
}
