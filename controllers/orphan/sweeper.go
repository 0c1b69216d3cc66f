// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package orphan removes what carries our tags in AWS and belongs to nobody: a
// host whose Instance was never written, or is gone, and a task whose Mandelbox is.
//
// It is the net under the launch and claim protocols, which leave such things
// only when the manager dies at certain moments; and it must never be what kills
// a fleet. So an orphan is given a grace time, after which its owner's absence is
// proven by a live list of objects taken after the cloud's list, a host with running
// tasks is drained and not terminated, and a pass that would remove many does nothing
// but say so: an emptied control plane looks just like a fleet of orphans.
package orphan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
)

// Defaults of the Sweeper.
const (
	// DefaultGrace is how long an orphan is left alone after it was seen first.
	DefaultGrace = 5 * time.Minute
	// DefaultInterval is the time between two passes.
	DefaultInterval = 30 * time.Second
	// maxRemoved is how many hosts one pass may remove without being asked, and
	// fleetShare the part of the fleet, whichever is less, but always one. Of tasks,
	// which end by themselves and are many to a host, it is whichever is more.
	maxRemoved = 5
	fleetShare = 10
)

// Sweeper looks for orphans in every open region. It runs on the leader.
type Sweeper struct {
	// Client reads Regions, Instances and Mandelboxes from the cache.
	Client client.Reader
	// Live reads past the cache: only it can prove that an object is absent.
	Live client.Reader
	// Regions are the open regions of the cloud.
	Regions *cloud.Regions
	// Events tells, on the Region, of what was found and removed.
	Events events.EventRecorder
	// Clock is the wall clock.
	Clock clock.WithTicker
	// Grace and Interval default to DefaultGrace and DefaultInterval.
	Grace, Interval time.Duration
	// DryRun reports orphans and removes none.
	DryRun bool
	// Counts are told of orphans found and removed; nil for none.
	Counts *metrics.Counts
	// Regional is fired for a Region when its Refusal changes; nil for nobody.
	Regional *trigger.Trigger

	mu sync.Mutex
	// seen is when each orphan, by its AWS id, was seen first.
	seen map[string]time.Time
	// told is what was told last of each region, and refused why its orphans stay.
	told    map[string]string
	refused map[string]refusal
	// tasks are each region's suspects of the last pass.
	tasks map[string]map[string]bool
}

// NeedLeaderElection says that only the leader sweeps.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// Start sweeps until the context ends.
func (s *Sweeper) Start(ctx context.Context) error {
	if s.Grace == 0 {
		s.Grace = DefaultGrace
	}
	if s.Interval == 0 {
		s.Interval = DefaultInterval
	}
	s.mu.Lock()
	s.seen, s.told, s.refused = map[string]time.Time{}, map[string]string{}, map[string]refusal{}
	s.mu.Unlock()
	log := logr.FromContextOrDiscard(ctx).WithName("orphans")
	ticker := s.Clock.NewTicker(s.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "Looking for orphans; trying again")
		}
	}
}

// inCloud is what a region of the cloud had when it was looked at.
type inCloud struct {
	region *v1alpha1.Region
	open   *cloud.Region
	hosts  []cloud.Host
	tasks  []cloud.Task
}

