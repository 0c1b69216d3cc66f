// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/scaling"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

const (
	// maxName is the length that a label's value, and so an Instance's name that
	// is to be one, may have.
	maxName = 63
	// maxLaunches is how many releases one decision has room for.
	maxLaunches = 64
)

// carryOutDecision makes the Instances of a decision that was written and whose
// end wasn't: this reconcile's, or one that the manager died over. Their names
// are a function of the decision, so that those which exist are not made twice.
func (r *Reconciler) carryOutDecision(ctx context.Context, s *scope) error {
	decision := s.region.Status.Decision
	if decision == nil || ptr.Deref(decision.Done, false) {
		return nil
	}
	if current, err := r.undone(ctx, s, decision.Number); err != nil || !current {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelWrites)
	var names []string
	for _, host := range s.hostsOf(decision) {
		// The Region's finalizer holds it while it has hosts. Blocking its deletion by the
		// reference, too, would need a permission for nothing.
		if err := controllerutil.SetControllerReference(s.region, host, r.Scheme(), controllerutil.WithBlockOwnerDeletion(false)); err != nil {
			return fmt.Errorf("making Region %s the owner of Instance %s: %w", s.region.Name, host.Name, err)
		}
		names = append(names, host.Name)
		group.Go(func() error {
			if err := r.Create(ctx, host); err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("creating Instance %s: %w", host.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	decision.Done = ptr.To(true)
	s.launched = len(names)
	return nil
}

// undone says whether a decision is still to be carried out. One that this reconcile
// wrote is; one that the cache shows may be long done by another manager, and its
// hosts have left again, with others in their place.
func (r *Reconciler) undone(ctx context.Context, s *scope, number int64) (bool, error) {
	if s.decided {
		return true, nil
	}
	var live v1alpha1.Region
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(s.region), &live); err != nil {
		return false, fmt.Errorf("reading scaling decision %d live: %w", number, err)
	}
	newest := live.Status.Decision
	current := live.UID == s.region.UID && newest != nil && newest.Number == number && !ptr.Deref(newest.Done, false)
	if !current {
		s.stale, s.lookAgain = true, retryStale
	}
	return current, nil
}

// hostsOf returns the Instances of a decision. A release that has become inactive
// since, or a region that was switched off, gets none.
func (s *scope) hostsOf(decision *v1alpha1.ScalingDecision) []*v1alpha1.Instance {
	if !s.region.Enabled() {
		return nil
	}
	var hosts []*v1alpha1.Instance
	at := 0
	for _, launch := range decision.Launches {
		key := census.Release{Region: s.region.Name, AMI: launch.AMIName, Revision: launch.Revision}
		release, wanted := s.releases[key]
		for range launch.Count {
			if wanted {
				hosts = append(hosts, newHost(s.region, release, s.parameters, decision.Number, at))
			}
			at++
		}
	}
	return hosts
}

// newHost returns the Instance with that place in a decision; everything that its
// launch depends on is pinned.
func newHost(region *v1alpha1.Region, of release, parameters string, decision int64, at int) *v1alpha1.Instance {
	return &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{
			Name: hostName(region.Name, of.row.ID, decision, at),
			Labels: map[string]string{
				v1alpha1.LabelRegion:   region.Name,
				v1alpha1.LabelAMI:      of.ami.Name,
				v1alpha1.LabelRevision: of.row.ID,
				v1alpha1.LabelDecision: strconv.FormatInt(decision, 10),

				v1alpha1.LabelLaunchParameters: parameters,
			},
			// From the beginning: a write less for each host.
			Finalizers: []string{v1alpha1.InstanceFinalizer},
		},
		Spec: v1alpha1.InstanceSpec{
			RegionName:       region.Name,
			AMIName:          of.ami.Name,
			Revision:         of.row.ID,
			ImageID:          of.row.ImageID,
			ClientCommitHash: of.revision.ClientCommitHash,
			InstanceTypes:    region.Spec.InstanceTypes,
		},
	}
}

// hostName is the name of the Instance with that place in a decision. A region's
// name that is too long is cut, with a hash of all of it in place of the rest.
func hostName(region, revision string, decision int64, at int) string {
	suffix := fmt.Sprintf("-%s-%d-%d", revision, decision, at)
	if len(region)+len(suffix) <= maxName {
		return region + suffix
	}
	sum := sha256.Sum256([]byte(region))
	hash := hex.EncodeToString(sum[:4])
	cut := max(0, maxName-len(suffix)-len(hash)-1)
	return region[:cut] + "-" + hash + suffix
}

// scaleUp decides how many hosts to launch, writes that down and makes them. It
// decides only once every host of the decision before is accounted for, so that
// no host on its way is overlooked.
func (r *Reconciler) scaleUp(ctx context.Context, s *scope) error {
	if decision := s.region.Status.Decision; decision != nil && !ptr.Deref(decision.Done, false) {
		return nil
	}
	s.plan = scaling.Up(s.demand())
	if s.launched > 0 || len(s.plan.Launches) == 0 {
		return nil // What was just made is counted when the cache has it, which wakes the next reconcile.
	}
	if accounted, err := r.accountFor(ctx, s); err != nil || !accounted {
		return err
	}
	if err := r.decide(ctx, s); err != nil {
		return err
	}
	return r.carryOutDecision(ctx, s)
}

// decide writes the decision to launch what is planned. The write fails if the
// Region is not the newest: then another decision may have been made.
func (r *Reconciler) decide(ctx context.Context, s *scope) error {
	var number int64
	if last := s.region.Status.Decision; last != nil {
		number = last.Number
	}
	decision := &v1alpha1.ScalingDecision{Number: number + 1, Time: metav1.NewTime(s.now), Done: ptr.To(false)}
	for _, launch := range s.plan.Launches[:min(maxLaunches, len(s.plan.Launches))] {
		decision.Launches = append(decision.Launches, v1alpha1.ScalingLaunch{
			AMIName: launch.AMI, Revision: launch.Revision, Count: launch.Count,
		})
	}
	s.region.Status.Decision = decision
	if err := status.Patch(ctx, r.Client, s.before, s.region, true); err != nil {
		s.stale = true
		return fmt.Errorf("writing scaling decision %d: %w", decision.Number, err)
	}
	s.before, s.decided = s.region.DeepCopy(), true
	r.Events.Eventf(s.region, nil, corev1.EventTypeNormal, v1alpha1.ReasonScalingUp, "Launch",
		"Launching %s (decision %d): %s", trouble.Count(launchCount(decision), "host"), decision.Number, describeLaunches(decision))
	return nil
}

// accountFor says whether each Instance of the last decision is in the cache, or
// is known not to exist.
func (r *Reconciler) accountFor(ctx context.Context, s *scope) (bool, error) {
	decision := s.region.Status.Decision
	if decision == nil || r.settled.has(s.region.UID, decision.Number) {
		return true, nil
	}
	missing := map[string]bool{}
	for _, name := range decisionNames(s.region.Name, decision) {
		missing[name] = true
	}
	for i := range s.hosts {
		delete(missing, s.hosts[i].Name)
	}
	if len(missing) > 0 {
		var live v1alpha1.InstanceList
		if err := r.Live.List(ctx, &live, client.MatchingLabels{
			v1alpha1.LabelRegion:   s.region.Name,
			v1alpha1.LabelDecision: strconv.FormatInt(decision.Number, 10),
		}); err != nil {
			return false, fmt.Errorf("listing the Instances of scaling decision %d: %w", decision.Number, err)
		}
		for i := range live.Items {
			if missing[live.Items[i].Name] {
				s.lookAgain = retryStale // The cache will have it in a moment.
				return false, nil
			}
		}
	}
	r.settled.add(s.region.UID, decision.Number)
	return true, nil
}

func decisionNames(region string, decision *v1alpha1.ScalingDecision) []string {
	var names []string
	for _, launch := range decision.Launches {
		for range launch.Count {
			names = append(names, hostName(region, launch.Revision, decision.Number, len(names)))
		}
	}
	return names
}

func launchCount(decision *v1alpha1.ScalingDecision) int {
	n := 0
	for _, launch := range decision.Launches {
		n += int(launch.Count)
	}
	return n
}

func describeLaunches(decision *v1alpha1.ScalingDecision) string {
	counts := map[string]int32{}
	for _, launch := range decision.Launches {
		counts[launch.AMIName] += launch.Count
	}
	var parts []string
	for _, ami := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d for channel %s", counts[ami], ami))
	}
	return trouble.List(parts)
}

// settledDecisions remembers the last decision of each Region whose Instances
// have all been accounted for, so that one which was deleted later isn't looked
// for again. It forgets with the manager, and then looks once more.
type settledDecisions struct {
	mu   sync.Mutex
	last map[types.UID]int64
}

func (d *settledDecisions) has(region types.UID, decision int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last[region] >= decision
}

func (d *settledDecisions) add(region types.UID, decision int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		d.last = map[types.UID]int64{}
	}
	d.last[region] = decision
}

func (d *settledDecisions) forget(region types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.last, region)
}
