// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/checker/local"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// lookInterval is the time between two looks at the cloud.
const lookInterval = 25 * time.Millisecond

// view is what there is: the newest version of each object, by kind and name, and
// what runs in the cloud.
type view struct {
	sessions map[string]*v1alpha1.Mandelbox
	hosts    map[string]*v1alpha1.Instance
	channels map[string]*v1alpha1.AMI
	regions  map[string]*v1alpha1.Region
	cloud    awsemu.Observation
}

// clone is a copy that doesn't change; its objects are shared, and never changed.
func (v view) clone() view {
	v.sessions, v.hosts = maps.Clone(v.sessions), maps.Clone(v.hosts)
	v.channels, v.regions = maps.Clone(v.channels), maps.Clone(v.regions)
	return v
}

// phase is that of a session; empty if there is none of this name.
func (v view) phase(session string) v1alpha1.MandelboxPhase {
	if m := v.sessions[session]; m != nil {
		return m.Status.Phase
	}
	return ""
}

// take takes in a version of an object.
func (v view) take(version checker.Version) {
	switch o := version.Object.(type) {
	case *v1alpha1.Mandelbox:
		keep(v.sessions, o, version.Deleted)
	case *v1alpha1.Instance:
		keep(v.hosts, o, version.Deleted)
	case *v1alpha1.AMI:
		keep(v.channels, o, version.Deleted)
	case *v1alpha1.Region:
		keep(v.regions, o, version.Deleted)
	}
}

func keep[O client.Object](objects map[string]O, o O, deleted bool) {
	if objects[o.GetName()] = o; deleted {
		delete(objects, o.GetName())
	}
}

// observer follows a trial: it feeds the checker, and keeps what there is and what
// there ever was.
type observer struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	err     error
	now     view
	version uint64
	// launches are the launch keys that Instances ever had, each with the uids of
	// those Instances.
	launches map[string][]string
	// claimed are the tasks' ARNs whose slot was seen to be held, and met the uids of
	// all sessions that there ever were.
	claimed, met map[string]bool
	// early are the tasks that went on when their slot or their Mandelbox was gone.
	early map[string]string
	// changed is closed when there is something new.
	changed chan struct{}
}

// observe follows a lane's objects and what runs in its AWS.
func observe(api client.WithWatch, aws func() awsemu.Observation, c *checker.Checker) *observer {
	ctx, cancel := context.WithCancel(context.Background())
	o := &observer{
		cancel: cancel, done: make(chan struct{}), launches: map[string][]string{},
		claimed: map[string]bool{}, met: map[string]bool{}, early: map[string]string{}, changed: make(chan struct{}),
		now: view{
			sessions: map[string]*v1alpha1.Mandelbox{}, hosts: map[string]*v1alpha1.Instance{},
			channels: map[string]*v1alpha1.AMI{}, regions: map[string]*v1alpha1.Region{},
		},
	}
	versions := make(chan checker.Version, 1024)
	followed := make(chan error, 1)
	go func() { followed <- checker.Follow(ctx, api, versions) }()
	go o.run(aws, c, versions, followed)
	return o
}

func (o *observer) run(aws func() awsemu.Observation, c *checker.Checker, versions <-chan checker.Version, followed <-chan error) {
	defer close(o.done)
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		var batch []checker.Version
		select {
		case err := <-followed:
			o.mu.Lock()
			o.err = err
			o.mu.Unlock()
			return
		case <-ticker.C:
		case first := <-versions:
			batch = append(batch, first)
		}
		for more := true; more; {
			select {
			case next := <-versions:
				batch = append(batch, next)
			default:
				more = false
			}
		}
		// What the versions say must have been so in the cloud before.
		seen := aws()
		now := time.Now()
		c.Cloud(now, local.Observation(seen))
		for _, v := range batch {
			c.Version(now, v)
		}
		o.take(batch, seen)
	}
}

func (o *observer) take(batch []checker.Version, seen awsemu.Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now.cloud = seen
	for _, v := range batch {
		o.now.take(v)
		// The checker has told of versions that are no numbers.
		if n, err := strconv.ParseUint(v.Object.GetResourceVersion(), 10, 64); err == nil {
			o.version = max(o.version, n)
		}
		if i, ok := v.Object.(*v1alpha1.Instance); ok && i.LaunchKey() != "" {
			if uid := string(i.UID); !slices.Contains(o.launches[i.LaunchKey()], uid) {
				o.launches[i.LaunchKey()] = append(o.launches[i.LaunchKey()], uid)
			}
		}
	}
	o.holdTasks()
	close(o.changed)
	o.changed = make(chan struct{})
}

// look is what there is now, and what is closed when there is something new.
func (o *observer) look() (v view, changed <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now.clone(), o.changed, o.err
}

// latest is the newest resource version that was seen.
func (o *observer) latest() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strconv.FormatUint(o.version, 10)
}

// stop ends it, and returns why it couldn't see everything.
func (o *observer) stop() error {
	o.cancel()
	<-o.done
	return o.err
}

// runs says whether a task is to run.
func runs(t awsemu.ObservedTask) bool {
	return t.LastStatus != cloud.TaskStopped && t.Desired != cloud.TaskStopped
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// lines joins what is sorted.
func lines(all []string) string {
	slices.Sort(all)
	return strings.Join(all, "\n")
}
