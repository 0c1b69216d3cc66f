// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

func (f *fleet) hostCounts() map[place]*hostCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[place]*hostCount{}
	for _, h := range f.hosts {
		key := place{h.object.Spec.ClientCommitHash, h.object.Spec.RegionName}
		if counts[key] == nil {
			counts[key] = &hostCount{phases: map[string]int{}}
		}
		c := counts[key]
		c.phases[orNew(string(h.object.Status.Phase))]++
		if h.object.Status.Capacity != nil {
			c.taken += int32(len(h.object.Status.Claims))
			c.capacity += *h.object.Status.Capacity
		}
	}
	return counts
}

func (f *fleet) channel(name string) *v1alpha1.AMI {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.channels[name]
}

// hostsOf counts the hosts of a commit hash: those that ever came, and of them
// those that are gone.
func (f *fleet) hostsOf(commit string) (came, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	came = f.left[commit]
	for _, h := range f.hosts {
		if h.object.Spec.ClientCommitHash == commit {
			came++
		}
	}
	return came, f.left[commit]
}

// sessionsOn are the names of the sessions that hosts of a commit hash have.
func (f *fleet) sessionsOn(commit string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(f.sessions)) {
		h, ok := f.hosts[f.sessions[name].object.Status.InstanceName]
		if ok && h.object.Spec.ClientCommitHash == commit {
			names = append(names, name)
		}
	}
	return names
}

// unsettled says which hosts are not yet as they should be once a release was
// replaced and its guests have left: of the old release only hosts that drain and
// have a session, all others Active.
func (f *fleet) unsettled(old string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	busy := map[string]bool{}
	for _, s := range f.sessions {
		if s.object.DeletionTimestamp == nil {
			busy[s.object.Status.InstanceName] = true
		}
	}
	var unsettled []string
	for _, name := range slices.Sorted(maps.Keys(f.hosts)) {
		o, want := f.hosts[name].object, v1alpha1.InstanceActive
		if o.Spec.ClientCommitHash == old {
			want = v1alpha1.InstanceDraining
		}
		if o.Status.Phase != want || want == v1alpha1.InstanceDraining && !busy[name] {
			unsettled = append(unsettled, fmt.Sprintf("host %s is %s: %s", name, orNew(string(o.Status.Phase)), why(o.Status.Conditions, v1alpha1.ConditionReady)))
		}
	}
	return unsettled
}

// course is when a session first ran, whether it exists, and whether it ended, or
// stopped running, without having been deleted.
func (f *fleet) course(name string) (ran time.Time, exists, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, lost = f.lost[name]
	if s, ok := f.sessions[name]; ok {
		return s.reached, true, lost
	}
	return time.Time{}, false, lost
}
