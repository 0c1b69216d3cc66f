// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	epoch  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stable = Key{Region: "us-east-1", AMI: "stable", Revision: "r1"}
	canary = Key{Region: "us-east-1", AMI: "canary", Revision: "r1"}
)

// openHost is an open host that is as many minutes younger than the epoch as age says.
func openHost(name string, key Key, capacity int32, age int, taken ...int32) Host {
	return Host{
		Name:     name,
		Key:      key,
		Capacity: capacity,
		Open:     true,
		Taken:    taken,
		Created:  epoch.Add(time.Duration(age) * time.Minute),
	}
}

func fleetOf(hosts ...Host) *Fleet {
	f := NewFleet()
	for _, h := range hosts {
		f.Set(h)
	}
	return f
}

func closed(h Host) Host {
	h.Open = false
	return h
}

func expectFullest(t *testing.T, f *Fleet, key Key, host string, slot int32) {
	t.Helper()
	gotHost, gotSlot, ok := f.Fullest(key, "")
	if gotHost != host || gotSlot != slot || ok != (host != "") {
		t.Errorf("Fullest = %q, %d, %t; want %q, %d", gotHost, gotSlot, ok, host, slot)
	}
}

func expectFree(t *testing.T, f *Fleet, key Key, want int32) {
	t.Helper()
	if got := f.Free(key); got != want {
		t.Errorf("Free = %d, want %d", got, want)
	}
}

func TestFullest(t *testing.T) {
	for name, tc := range map[string]struct {
		hosts    []Host
		wantHost string
		wantSlot int32
		wantFree int32
	}{
		"no host": {},
		"the fullest, lowest free slot": {
			hosts: []Host{
				openHost("empty", stable, 4, 0),
				openHost("fuller", stable, 4, 1, 2, 0),
				openHost("full", stable, 2, 2, 0, 1),
			},
			wantHost: "fuller", wantSlot: 1, wantFree: 6,
		},
		"fewest free slots, not most taken ones": {
			hosts:    []Host{openHost("large", stable, 8, 0, 0, 1, 2, 3), openHost("small", stable, 1, 1)},
			wantHost: "small", wantFree: 5,
		},
		"among equals the oldest": {
			hosts:    []Host{openHost("a", stable, 2, 1), openHost("b", stable, 2, 0)},
			wantHost: "b", wantFree: 4,
		},
		"among those of one age the first by name": {
			hosts:    []Host{openHost("b", stable, 2, 0), openHost("a", stable, 2, 0)},
			wantHost: "a", wantFree: 4,
		},
		"neither closed hosts nor those of another key": {
			hosts: []Host{closed(openHost("draining", stable, 2, 0)), openHost("other", canary, 2, 0)},
		},
		"a claim beyond the capacity needs room too": {
			hosts:    []Host{openHost("shrunk", stable, 2, 0, 5)},
			wantHost: "shrunk", wantFree: 1,
		},
		"more claims than capacity is no room": {
			hosts: []Host{openHost("shrunk", stable, 2, 0, 4, 5, 6)},
		},
		"a slot named twice is taken once": {
			hosts:    []Host{openHost("host", stable, 2, 0, 1, 1)},
			wantHost: "host", wantFree: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleetOf(tc.hosts...)
			expectFullest(t, f, stable, tc.wantHost, tc.wantSlot)
			expectFree(t, f, stable, tc.wantFree)
		})
	}
}

func TestSetReplacesAndDeleteRemoves(t *testing.T) {
	f := fleetOf(openHost("host", stable, 2, 0, 0))
	f.Set(openHost("host", canary, 4, 0))
	expectFullest(t, f, stable, "", 0)
	expectFullest(t, f, canary, "host", 0)
	expectFree(t, f, canary, 4)
	f.Delete("host")
	f.Delete("host")
	expectFullest(t, f, canary, "", 0)
	expectFree(t, f, canary, 0)
	if len(f.shelves) != 0 {
		t.Errorf("shelves are left behind: %v", f.shelves)
	}
}

func TestSetKeepsItsOwnCopy(t *testing.T) {
	h := openHost("host", stable, 4, 0, 3, 0)
	f := fleetOf(h)
	h.Taken[0] = 1
	expectFullest(t, f, stable, "host", 1)
	if !slices.Equal(h.Taken, []int32{1, 0}) {
		t.Errorf("the caller's slice was changed to %v", h.Taken)
	}
}

func TestFreeElsewhere(t *testing.T) {
	f := fleetOf(openHost("full", stable, 1, 0, 0), openHost("free", canary, 1, 0))
	isCanary := func(k Key) bool { return k == canary }
	isStable := func(k Key) bool { return k == stable }
	if f.FreeElsewhere("us-east-1", isCanary) {
		t.Error("a full host counts as room")
	}
	if !f.FreeElsewhere("us-east-1", isStable) {
		t.Error("the free host doesn't count as room")
	}
	if f.FreeElsewhere("us-west-1", isStable) {
		t.Error("a host of another region counts as room")
	}
}

