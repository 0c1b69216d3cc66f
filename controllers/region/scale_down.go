// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/scaling"
)

// defaultStabilization is the API's default of spec.capacity.scaleDownStabilization.
const defaultStabilization = 5 * time.Minute

// actWithin is how long after it was found that hosts are to go they are told so: a
// good deal less than the AMI controller waits before it counts on them again.
const actWithin = time.Second

// scaleDown lets empty hosts go that are too many, and has hosts of releases that
// are not active any more leave as their sessions end. It touches only hosts that
// the Region made.
func (r *Reconciler) scaleDown(ctx context.Context, s *scope) error {
	stabilization := defaultStabilization
	if d := s.region.Spec.Capacity.ScaleDownStabilization; d != nil {
		stabilization = d.Duration
	}
	plan := scaling.Down(scaling.DownInput{
		Disabled:      !s.region.Enabled(),
		Channels:      s.activeChannels(),
		Candidates:    s.candidates(),
		SurplusSince:  ptr.Deref(s.region.Status.SurplusSince, metav1.Time{}).Time,
		Now:           s.now,
		Stabilization: stabilization,
	})
	s.surplusSince = plan.SurplusSince
	if !plan.SurplusSince.IsZero() {
		s.lookAgain = earliest(s.lookAgain, max(time.Second, plan.SurplusSince.Add(stabilization).Sub(s.now)))
	}
	retired := s.toBeDrained()
	if len(plan.Leave)+len(retired) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	if current, err := r.stillRetired(ctx, s, plan.Leave, retired); err != nil || !current {
		return err
	}
	return errors.Join(r.letGo(ctx, s, plan.Leave), r.drainRetired(ctx, s, retired))
}

// stillRetired says whether no release is wanted again of which hosts are to go
// because it isn't. A cache that lags behind doesn't show a release that has just
// come back, and whose swap counts on these hosts: so the AMIs are read live, and the
// hosts go soon after or not at all. A rollout swaps no sooner than that.
func (r *Reconciler) stillRetired(ctx context.Context, s *scope, names []string, retired []*v1alpha1.Instance) (bool, error) {
	going := slices.Clone(retired)
	for i := range s.hosts {
		if slices.Contains(names, s.hosts[i].Name) {
			going = append(going, &s.hosts[i])
		}
	}
	live := map[string]map[census.Release]release{}
	for _, host := range going {
		of := census.ReleaseOf(host)
		if _, wanted := s.releases[of]; wanted {
			continue
		}
		if live[of.AMI] == nil {
			var ami v1alpha1.AMI
			if err := r.Live.Get(ctx, client.ObjectKey{Name: of.AMI}, &ami); client.IgnoreNotFound(err) != nil {
				return false, fmt.Errorf("reading AMI %s live before its hosts go: %w", of.AMI, err)
			}
			if ami.Name != "" && saysNothing(&ami) {
				s.lookAgain = earliest(s.lookAgain, retryStale)
				return false, nil
			}
			live[of.AMI] = releasesIn(s.region.Name, []v1alpha1.AMI{ami})
		}
		if _, wanted := live[of.AMI][of]; wanted {
			s.lookAgain = earliest(s.lookAgain, retryStale) // The cache will have it in a moment.
			return false, nil
		}
	}
	return true, nil
}

func (s *scope) activeChannels() []scaling.Channel {
	var active []scaling.Channel
	for _, c := range s.channels() {
		if s.releases[census.Release{Region: s.region.Name, AMI: c.AMI, Revision: c.Revision}].active {
			active = append(active, c)
		}
	}
	return active
}

// candidates are the region's own hosts that may be told to leave: of a release
// that wants hosts the open ones, of any other all that aren't leaving already.
func (s *scope) candidates() []scaling.Candidate {
	candidates := make([]scaling.Candidate, 0, len(s.hosts))
	for i := range s.hosts {
		host := &s.hosts[i]
		release, wanted := s.releases[census.ReleaseOf(host)]
		if !s.mayLeave(host) || wanted && s.region.Enabled() && !host.Open() {
			continue
		}
		candidates = append(candidates, scaling.Candidate{
			Name:           host.Name,
			AMI:            host.Spec.AMIName,
			Revision:       host.Spec.Revision,
			ActiveRevision: wanted,
			Protected:      wanted && !release.active && s.region.Enabled(),
			Empty:          len(host.Status.Claims) == 0 && s.promisedOf(host) == 0,
			Created:        host.CreationTimestamp.Time,
			Slots:          host.Slots(),
			Outdated:       s.outdated(host),
		})
	}
	return candidates
}

// mayLeave says whether a host is the Region's own, not on its way out yet, and of a
// channel of which it is known what it wants.
func (s *scope) mayLeave(host *v1alpha1.Instance) bool {
	if !s.isOwn(host) || !host.DeletionTimestamp.IsZero() {
		return false
	}
	for i := range s.amis {
		if s.amis[i].Name == host.Spec.AMIName {
			return !saysNothing(&s.amis[i])
		}
	}
	return true
}

// saysNothing says whether a channel has no releases at all, as when it was just made,
// or restored without its status: which of its hosts are wanted is then not known yet.
func saysNothing(ami *v1alpha1.AMI) bool {
	return ami.DeletionTimestamp.IsZero() && len(ami.Status.Revisions) == 0
}

// isOwn says whether the Region made a host, rather than a person.
func (s *scope) isOwn(host *v1alpha1.Instance) bool { return metav1.IsControlledBy(host, s.region) }

// letGo deletes hosts, each only if it is still as it was when it was found
// empty. One that got a session since stays.
func (r *Reconciler) letGo(ctx context.Context, s *scope, names []string) error {
	if len(names) == 0 {
		return nil
	}
	byName := make(map[string]*v1alpha1.Instance, len(s.hosts))
	for i := range s.hosts {
		byName[s.hosts[i].Name] = &s.hosts[i]
	}
	var errs []error
	for _, name := range names {
		if ctx.Err() != nil {
			s.lookAgain = earliest(s.lookAgain, retryStale) // What was found must be found again.
			break
		}
		deleted, err := r.deleteHost(ctx, name, unchanged(byName[name]))
		if err != nil {
			errs = append(errs, err)
		}
		if deleted {
			s.left = append(s.left, name)
		} else {
			s.lookAgain = earliest(s.lookAgain, retryStale)
		}
	}
	if len(s.left) > 0 {
		r.Events.Eventf(s.region, nil, corev1.EventTypeNormal, "ScalingDown", "Terminate",
			"%s without a session leave: %s", trouble.Count(len(s.left), "host"), trouble.List(s.left))
	}
	return errors.Join(errs...)
}
