// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
	"github.com/mandelbox/mandelbox-operator/internal/scaling"
)

// scope holds the facts of one reconcile.
type scope struct {
	// before is the Region as it was last read or written; region has what the
	// steps change.
	before, region *v1alpha1.Region
	now            time.Time

	// amis and hosts are shared with the cache and must not be changed. hosts are
	// all Instances of the region.
	amis  []v1alpha1.AMI
	hosts []v1alpha1.Instance
	// releases are those that are active or warming here.
	releases map[census.Release]release
	counts   map[census.Release]census.Count
	total    census.Count
	pending  map[placement.Key]int32
	// promised are slots that are given but that hosts may not show as claimed yet.
	promised map[string][]placement.Promise

	// open is nil until the region is.
	open    *cloud.Region
	catalog cloud.Catalog
	// eventsReceived and eventsErr say how the region's event queue stands.
	eventsReceived bool
	eventsErr      error
	// subnets and securityGroups are ids; clusterARN is that of the ECS cluster.
	subnets        []string
	securityGroups []string
	clusterARN     string

	// parameters is the hash of the launch parameters of the next host.
	parameters string
	// schedules are the names of those in force.
	schedules []string
	// records are what became of the last hosts of each release, and neverActive why
	// one is launched no more.
	records     []v1alpha1.LaunchRecord
	neverActive map[census.Release]string

	// plan is what should be launched, decided says that this reconcile wrote so, and
	// launched is how many hosts were.
	plan     scaling.UpPlan
	decided  bool
	launched int
	// surplusSince is since when there is a host too many; left names those that
	// were told to leave.
	surplusSince time.Time
	left         []string

	// lookAgain is when to reconcile without being woken; 0 for not at all.
	lookAgain time.Duration
	// stale says that the object must be read anew before anything else is done.
	stale bool
	// gone says that the Region exists no more.
	gone bool
}

// release is a release of a channel that wants hosts in the region.
type release struct {
	ami      *v1alpha1.AMI
	revision *v1alpha1.Revision
	row      *v1alpha1.RevisionRegion
	// active says that new Mandelboxes go there; otherwise it is warming.
	active bool
}

func (r *Reconciler) newScope(ctx context.Context, region *v1alpha1.Region) (*scope, error) {
	var amis v1alpha1.AMIList
	if err := r.List(ctx, &amis, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing AMIs: %w", err)
	}
	// Before the hosts are listed: what has been promised and shows by then is no
	// longer counted as promised, and nothing is missed in between.
	var demand placement.Demand
	if r.Demand != nil {
		demand = r.Demand.Demand(region.Name)
	}
	var hosts v1alpha1.InstanceList
	if err := r.List(ctx, &hosts, client.MatchingFields{index.InstanceByRegion: region.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Instances of Region %s: %w", region.Name, err)
	}
	s := &scope{
		before: region.DeepCopy(), region: region, now: r.Clock.Now(),
		amis: amis.Items, hosts: hosts.Items,
		releases: releasesIn(region.Name, amis.Items),
		pending:  demand.Pending, promised: demand.Promised,
	}
	parameters, err := launchParameters(&region.Spec)
	if err != nil {
		return nil, fmt.Errorf("reading the launch parameters of Region %s: %w", region.Name, err)
	}
	s.parameters = parameters
	s.count()
	return s, nil
}

// releasesIn returns the active and the warming releases of a region. An AMI that
// is being deleted has none, so that its hosts leave.
func releasesIn(region string, amis []v1alpha1.AMI) map[census.Release]release {
	releases := map[census.Release]release{}
	for i := range amis {
		ami := &amis[i]
		if !ami.DeletionTimestamp.IsZero() {
			continue
		}
		for j := range ami.Status.Revisions {
			revision := &ami.Status.Revisions[j]
			row := revision.Row(region)
			serving := ami.ActiveRevisionIn(region)
			active := serving != nil && serving.Name == revision.Name
			if row == nil || !active && revision.State != v1alpha1.RevisionWarming {
				continue
			}
			key := census.Release{Region: region, AMI: ami.Name, Revision: row.ID}
			if known, ok := releases[key]; ok && known.active {
				continue // A region that the coming release doesn't change needs no buffer for it.
			}
			releases[key] = release{ami: ami, revision: revision, row: row, active: active}
		}
	}
	return releases
}

// count takes the census; the catalogue, once it is there, tells how much room is
// on its way.
func (s *scope) count() {
	s.counts = census.Take(s.hosts, func(of census.Release) int32 {
		slots, _ := s.slotsPerHost(s.releases[of])
		return slots
	})
	for i := range s.hosts {
		if promised := s.promisedOf(&s.hosts[i]); promised > 0 {
			of := census.ReleaseOf(&s.hosts[i])
			s.counts[of] = s.counts[of].Promise(promised)
		}
	}
	s.total = census.Count{}
	for _, c := range s.counts {
		s.total = s.total.Plus(c)
	}
}

// promisedOf is how many free slots of a host are promised to sessions.
func (s *scope) promisedOf(host *v1alpha1.Instance) int32 {
	var n int32
	for _, p := range s.promised[host.Name] {
		if !host.Holds(p.UID, p.Attempt) {
			n++
		}
	}
	return min(n, host.FreeSlots())
}

// free is the number of free slots of active releases.
func (s *scope) free() int32 {
	var free int32
	for key, release := range s.releases {
		if release.active {
			free += s.counts[key].Free
		}
	}
	return free
}

// waiting is the number of Mandelboxes that wait for room in the region.
func (s *scope) waiting() int32 {
	var waiting int32
	for _, n := range s.pending {
		waiting += n
	}
	return waiting
}

func (s *scope) keyOf(of release) census.Release {
	return census.Release{Region: s.region.Name, AMI: of.ami.Name, Revision: of.row.ID}
}

// keys are the releases in the order of their channels' names.
func (s *scope) keys() []census.Release {
	return slices.SortedFunc(maps.Keys(s.releases), func(a, b census.Release) int {
		return strings.Compare(a.AMI+"/"+a.Revision, b.AMI+"/"+b.Revision)
	})
}
