// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// waiting is a request that came second seconds after the epoch; its UID is
// "namespace/name".
func waiting(namespace, name string, second int) Request {
	return Request{
		Namespace: namespace,
		Name:      name,
		UID:       namespace + "/" + name,
		Created:   epoch.Add(time.Duration(second) * time.Second),
	}
}

func uids(requests []Request) []string {
	got := make([]string, 0, len(requests))
	for _, r := range requests {
		got = append(got, r.UID)
	}
	return got
}

func expectOrder(t *testing.T, q *Queue, want ...string) {
	t.Helper()
	if got := uids(q.Ordered(math.MaxInt)); !slices.Equal(got, want) {
		t.Errorf("order = %v, want %v", got, want)
	}
}

func TestQueueTakesTurns(t *testing.T) {
	var q Queue
	q.Push(waiting("b", "1", 1))
	q.Push(waiting("a", "2", 3))
	q.Push(waiting("a", "1", 2))
	q.Push(waiting("a", "3", 4))
	q.Push(waiting("c", "1", 0))
	expectOrder(t, &q, "a/1", "b/1", "c/1", "a/2", "a/3")
	if got := uids(q.Ordered(2)); !slices.Equal(got, []string{"a/1", "b/1"}) {
		t.Errorf("the first two are %v", got)
	}
	if got := q.Ordered(0); got != nil {
		t.Errorf("the first none are %v", got)
	}

	q.Remove("a/1")
	q.Served("a")
	expectOrder(t, &q, "b/1", "c/1", "a/2", "a/3")
	q.Remove("b/1")
	q.Served("b")
	expectOrder(t, &q, "c/1", "a/2", "a/3")
	if q.Len() != 3 {
		t.Errorf("%d wait, want 3", q.Len())
	}
}

func TestQueueOrdersWithinANamespace(t *testing.T) {
	q := NewQueue()
	twin := waiting("a", "x", 1)
	twin.UID = "a/w"
	for _, r := range []Request{waiting("a", "y", 1), waiting("a", "x", 1), waiting("a", "z", 0), twin} {
		q.Push(r)
	}
	expectOrder(t, q, "a/z", "a/w", "a/x", "a/y")
}

func TestQueueReplaces(t *testing.T) {
	q := NewQueue()
	q.Push(waiting("a", "1", 0))
	q.Push(waiting("b", "1", 0))
	q.Served("b")
	q.Push(waiting("c", "1", 0))

	again := waiting("a", "1", 0)
	again.Attempt = 7
	q.Push(again)
	expectOrder(t, q, "a/1", "c/1", "b/1")
	if got := q.Ordered(1)[0].Attempt; got != 7 {
		t.Errorf("attempt = %d, want that of the request pushed last", got)
	}

	moved := waiting("d", "1", 0)
	moved.UID = "a/1"
	q.Push(moved)
	expectOrder(t, q, "c/1", "a/1", "b/1")
	if q.Len() != 3 {
		t.Errorf("%d wait, want 3", q.Len())
	}
}

func TestQueueRemovesWhatIsNotThere(t *testing.T) {
	var q Queue
	q.Remove("a/1")
	q.Push(waiting("a", "1", 0))
	q.Remove("a/1")
	q.Remove("a/1")
	q.Served("a")
	expectOrder(t, &q)
}

func TestQueueGivesNoAdvantageToComingBack(t *testing.T) {
	q := NewQueue()
	q.Push(waiting("a", "1", 0))
	q.Push(waiting("b", "1", 0))
	q.Push(waiting("b", "2", 0))
	q.Remove("a/1")
	q.Served("a")
	q.Push(waiting("a", "2", 1))
	expectOrder(t, q, "b/1", "a/2", "b/2")
	q.Push(waiting("aa", "1", 1))
	expectOrder(t, q, "b/1", "aa/1", "a/2", "b/2")
}

// TestQueueIsFair lets namespaces come, go and be served at random: while one
// waits, each of the others is served at most once.
func TestQueueIsFair(t *testing.T) {
	const namespaces, steps = 8, 20_000
	r := rand.New(rand.NewPCG(3, 4))
	q := NewQueue()
	count := map[string]int{}
	// servedWhile[a][b] is how often b was served since a waits for its turn.
	servedWhile := map[string]map[string]int{}
	for step := range steps {
		if r.IntN(2) == 0 {
			ns := fmt.Sprintf("ns-%d", r.IntN(namespaces))
			q.Push(waiting(ns, fmt.Sprint(step), step))
			if count[ns]++; count[ns] == 1 {
				servedWhile[ns] = map[string]int{}
			}
			continue
		}
		next := q.Ordered(1)
		if len(next) == 0 {
			continue
		}
		ns := next[0].Namespace
		q.Remove(next[0].UID)
		if count[ns]--; count[ns] == 0 {
			delete(servedWhile, ns)
		} else {
			servedWhile[ns] = map[string]int{}
		}
		if r.IntN(4) == 0 {
			continue // It ended before it got its slot: not a turn.
		}
		q.Served(ns)
		for waits, served := range servedWhile {
			if served[ns]++; waits != ns && served[ns] > 1 {
				t.Fatalf("step %d: %s was served %d times while %s waited", step, ns, served[ns], waits)
			}
		}
	}
}

// TestOrderedForetellsTheTurns compares the list with what serving one by one gives.
func TestOrderedForetellsTheTurns(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	q := NewQueue()
	for i := range 500 {
		q.Push(waiting(fmt.Sprintf("ns-%d", r.IntN(1+r.IntN(20))), fmt.Sprint(i), r.IntN(100)))
	}
	foretold := uids(q.Ordered(q.Len()))
	var served []string
	for q.Len() > 0 {
		next := q.Ordered(1)[0]
		served = append(served, next.UID)
		q.Remove(next.UID)
		q.Served(next.Namespace)
	}
	if !slices.Equal(foretold, served) {
		t.Errorf("foretold %v\nserved %v", foretold, served)
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, namespaces := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("entries=10000/namespaces=%d", namespaces), func(b *testing.B) {
			requests := make([]Request, 10_000)
			for i := range requests {
				requests[i] = waiting(fmt.Sprintf("ns-%d", i%namespaces), fmt.Sprint(i), i*7919%10_000)
			}
			b.ReportAllocs()
			for b.Loop() {
				var q Queue
				for _, r := range requests {
					q.Push(r)
				}
				for _, r := range q.Ordered(q.Len()) {
					q.Remove(r.UID)
					q.Served(r.Namespace)
				}
				if q.Len() != 0 {
					b.Fatal("requests are left behind")
				}
			}
		})
	}
}
