// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"cmp"
	"slices"
	"sync"
)

// Queue holds the requests that wait for a slot. Namespaces take turns, and
// within one the first come is the first served: by creation, then name, then
// UID. The namespace that was served last goes last, so that none waits for more
// turns of others than there are others. The zero Queue is empty and ready; it
// may be used by several goroutines at once.
type Queue struct {
	mu sync.Mutex
	// requests are all that wait, by UID.
	requests map[string]*Request
	// lines are the namespaces that have a request.
	lines map[string]*line
	// clock advances by two with each turn: a namespace that was served gets its
	// even number, those that join after it the odd number before it.
	clock int64
	// last is the namespace that was served last, which keeps its place at the
	// end even if it leaves the queue and comes back.
	last string
}

// line is the queue of one namespace.
type line struct {
	namespace string
	// turn orders the namespaces; the lowest is served next.
	turn int64
	// waiting is sorted. Requests mostly arrive in order and leave from the front,
	// and moving a few thousand pointers costs less than a tree's bookkeeping.
	waiting []*Request
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{}
}

// Push adds the request, or replaces the one of the same UID. A namespace that
// had none joins behind all that wait, but before the one served last.
func (q *Queue) Push(req Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.requests == nil {
		q.requests, q.lines = map[string]*Request{}, map[string]*line{}
	}
	l := q.lineOf(req.Namespace)
	if old, waits := q.requests[req.UID]; waits {
		// A namespace whose only request is replaced keeps its line, and so its turn.
		q.leave(old, old.Namespace != req.Namespace)
	}
	q.requests[req.UID] = &req
	at, _ := slices.BinarySearchFunc(l.waiting, &req, earlier)
	l.waiting = slices.Insert(l.waiting, at, &req)
}

// Remove takes the request of that UID out, if it is there.
func (q *Queue) Remove(uid string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if req, waits := q.requests[uid]; waits {
		delete(q.requests, uid)
		q.leave(req, true)
	}
}

// Len is the number of requests that wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.requests)
}

// Ordered lists up to limit requests in the order in which they are to be served:
// one of each namespace in turn, until none is left. It changes nothing.
func (q *Queue) Ordered(limit int) []Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines := make([]*line, 0, len(q.lines))
	for _, l := range q.lines {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b *line) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.namespace, b.namespace))
	})
	want := min(limit, len(q.requests))
	if want <= 0 {
		return nil
	}
	ordered := make([]Request, 0, want)
	for round := 0; len(ordered) < want; round++ {
		// Namespaces that have no request left drop out, so that one long line
		// doesn't cost a look at all others for each of its requests.
		lines = slices.DeleteFunc(lines, func(l *line) bool { return len(l.waiting) <= round })
		for _, l := range lines[:min(len(lines), want-len(ordered))] {
			ordered = append(ordered, *l.waiting[round])
		}
	}
	return ordered
}

// Served says that a request of the namespace got its slot: the namespace goes
// behind all others. It doesn't take the request out; Remove does, before or after.
func (q *Queue) Served(namespace string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.clock += 2
	q.last = namespace
	if l, waits := q.lines[namespace]; waits {
		l.turn = q.clock
	}
}

// lineOf returns the namespace's line, which joins the others if it is new.
func (q *Queue) lineOf(namespace string) *line {
	l, waits := q.lines[namespace]
	if !waits {
		l = &line{namespace: namespace, turn: q.clock - 1}
		if namespace == q.last {
			l.turn = q.clock
		}
		q.lines[namespace] = l
	}
	return l
}

// leave takes the request out of its line, and an empty line out of the queue if asked to.
func (q *Queue) leave(req *Request, drop bool) {
	l := q.lines[req.Namespace]
	if at, waits := slices.BinarySearchFunc(l.waiting, req, earlier); waits {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
	if drop && len(l.waiting) == 0 {
		delete(q.lines, req.Namespace)
	}
}

// earlier orders the requests of one namespace.
func earlier(a, b *Request) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
}
