// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// window is a time in which reads of the API server aren't as they should be.
type window struct {
	how  How
	kind string // of the watch; empty for all
	// version is what stale reads are frozen at.
	version string
	over    chan struct{}
}

// windows are those that are open.
type windows struct {
	mu   sync.Mutex
	open []*window
}

// add opens a window for a while.
func (ws *windows) add(win *window, during time.Duration) {
	win.over = make(chan struct{})
	ws.mu.Lock()
	ws.open = append(ws.open, win)
	ws.mu.Unlock()
	time.AfterFunc(during, func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		for i, other := range ws.open {
			if other == win {
				ws.open = append(ws.open[:i:i], ws.open[i+1:]...)
			}
		}
		close(win.over)
	})
}

// on is the open window of that sort, or of any sort if none is named, that
// concerns a kind; nil if there is none.
func (ws *windows) on(how How, kind string) *window {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, win := range ws.open {
		if (how == "" || win.how == how) && (win.kind == "" || win.kind == kind) {
			return win
		}
	}
	return nil
}

// expired is how the API server ends a watch whose versions it has no more.
var expired = []byte(`{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",` +
	`"message":"too old resource version","reason":"Expired","code":410}}` + "\n")

// watchKube passes a watch on, one event a line.
func (t *trial) watchKube(w http.ResponseWriter, r *http.Request, about target) {
	if win := t.windows.on(Stale, ""); win != nil && about.ours() {
		select { // A watch that begins has nothing newer to say than reads have.
		case <-win.over:
		case <-r.Context().Done():
		}
	}
	response, err := t.upstream(r.Context(), r, r.URL.Query(), r.URL.Path, nil)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// What is left of a watch that nobody listens to is of no interest.
	defer func() { _ = response.Body.Close() }()
	copyHeader(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	out := &lineWriter{w: w, flush: http.NewResponseController(w)}
	out.do(nil)
	events := 0
	_, _ = fmt.Fprintf(&t.log, "--- watch of %s begins ---\n", about.resource)
	defer func() {
		_, _ = fmt.Fprintf(&t.log, "--- watch of %s ends after %d events ---\n", about.resource, events)
	}()
	lines := make(chan []byte)
	go readEvents(r, response.Body, lines)
	for line := range lines {
		events++
		win := t.windows.on("", about.resource)
		if win == nil || !about.ours() {
			out.do(line)
			continue
		}
		held := collect(win, line, lines)
		switch win.how {
		case Stale:
			out.do(held...)
		case Hold:
			out.do(lastOfEach(held)...)
		case Swallow:
			out.do(expired)
			return
		default:
			return
		}
	}
}

// readEvents reads events until there are no more or the watcher has gone. An event
// ends with its JSON: the line's end may only come with the next one.
func readEvents(r *http.Request, from io.Reader, events chan<- []byte) {
	defer close(events)
	decoder := json.NewDecoder(from)
	for {
		var event json.RawMessage
		if decoder.Decode(&event) != nil {
			return
		}
		select {
		case events <- append(event, '\n'):
		case <-r.Context().Done():
			return
		}
	}
}

// collect gathers the events of a window until it is over.
func collect(win *window, first []byte, lines <-chan []byte) [][]byte {
	held := [][]byte{first}
	for {
		select {
		case line, more := <-lines:
			if !more {
				return held
			}
			held = append(held, line)
		case <-win.over:
			return held
		}
	}
}

// lastOfEach keeps the last event of each object, in their order. What was added
// meanwhile is then told of as added.
func lastOfEach(held [][]byte) [][]byte {
	type event struct {
		Type   string `json:"type"`
		Object struct {
			Metadata struct {
				UID string `json:"uid"`
			} `json:"metadata"`
		} `json:"object"`
	}
	last := map[string]int{}
	for i, line := range held {
		var e event
		if json.Unmarshal(line, &e) == nil && e.Object.Metadata.UID != "" {
			last[e.Object.Metadata.UID] = i
		}
	}
	var kept [][]byte
	for i, line := range held {
		var e event
		if json.Unmarshal(line, &e) != nil || e.Object.Metadata.UID == "" || last[e.Object.Metadata.UID] == i {
			kept = append(kept, line)
		}
	}
	return kept
}

// lineWriter writes events out at once.
type lineWriter struct {
	w     http.ResponseWriter
	flush *http.ResponseController
}

// do writes lines; a watcher that has gone ends the watch.
func (l *lineWriter) do(lines ...[]byte) {
	for _, line := range lines {
		if _, err := l.w.Write(line); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	if l.flush.Flush() != nil {
		panic(http.ErrAbortHandler)
	}
}
