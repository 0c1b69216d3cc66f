// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package orphan removes what carries our tags in AWS and belongs to nobody: a
// host whose Instance was never written, or is gone, and a task whose Mandelbox is.
//
// It is the net under the launch and claim protocols, which leave such things
// only when the manager dies at certain moments; and it must never be what kills
// a fleet. So absence is proven by a live list of objects taken after the cloud's
// list, an orphan is given a grace time, a host with running tasks is drained and
// not terminated, and a pass that would remove many does nothing but say so: an
// emptied control plane looks just like a fleet of orphans.
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
	"github.com/mandelbox/mandelbox-operator/controllers/index"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
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
	// Client reads Regions from the cache.
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

// sweep makes one pass over every region.
func (s *Sweeper) sweep(ctx context.Context) error {
	var regions v1alpha1.RegionList
	if err := s.Client.List(ctx, &regions); err != nil {
		return fmt.Errorf("listing Regions: %w", err)
	}
	var errs []error
	for i := range regions.Items {
		region := &regions.Items[i]
		open, ok := s.Regions.Get(region.Name)
		if !ok || !open.Observer().Synced() || !open.Observer().TasksSynced() {
			continue
		}
		if err := s.sweepRegion(ctx, region, open); err != nil {
			errs = append(errs, fmt.Errorf("region %s: %w", region.Name, err))
		}
	}
	return errors.Join(errs...)
}

// sweepRegion takes the cloud's list first and the list of objects after it, so that
// whatever was made in between has its object in the second. What the cache has is
// owned; only for what it lacks are the objects listed live, which for a large fleet
// is too much to do over and over.
func (s *Sweeper) sweepRegion(ctx context.Context, region *v1alpha1.Region, open *cloud.Region) error {
	hosts, tasks := open.Observer().Hosts(), open.Observer().Tasks()
	var instances v1alpha1.InstanceList
	if err := s.Client.List(ctx, &instances, client.MatchingFields{index.InstanceByRegion: region.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing Instances: %w", err)
	}
	orphans, fleet := unowned(hosts, instances.Items, open.Target())
	if len(orphans) > 0 {
		instances = v1alpha1.InstanceList{}
		if err := s.Live.List(ctx, &instances, client.MatchingFields{"spec.regionName": region.Name}); err != nil {
			return fmt.Errorf("listing Instances live: %w", err)
		}
		orphans, fleet = unowned(hosts, instances.Items, open.Target())
	}
	s.Counts.OrphansFound(region.Name, metrics.OrphanHost, len(orphans))
	if region.Suspended() && region.DeletionTimestamp.IsZero() {
		return nil // They are counted; nothing is removed for a Region that is suspended.
	}
	due := s.due(region.Name, orphans)
	var errs []error
	if len(due) == 0 {
		s.refuse(region.Name, func(r *refusal) { r.hosts = "" })
	} else {
		// A Region that is being deleted, and whose Instances have all left in order,
		// leaves nothing behind: no person has to agree to that again.
		unasked := !region.DeletionTimestamp.IsZero() && len(instances.Items) == 0
		errs = append(errs, s.removeHosts(ctx, region, open, due, fleet, unasked))
	}
	errs = append(errs, s.stopTasks(ctx, region, open, tasks))
	return errors.Join(errs...)
}

// unowned returns the hosts that no Instance has an intent for, and how many
// hosts there are.
func unowned(hosts []cloud.Host, instances []v1alpha1.Instance, target cloud.Target) (orphans []cloud.Host, fleet int) {
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
		fleet++
		if !owned[v1alpha1.LaunchKey(host.Token, host.Index)] && !owned[host.InstanceID] {
			orphans = append(orphans, host)
		}
	}
	return orphans, fleet
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