// sweep makes one pass over every region. It takes the cloud's lists first and those of
// the objects after them, so that whatever was made in between has its object in these.
// What the cache has is owned; what it lacks has its grace, and is then looked for by a
// list past the cache, which for a large fleet is too much to do over and over. Of an
// owner that isn't any more, and that the cache still has, the next pass finds out.
func (s *Sweeper) sweep(ctx context.Context) error {
	var regions v1alpha1.RegionList
	if err := s.Client.List(ctx, &regions); err != nil {
		return fmt.Errorf("listing Regions: %w", err)
	}
	var found []inCloud
	for i := range regions.Items {
		region := &regions.Items[i]
		open, ok := s.Regions.Get(region.Name)
		if !ok || !open.Observer().Synced() || !open.Observer().TasksSynced() {
			continue
		}
		found = append(found, inCloud{region, open, open.Observer().Hosts(), open.Observer().Tasks()})
	}
	owners, err := s.cachedUIDs(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, in := range found {
		if err := s.sweepRegion(ctx, in, owners); err != nil {
			errs = append(errs, fmt.Errorf("region %s: %w", in.region.Name, err))
		}
	}
	return errors.Join(errs...)
}

// sweepRegion removes the orphans of a region whose grace is over. owners are the uids
// of the Mandelboxes that the cache has.
func (s *Sweeper) sweepRegion(ctx context.Context, in inCloud, owners map[string]bool) error {
	region := in.region
	orphans, due, err := s.orphanHosts(ctx, in)
	if err != nil {
		return err
	}
	s.Counts.OrphansFound(region.Name, metrics.OrphanHost, len(orphans.hosts))
	if keepsOrphans(region) {
		return nil
	}
	var errs []error
	if len(due) == 0 {
		s.refuse(region.Name, func(r *refusal) { r.hosts = "" })
	} else {
		// A Region that is being deleted, and whose Instances have all left in order,
		// leaves nothing behind: no person has to agree to that again.
		unasked := !region.DeletionTimestamp.IsZero() && orphans.instances == 0
		errs = append(errs, s.removeHosts(ctx, region, in.open, due, orphans.fleet, unasked))
	}
	errs = append(errs, s.stopTasks(ctx, in, owners))
	return errors.Join(errs...)
}

// keepsOrphans says whether a Region's orphans are counted and nothing else: nothing is
// removed for one that is suspended.
func keepsOrphans(region *v1alpha1.Region) bool {
	return region.Suspended() && region.DeletionTimestamp.IsZero()
}

// hostOrphans are the hosts of a region that no Instance has an intent for, among how
// many hosts and Instances.
type hostOrphans struct {
	hosts            []cloud.Host
	fleet, instances int
}

// orphanHosts returns the region's orphans, and those of them whose grace is over: these
// are proven by a live list.
func (s *Sweeper) orphanHosts(ctx context.Context, in inCloud) (orphans hostOrphans, due []cloud.Host, err error) {
	region := in.region.Name
	var instances v1alpha1.InstanceList
	if err := s.Client.List(ctx, &instances, client.MatchingFields{index.InstanceByRegion: region}, client.UnsafeDisableDeepCopy); err != nil {
		return orphans, nil, fmt.Errorf("listing Instances: %w", err)
	}
	orphans = unowned(in.hosts, instances.Items, in.open.Target())
	if keepsOrphans(in.region) {
		return orphans, nil, nil
	}
	if due = s.due(region, orphans.hosts); len(due) == 0 {
		return orphans, nil, nil
	}
	instances = v1alpha1.InstanceList{}
	if err := s.Live.List(ctx, &instances, client.MatchingFields{"spec.regionName": region}); err != nil {
		return orphans, nil, fmt.Errorf("listing Instances live: %w", err)
	}
	orphans = unowned(in.hosts, instances.Items, in.open.Target())
	return orphans, s.due(region, orphans.hosts), nil
}

// unowned finds the hosts that no Instance has an intent for.
func unowned(hosts []cloud.Host, instances []v1alpha1.Instance, target cloud.Target) hostOrphans {
	orphans := hostOrphans{instances: len(instances)}
	owned := make(map[string]bool, 2*len(instances))
	for i := range instances {
		owned[instances[i].LaunchKey()] = true
		owned[instances[i].Status.InstanceID] = true
	}
	delete(owned, "")
	for _, host := range hosts {
		ours := host.Tags[cloud.TagCluster] == target.ClusterID && host.Tags[cloud.TagRegion] == target.Region
		if !ours || host.State.Gone() {
			continue
		}
		orphans.fleet++
		if !owned[v1alpha1.LaunchKey(host.Token, host.Index)] && !owned[host.InstanceID] {
			orphans.hosts = append(orphans.hosts, host)
		}
	}
	return orphans
}

// due returns the orphans whose grace is over, and forgets those of the region
// that are orphans no more.
func (s *Sweeper) due(region string, orphans []cloud.Host) []cloud.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Clock.Now()
	still := map[string]bool{}
	var due []cloud.Host
	for _, host := range orphans {
		key := region + "/" + host.InstanceID
		still[key] = true
		if _, known := s.seen[key]; !known {
			s.seen[key] = now
		}
		if now.Sub(s.seen[key]) >= s.Grace {
			due = append(due, host)
		}
	}
	for key := range s.seen {
		if strings.HasPrefix(key, region+"/") && !still[key] {
			delete(s.seen, key)
		}
	}
	if len(due) == 0 {
		delete(s.told, region)
	}
	return due
}

