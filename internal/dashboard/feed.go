// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/view"
)

const (
	// gatherPause is the least time between two looks at a fleet that changes. The
	// first change after a quiet while is told at once.
	gatherPause = 200 * time.Millisecond
	// lookAnewPause is how often the fleet is looked at though nothing changed: some
	// troubles come with time alone.
	lookAnewPause = 10 * time.Second
	// heartbeatPause is how often a silent page hears that it is still connected.
	heartbeatPause = 15 * time.Second
	// retryMillis is how long a page waits before it connects again.
	retryMillis = 1000
)

// Source is where the objects come from; a follow.Follower is one.
type Source interface {
	// Changed receives a value when something may have changed.
	Changed() <-chan struct{}
	// Synced says whether all objects have been seen once.
	Synced() bool
	// Trouble says why the objects may be behind, and since when; nil if they aren't.
	Trouble() (since time.Time, err error)
	// Snapshot is all objects as they were last seen.
	Snapshot() view.Snapshot
}

// Feed holds the fleet as named pieces, and tells pages which have changed.
type Feed struct {
	source  Source
	cluster string

	mu      sync.Mutex
	pieces  map[string]piece
	version uint64
	// changed is closed, and replaced, when a piece changes.
	changed chan struct{}
}

// piece is a part of the fleet as a page gets it, and the version it came with.
type piece struct {
	content string
	version uint64
}

// NewFeed returns a feed of a source; Run fills it.
func NewFeed(source Source, cluster string) *Feed {
	return &Feed{source: source, cluster: cluster, pieces: map[string]piece{}, changed: make(chan struct{})}
}

// Run keeps the pieces up to date until the context ends.
func (f *Feed) Run(ctx context.Context) error {
	tick := time.NewTicker(lookAnewPause)
	defer tick.Stop()
	for {
		if err := f.update(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(gatherPause):
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.source.Changed():
		case <-tick.C:
		}
	}
}

// update looks anew, and tells pages if any piece is another than before.
func (f *Feed) update() error {
	fresh, err := f.look()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	different := false
	next := f.version + 1
	for name, content := range fresh {
		if known, ok := f.pieces[name]; !ok || known.content != content {
			f.pieces[name] = piece{content, next}
			different = true
		}
	}
	for name := range f.pieces {
		if _, kept := fresh[name]; !kept {
			delete(f.pieces, name)
			different = true
		}
	}
	if different {
		f.version = next
		close(f.changed)
		f.changed = make(chan struct{})
	}
	return nil
}

// look encodes the pieces as they are now.
func (f *Feed) look() (map[string]string, error) {
	contents := map[string]any{"link": linkOf(f.source, f.cluster)}
	// Half a fleet would look like one of which half is gone.
	if f.source.Synced() {
		addFleet(contents, view.Of(f.source.Snapshot()))
	}
	encoded := make(map[string]string, len(contents))
	for name, content := range contents {
		text, err := json.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("encoding %s for the dashboard: %w", name, err)
		}
		encoded[name] = string(text)
	}
	return encoded, nil
}

// patch is what a page gets: pieces that are new or changed, and names of those
// that are gone. The first one is all there is.
type patch struct {
	First bool                       `json:"first,omitempty"`
	Set   map[string]json.RawMessage `json:"set,omitempty"`
	Gone  []string                   `json:"gone,omitempty"`
}

// since is what has changed for a page that has the given versions, which it
// brings up to date, and a channel that is closed with the next change.
func (f *Feed) since(has map[string]uint64) (patch, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := patch{Set: map[string]json.RawMessage{}}
	for name, piece := range f.pieces {
		if has[name] != piece.version {
			has[name] = piece.version
			p.Set[name] = json.RawMessage(piece.content)
		}
	}
	for name := range has {
		if _, kept := f.pieces[name]; !kept {
			delete(has, name)
			p.Gone = append(p.Gone, name)
		}
	}
	return p, f.changed
}

// ServeHTTP sends a page the pieces and then every change, as server-sent events.
// See https://html.spec.whatwg.org/multipage/server-sent-events.html.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	if _, err := fmt.Fprintf(w, "retry: %d\n\n", retryMillis); err != nil {
		return // The page is gone, here and below.
	}
	flush := http.NewResponseController(w)
	heartbeat := time.NewTicker(heartbeatPause)
	defer heartbeat.Stop()
	has := map[string]uint64{}
	for first := true; ; first = false {
		p, changed := f.since(has)
		p.First = first
		content, err := json.Marshal(p)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", content); err != nil {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-r.Context().Done():
				return
			case <-changed:
				waiting = false
			case <-heartbeat.C:
				if _, err := fmt.Fprint(w, ": still here\n\n"); err != nil || flush.Flush() != nil {
					return
				}
			}
		}
	}
}
