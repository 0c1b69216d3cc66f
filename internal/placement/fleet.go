// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/google/btree"
)

// treeDegree is the fan-out of the index: wide enough that a hundred thousand
// hosts are four levels deep.
const treeDegree = 32

// Host is a host as the fleet sees it.
type Host struct {
	// Name of the Instance.
	Name string
	// Key is what the host offers.
	Key Key
	// CommitHash is the client build that the host's image was made for.
	CommitHash string
	// Capacity is the number of its slots, which are numbered from 0.
	Capacity int32
	// Open says that the host takes new sessions: Active, neither draining nor deleted.
	Open bool
	// Taken are the numbers of the slots that have a claim, in any order.
	Taken []int32
	// Created is when the Instance was created.
	Created time.Time
}

// Fleet holds the free slots of all hosts, indexed by Key and fullness. Every
// operation on one host takes time in the logarithm of the number of hosts. It
// may be used by several goroutines at once.
type Fleet struct {
	mu sync.Mutex
	// hosts are all hosts by name, open or not.
	hosts map[string]*member
	// shelves index the open hosts that have a free slot, by region first, since
	// some questions are about a whole region. Empty shelves are removed.
	shelves map[string]map[Key]*shelf
}

// shelf holds the open hosts of one Key that have a free slot, fullest first.
type shelf struct {
	hosts *btree.BTreeG[*member]
	free  int32
}

// member is a host in the fleet. While it is on a shelf its free count must not
// change, since the shelf is ordered by it.
type member struct {
	Host
	// assumed are the slots for which a claim is being written.
	assumed map[int32]assumption
	// free is the number of slots that are neither taken nor assumed.
	free int32
}

// assumption is a claim that is being written.
type assumption struct {
	uid string
	// seen says that an observation had the slot taken since, so that the
	// observations that follow it know more than the assumption does.
	seen bool
}

// NewFleet returns a fleet without hosts.
func NewFleet() *Fleet {
	return &Fleet{hosts: map[string]*member{}, shelves: map[string]map[Key]*shelf{}}
}

// Set inserts the host, or replaces what was observed of it before. A slot that
// is assumed stays taken even if the observation has it free, since it may be
// older than the claim that is being written.
func (f *Fleet) Set(h Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, known := f.hosts[h.Name]
	if known {
		f.unshelve(m)
	} else {
		m = &member{}
		f.hosts[h.Name] = m
	}
	m.Host = h
	m.Taken = slices.Clone(h.Taken)
	slices.Sort(m.Taken)
	m.Taken = slices.Compact(m.Taken)
	for slot, a := range m.assumed {
		if _, taken := slices.BinarySearch(m.Taken, slot); taken {
			a.seen = true
			m.assumed[slot] = a
		}
	}
	f.shelve(m)
}

// Delete removes the host and whatever was assumed of it.
func (f *Fleet) Delete(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m, known := f.hosts[name]; known {
		f.unshelve(m)
		delete(f.hosts, name)
	}
}

// Assume takes the slot for the Mandelbox uid from now on, whatever Set says,
// until Confirm or Forget. It returns false, and takes nothing, when the slot is
// not free for uid any more: the host is gone or no longer open, the slot is
// beyond its capacity, taken, or assumed for another uid. The caller then
// decides anew.
func (f *Fleet) Assume(host string, slot int32, uid string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, known := f.hosts[host]
	if !known {
		return false
	}
	if a, assumed := m.assumed[slot]; assumed {
		return a.uid == uid
	}
	if !m.Open || slot < 0 || slot >= m.Capacity || m.free == 0 || m.isTaken(slot) {
		return false
	}
	f.unshelve(m)
	if m.assumed == nil {
		m.assumed = map[int32]assumption{}
	}
	m.assumed[slot] = assumption{uid: uid}
	f.shelve(m)
	return true
}

// Confirm ends an assumption whose claim is written: the slot is taken, and from
// now on what Set says counts. It does nothing when the slot isn't assumed for uid.
func (f *Fleet) Confirm(host string, slot int32, uid string) {
	f.settle(host, slot, uid, func(m *member, a assumption) {
		// An observation that had the claim may have been followed by one in which
		// the session had left again; what was observed last then stands.
		if a.seen {
			return
		}
		if at, taken := slices.BinarySearch(m.Taken, slot); !taken {
			m.Taken = slices.Insert(m.Taken, at, slot)
		}
	})
}