func TestAssumptions(t *testing.T) {
	empty := openHost("host", stable, 2, 0)
	claimed := openHost("host", stable, 2, 0, 0)
	for name, tc := range map[string]struct {
		after    func(*Fleet)
		wantSlot int32
		wantFree int32
	}{
		"an assumed slot is taken": {
			after:    func(*Fleet) {},
			wantSlot: 1, wantFree: 1,
		},
		"an observation older than the claim doesn't free it": {
			after:    func(f *Fleet) { f.Set(empty) },
			wantSlot: 1, wantFree: 1,
		},
		"an observation with the claim doesn't count it twice": {
			after:    func(f *Fleet) { f.Set(claimed) },
			wantSlot: 1, wantFree: 1,
		},
		"confirmed, it stays taken until the next observation": {
			after:    func(f *Fleet) { f.Confirm("host", 0, "a") },
			wantSlot: 1, wantFree: 1,
		},
		"confirmed, the next observation counts": {
			after:    func(f *Fleet) { f.Confirm("host", 0, "a"); f.Set(empty) },
			wantSlot: 0, wantFree: 2,
		},
		"seen and seen released before it is confirmed, it is free": {
			after:    func(f *Fleet) { f.Set(claimed); f.Set(empty); f.Confirm("host", 0, "a") },
			wantSlot: 0, wantFree: 2,
		},
		"forgotten, it is free": {
			after:    func(f *Fleet) { f.Forget("host", 0, "a") },
			wantSlot: 0, wantFree: 2,
		},
		"forgotten, what was observed meanwhile counts": {
			after:    func(f *Fleet) { f.Set(claimed); f.Forget("host", 0, "a") },
			wantSlot: 1, wantFree: 1,
		},
		"another uid can neither confirm nor forget it": {
			after:    func(f *Fleet) { f.Forget("host", 0, "b"); f.Confirm("host", 0, "b"); f.Set(empty) },
			wantSlot: 1, wantFree: 1,
		},
		"a host that is made anew has no assumptions": {
			after:    func(f *Fleet) { f.Delete("host"); f.Set(empty); f.Confirm("host", 0, "a") },
			wantSlot: 0, wantFree: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleetOf(empty)
			if !f.Assume("host", 0, "a") {
				t.Fatal("a free slot can't be assumed")
			}
			tc.after(f)
			expectFullest(t, f, stable, "host", tc.wantSlot)
			expectFree(t, f, stable, tc.wantFree)
		})
	}
}

func TestAssumeRefuses(t *testing.T) {
	f := fleetOf(
		openHost("host", stable, 3, 0, 1),
		closed(openHost("closed", stable, 2, 0)),
		openHost("shrunk", stable, 1, 0, 7),
	)
	if !f.Assume("host", 0, "a") {
		t.Fatal("a free slot can't be assumed")
	}
	if !f.Assume("host", 0, "a") {
		t.Error("the uid that assumed the slot is refused it")
	}
	for name, tc := range map[string]struct {
		host string
		slot int32
	}{
		"assumed for another":     {"host", 0},
		"taken":                   {"host", 1},
		"beyond the capacity":     {"host", 3},
		"below zero":              {"host", -1},
		"host closed":             {"closed", 0},
		"host unknown":            {"nowhere", 0},
		"claims fill it up":       {"shrunk", 0},
		"taken beyond its number": {"shrunk", 7},
	} {
		t.Run(name, func(t *testing.T) {
			if f.Assume(tc.host, tc.slot, "b") {
				t.Errorf("slot %d of %s was given away", tc.slot, tc.host)
			}
		})
	}
	expectFree(t, f, stable, 1)
}

// naive is the fleet's model: it remembers and looks at everything.
type naive struct {
	hosts   map[string]Host
	assumed map[string]map[int32]assumption
}

func (n *naive) taken(host string, slot int32) bool {
	_, assumed := n.assumed[host][slot]
	return assumed || slices.Contains(n.hosts[host].Taken, slot)
}

func (n *naive) free(host string) int32 {
	var free int32
	for slot := range n.hosts[host].Capacity {
		if !n.taken(host, slot) {
			free++
		}
	}
	return free
}

func (n *naive) fullest(key Key) (string, int32) {
	var best string
	for name, h := range n.hosts {
		if h.Key != key || !h.Open || n.free(name) == 0 {
			continue
		}
		if best == "" || n.before(h, n.hosts[best]) {
			best = name
		}
	}
	for slot := range n.hosts[best].Capacity {
		if !n.taken(best, slot) {
			return best, slot
		}
	}
	return "", 0
}

func (n *naive) before(a, b Host) bool {
	if x, y := n.free(a.Name), n.free(b.Name); x != y {
		return x < y
	}
	if !a.Created.Equal(b.Created) {
		return a.Created.Before(b.Created)
	}
	return a.Name < b.Name
}