// removeHosts terminates orphans, and drains those that have running tasks; or
// does nothing, and has the Region say why, when they are many.
func (s *Sweeper) removeHosts(ctx context.Context, region *v1alpha1.Region, open *cloud.Region, due []cloud.Host, fleet int, unasked bool) error {
	if s.DryRun {
		s.tell(region, "OrphansFound", fmt.Sprintf("%d hosts belong to no Instance: %s. Nothing is done about them (--orphans-dry-run).", len(due), idsOf(due)))
		return nil
	}
	if allowed := max(1, min(maxRemoved, fleet/fleetShare)); !unasked && len(due) > allowed && allowedBy(region) < len(due) {
		s.refuse(region.Name, func(r *refusal) {
			r.hosts = fmt.Sprintf(
				"%d of %d hosts belong to no Instance, and at most %d are removed at a time unasked: %s. If they are to go, annotate the Region with %s=%d; if the Instances were lost, restore them",
				len(due), fleet, allowed, idsOf(due), v1alpha1.AnnotationRemoveOrphans, len(due))
		})
		return nil
	}
	s.refuse(region.Name, func(r *refusal) { r.hosts = "" })
	var errs []error
	for _, host := range due {
		errs = append(errs, s.removeHost(ctx, region, open, host))
	}
	return errors.Join(errs...)
}

// allowedBy is how many orphans the Region's annotation lets go at once.
func allowedBy(region *v1alpha1.Region) int {
	n, err := strconv.Atoi(region.Annotations[v1alpha1.AnnotationRemoveOrphans])
	if err != nil {
		return 0
	}
	return n
}

func (s *Sweeper) removeHost(ctx context.Context, region *v1alpha1.Region, open *cloud.Region, host cloud.Host) error {
	member, registered := open.Observer().ContainerHost(host.InstanceID)
	if registered && member.RunningTasks+member.PendingTasks > 0 {
		if member.Status != cloud.ContainerHostActive {
			return nil
		}
		s.Events.Eventf(region, nil, corev1.EventTypeWarning, "OrphanDrained", "Drain",
			"Host %s belongs to no Instance and has running tasks: it is drained, and terminated when they have ended", host.InstanceID)
		if err := open.API().DrainHosts(ctx, []string{member.ARN}); err != nil {
			return fmt.Errorf("draining orphan %s: %w", host.InstanceID, err)
		}
		return nil
	}
	s.Events.Eventf(region, nil, corev1.EventTypeWarning, "OrphanTerminated", "Terminate",
		"Host %s belongs to no Instance: it is terminated", host.InstanceID)
	if err := open.API().TerminateHost(ctx, host.InstanceID); err != nil {
		return fmt.Errorf("terminating orphan %s: %w", host.InstanceID, err)
	}
	s.Counts.OrphanRemoved(region.Name, metrics.OrphanHost)
	return nil
}

// refusal is why orphans of a region stay where they are; empty for those that don't.
type refusal struct{ hosts, tasks string }

// refuse keeps why the region's orphans stay, which its Region then says.
func (s *Sweeper) refuse(region string, change func(*refusal)) {
	s.mu.Lock()
	before := s.refused[region]
	after := before
	change(&after)
	s.refused[region] = after
	s.mu.Unlock()
	if before != after && s.Regional != nil {
		s.Regional.FireName(region)
	}
}

// Refusal says why orphans of the region are left where they are, until a person
// agrees to their end; "" if none are.
func (s *Sweeper) Refusal(region string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.refused[region]
	if r.hosts != "" && r.tasks != "" {
		return r.hosts + ". " + r.tasks
	}
	return r.hosts + r.tasks
}

// tell records an Event on the Region once for each state of things.
func (s *Sweeper) tell(region *v1alpha1.Region, reason, message string) {
	s.mu.Lock()
	before := s.told[region.Name]
	s.told[region.Name] = message
	s.mu.Unlock()
	if before != message {
		s.Events.Eventf(region, nil, corev1.EventTypeWarning, reason, "RemoveOrphans", "%s", message)
	}
}

func idsOf(hosts []cloud.Host) string {
	ids := make([]string, 0, len(hosts))
	for _, host := range hosts {
		ids = append(ids, host.InstanceID)
	}
	slices.Sort(ids)
	if len(ids) > maxRemoved {
		return strings.Join(ids[:maxRemoved], ", ") + ", …"
	}
	return strings.Join(ids, ", ")
}
