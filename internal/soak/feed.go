// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"sync"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/checker/local"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// lookInterval is the time between two looks at the cloud.
const lookInterval = 50 * time.Millisecond

// feed feeds a checker with every version of every object and with what runs in
// the local AWS, and counts what it sees.
type feed struct {
	world   *world
	checker *checker.Checker
	cancel  context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	err   error
	cloud awsemu.Observation
	// changed is when the last version of any object was seen.
	changed time.Time
	objects seen
}

// seen is what the API server has and had.
type seen struct {
	phases map[string]v1alpha1.MandelboxPhase // by uid, of those that exist
	hosts  map[string]v1alpha1.InstancePhase  // by name, of those that exist
	active map[string]string                  // active revision by channel

	created, finished, swaps int
	ran                      map[string]bool // by uid
}

// startFeed follows the world until the feed is stopped.
func startFeed(w *world, c *checker.Checker) *feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{
		world: w, checker: c, cancel: cancel, done: make(chan struct{}), changed: time.Now(),
		objects: seen{
			phases: map[string]v1alpha1.MandelboxPhase{}, hosts: map[string]v1alpha1.InstancePhase{},
			active: map[string]string{}, ran: map[string]bool{},
		},
	}
	versions := make(chan checker.Version, 1024)
	followed := make(chan error, 1)
	go func() { followed <- checker.Follow(ctx, w.api, versions) }()
	go f.run(versions, followed)
	return f
}

// stop ends the feed and returns what went wrong with it.
func (f *feed) stop() error {
	f.cancel()
	<-f.done
	return f.failure()
}

// failure is why the feed can't see everything any more; nil as long as it does.
func (f *feed) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *feed) run(versions <-chan checker.Version, followed <-chan error) {
	defer close(f.done)
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-followed:
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
			return
		case <-ticker.C:
			f.look(drain(versions))
		case first := <-versions:
			f.look(append([]checker.Version{first}, drain(versions)...))
		}
	}
}

func drain(versions <-chan checker.Version) []checker.Version {
	var batch []checker.Version
	for {
		select {
		case v := <-versions:
			batch = append(batch, v)
		default:
			return batch
		}
	}
}

// look takes the versions that have come, and what runs after they had.
func (f *feed) look(batch []checker.Version) {
	observation := f.world.aws.Observe()
	now := time.Now()
	f.checker.Cloud(now, local.Observation(observation))
	for _, v := range batch {
		f.checker.Version(now, v)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cloud = observation
	if len(batch) > 0 {
		f.changed = now
	}
	for _, v := range batch {
		f.objects.take(v)
	}
}

// take counts a version.
func (s *seen) take(v checker.Version) {
	switch o := v.Object.(type) {
	case *v1alpha1.Mandelbox:
		uid := string(o.UID)
		before, known := s.phases[uid]
		if !known {
			s.created++
		}
		if o.Status.Phase == v1alpha1.MandelboxRunning {
			s.ran[uid] = true
		}
		if o.Finished() && before != v1alpha1.MandelboxFinished || v.Deleted && !o.Finished() {
			s.finished++
		}
		if s.phases[uid] = o.Status.Phase; v.Deleted {
			delete(s.phases, uid)
		}
	case *v1alpha1.Instance:
		if s.hosts[o.Name] = o.Status.Phase; v.Deleted {
			delete(s.hosts, o.Name)
		}
	case *v1alpha1.AMI:
		if before := s.active[o.Name]; before != "" && before != o.Status.ActiveRevision {
			s.swaps++
		}
		s.active[o.Name] = o.Status.ActiveRevision
	}
}

// count is how many of a map's values are a phase.
func count[K comparable, P comparable](phases map[K]P, phase P) int {
	n := 0
	for _, p := range phases {
		if p == phase {
			n++
		}
	}
	return n
}

// runningTask finds the running task of a Mandelbox, by its uid.
func (f *feed) runningTask(uid string) (awsemu.ObservedTask, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.cloud.Tasks {
		if owner, _, ok := cloud.ParseStartedBy(t.StartedBy); ok && owner == uid && t.LastStatus == cloud.TaskRunning && t.Desired == cloud.TaskRunning {
			return t, true
		}
	}
	return awsemu.ObservedTask{}, false
}

// liveHosts are the ids of a region's hosts that are pending or running, with an
// agent if that is asked for.
func (f *feed) liveHosts(region string, registered bool) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, h := range f.cloud.Hosts {
		if h.Region == region && local.Live(h) && (!registered || h.AgentConnected) {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// silence is for how long no object has changed.
func (f *feed) silence() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.changed)
}