func (n *naive) freeOf(key Key) int32 {
	var free int32
	for name, h := range n.hosts {
		if h.Key == key && h.Open {
			free += n.free(name)
		}
	}
	return free
}

func (n *naive) set(h Host) {
	n.hosts[h.Name] = h
	for slot, a := range n.assumed[h.Name] {
		a.seen = a.seen || slices.Contains(h.Taken, slot)
		n.assumed[h.Name][slot] = a
	}
}

func (n *naive) settle(host string, slot int32, uid string, confirm bool) {
	a, ok := n.assumed[host][slot]
	if !ok || a.uid != uid {
		return
	}
	delete(n.assumed[host], slot)
	if h := n.hosts[host]; confirm && !a.seen {
		h.Taken = append(slices.Clone(h.Taken), slot)
		n.hosts[host] = h
	}
}

// TestFleetAgainstModel plays random operations against the fleet and a model
// that is too simple to be wrong, and compares all they say.
func TestFleetAgainstModel(t *testing.T) {
	const steps = 20_000
	r := rand.New(rand.NewPCG(1, 2))
	keys := []Key{stable, canary, {Region: "us-west-1", AMI: "stable", Revision: "r1"}}
	f, n := NewFleet(), &naive{hosts: map[string]Host{}, assumed: map[string]map[int32]assumption{}}
	for step := range steps {
		key := keys[r.IntN(len(keys))]
		name := fmt.Sprintf("host-%d", r.IntN(30))
		slot, uid := r.Int32N(4), fmt.Sprintf("uid-%d", r.IntN(4))
		switch op := r.IntN(100); {
		case op < 30:
			h := randomHost(r, name, key)
			f.Set(h)
			n.set(h)
		case op < 33:
			f.Delete(name)
			delete(n.hosts, name)
			delete(n.assumed, name)
		case op < 50:
			f.Confirm(name, slot, uid)
			n.settle(name, slot, uid, true)
		case op < 60:
			f.Forget(name, slot, uid)
			n.settle(name, slot, uid, false)
		default:
			assumeFullest(t, f, n, key, uid)
		}
		for _, key := range keys {
			wantHost, wantSlot := n.fullest(key)
			expectFullest(t, f, key, wantHost, wantSlot)
			expectFree(t, f, key, n.freeOf(key))
		}
		if t.Failed() {
			t.Fatalf("the fleet and its model part at step %d", step)
		}
	}
}

func randomHost(r *rand.Rand, name string, key Key) Host {
	h := openHost(name, key, 1+r.Int32N(4), r.IntN(3))
	h.Open = r.IntN(5) > 0
	for slot := range h.Capacity {
		if r.IntN(3) == 0 {
			h.Taken = append(h.Taken, slot)
		}
	}
	// The model counts slots within the capacity only, so a host never shrinks.
	h.Capacity = 4
	return h
}

// assumeFullest assumes the slot that Fullest names and checks that nobody had it.
func assumeFullest(t *testing.T, f *Fleet, n *naive, key Key, uid string) {
	t.Helper()
	host, slot, ok := f.Fullest(key, "")
	if !ok {
		return
	}
	if slot >= n.hosts[host].Capacity || n.taken(host, slot) {
		t.Fatalf("slot %d of %s is not free", slot, host)
	}
	if !f.Assume(host, slot, uid) {
		t.Fatalf("slot %d of %s can't be assumed", slot, host)
	}
	if n.assumed[host] == nil {
		n.assumed[host] = map[int32]assumption{}
	}
	n.assumed[host][slot] = assumption{uid: uid}
}

// TestNeverTwoInOneSlot lets many goroutines fill a fleet, as workers would that
// decide at the same time.
func TestNeverTwoInOneSlot(t *testing.T) {
	const hosts, capacity, workers = 20, 4, 8
	f := NewFleet()
	for i := range hosts {
		f.Set(openHost(fmt.Sprintf("host-%d", i), stable, capacity, i))
	}
	type place struct {
		host string
		slot int32
	}
	places := make(chan place, hosts*capacity*workers)
	done := make(chan struct{})
	for w := range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := 0; ; i++ {
				host, slot, ok := f.Fullest(stable, "")
				if !ok {
					return
				}
				uid := fmt.Sprintf("uid-%d-%d", w, i)
				if !f.Assume(host, slot, uid) {
					continue
				}
				f.Confirm(host, slot, uid)
				places <- place{host, slot}
			}
		}()
	}
	for range workers {
		<-done
	}
	close(places)
	seen := map[place]bool{}
	for p := range places {
		if seen[p] {
			t.Errorf("slot %d of %s was given twice", p.slot, p.host)
		}
		seen[p] = true
	}
	if len(seen) != hosts*capacity {
		t.Errorf("%d slots were given, want %d", len(seen), hosts*capacity)
	}
}