// Forget ends an assumption whose claim could not be written: what Set said last
// counts. It does nothing when the slot isn't assumed for uid.
func (f *Fleet) Forget(host string, slot int32, uid string) {
	f.settle(host, slot, uid, func(*member, assumption) {})
}

// settle removes an assumption and lets the caller say what becomes of the slot.
func (f *Fleet) settle(host string, slot int32, uid string, then func(*member, assumption)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, known := f.hosts[host]
	if !known {
		return
	}
	a, assumed := m.assumed[slot]
	if !assumed || a.uid != uid {
		return
	}
	f.unshelve(m)
	delete(m.assumed, slot)
	then(m, a)
	f.shelve(m)
}

// Fullest finds the open host of the key that has the fewest free slots but at
// least one, so that empty hosts stay empty and can leave; among equals the
// oldest, then the first by name. The host named by avoid is passed over. The
// slot is the lowest free one. It takes nothing: Assume does.
func (f *Fleet) Fullest(key Key, avoid string) (host string, slot int32, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shelves[key.Region][key]
	if s == nil {
		return "", 0, false
	}
	var fullest *member
	s.hosts.Ascend(func(m *member) bool {
		if m.Name != avoid {
			fullest = m
		}
		return fullest == nil
	})
	if fullest == nil {
		return "", 0, false
	}
	return fullest.Name, fullest.lowestFree(), true
}

// Free is the number of free slots on the open hosts of the key.
func (f *Fleet) Free(key Key) int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.shelves[key.Region][key]; s != nil {
		return s.free
	}
	return 0
}

// FreeElsewhere says whether an open host of the region has a free slot under a
// key for which not returns false. It looks at each key of the region at most once.
func (f *Fleet) FreeElsewhere(region string, not func(Key) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.shelves[region] {
		if !not(key) {
			return true
		}
	}
	return false
}

// shelve counts the host's free slots and, if it can take a session, indexes it.
func (f *Fleet) shelve(m *member) {
	m.free = m.countFree()
	if !m.Open || m.free == 0 {
		return
	}
	region := f.shelves[m.Key.Region]
	if region == nil {
		region = map[Key]*shelf{}
		f.shelves[m.Key.Region] = region
	}
	s := region[m.Key]
	if s == nil {
		s = &shelf{hosts: btree.NewG(treeDegree, fuller)}
		region[m.Key] = s
	}
	s.hosts.ReplaceOrInsert(m)
	s.free += m.free
}

// unshelve takes the host out of the index; it must precede any change of it.
func (f *Fleet) unshelve(m *member) {
	region := f.shelves[m.Key.Region]
	s := region[m.Key]
	if s == nil {
		return
	}
	if _, shelved := s.hosts.Delete(m); !shelved {
		return
	}
	s.free -= m.free
	if s.hosts.Len() > 0 {
		return
	}
	delete(region, m.Key)
	if len(region) == 0 {
		delete(f.shelves, m.Key.Region)
	}
}

// fuller orders hosts by free slots, then age, then name.
func fuller(a, b *member) bool {
	return cmp.Or(
		cmp.Compare(a.free, b.free),
		a.Created.Compare(b.Created),
		cmp.Compare(a.Name, b.Name),
	) < 0
}

// countFree counts claims, not slots: a host that registered less room than it
// once had may hold claims beyond its capacity, and they need the room too.
func (m *member) countFree() int32 {
	used := len(m.Taken)
	for slot := range m.assumed {
		if _, taken := slices.BinarySearch(m.Taken, slot); !taken {
			used++
		}
	}
	return max(0, m.Capacity-int32(used))
}

// lowestFree is the lowest free slot. It is only asked of hosts that have one.
func (m *member) lowestFree() int32 {
	var slot int32
	for m.isTaken(slot) {
		slot++
	}
	return slot
}

func (m *member) isTaken(slot int32) bool {
	if _, taken := slices.BinarySearch(m.Taken, slot); taken {
		return true
	}
	_, assumed := m.assumed[slot]
	return assumed
}
