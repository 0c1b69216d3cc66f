// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// shortageMemory is how long a type that a zone didn't have isn't asked for there;
// each time that it still hasn't any, twice as long, up to maxShortageMemory.
const (
	shortageMemory    = 3 * time.Minute
	maxShortageMemory = 24 * time.Minute
)

// choice is what a host is asked of EC2 as.
type choice struct {
	instanceType, subnet string
	// spot says that it is asked for as spot, where AWS keeps shortages of its own.
	spot bool
}

// shortage remembers what was not to be had.
type shortage map[choice]lack

// lack is until when a choice isn't asked for, and for how long it wasn't.
type lack struct {
	until  time.Time
	memory time.Duration
}

func choiceOf(launch cloud.Launch) choice {
	return choice{instanceType: launch.InstanceType, subnet: launch.SubnetID, spot: launch.Spot}
}

// note remembers that a launch was refused. Of hosts that were asked for at the
// same time, each refusal is the same.
func (s shortage) note(launch cloud.Launch, now time.Time) {
	last, known := s[choiceOf(launch)]
	memory := shortageMemory
	switch {
	case known && now.Before(last.until):
		return
	case known && now.Before(last.until.Add(last.memory)):
		memory = min(2*last.memory, maxShortageMemory)
	}
	s[choiceOf(launch)] = lack{until: now.Add(memory), memory: memory}
}

// had forgets a shortage that is over.
func (s shortage) had(launch cloud.Launch) { delete(s, choiceOf(launch)) }

// choose takes the first type, in order of preference, that some subnet has; hosts
// are spread over the subnets by the number in their names. Where spot is asked
// for, on-demand follows once no subnet has any of the types as spot. What an
// intent was written for stays as it is until it is refused; wait is how long
// there is nothing to ask for.
func (l *Launcher) choose(i *v1alpha1.Instance, subnets []cloud.Subnet, spot bool, now time.Time) (pick choice, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i.Status.Launch != nil && !l.refused(i) {
		pick = choice{instanceType: i.Status.InstanceType, subnet: i.Status.SubnetID, spot: spot}
		// If the manager was restarted in between, the token may have been for the
		// other market: then EC2 names a mismatch, and its hosts are adopted.
		pick.spot = spot && !now.Before(l.shortage[pick].until)
		return pick, 0
	}
	subnets = slices.SortedFunc(slices.Values(subnets), func(a, b cloud.Subnet) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ID, b.ID))
	})
	start := spread(i.Name) % len(subnets)
	for _, pick := range choices(i.Spec.InstanceTypes, subnets, start, spot) {
		left := l.shortage[pick].until.Sub(now)
		if left <= 0 {
			return pick, 0
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return choice{}, wait
}

// choices are all there are, the preferred one first.
func choices(types []string, subnets []cloud.Subnet, start int, spot bool) []choice {
	markets := []bool{false}
	if spot {
		markets = []bool{true, false}
	}
	var all []choice
	for _, market := range markets {
		for _, instanceType := range types {
			for n := range subnets {
				all = append(all, choice{instanceType, subnets[(start+n)%len(subnets)].ID, market})
			}
		}
	}
	return all
}

// spread is the number that an Instance's name ends in, or a hash of a name that
// ends in none.
func spread(name string) int {
	digits := name[strings.LastIndexByte(name, '-')+1:]
	if n, err := strconv.Atoi(digits); err == nil && n >= 0 {
		return n
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // A hash never fails to be written to.
	return int(h.Sum32() & 0x7fffffff)
}
