// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// scope holds the facts of one reconcile.
type scope struct {
	// before is the AMI as it was last read or written; ami has what the steps change.
	before, ami *v1alpha1.AMI
	now         time.Time

	// others and hosts are shared with the cache and must not be changed. hosts are
	// all Instances of the channel.
	others []v1alpha1.AMI
	hosts  []v1alpha1.Instance
	counts map[census.Release]census.Count
	// regions are those that the spec or a revision names.
	regions map[string]place

	// wanted is the name of the revision that the spec asks for; empty until known.
	wanted string
	// behind says that wanted is an earlier release, which the spec's waits for.
	behind bool
	// failedFor is the reason for which the wanted release was given up just now.
	failedFor string
	// waiting says for each region what the rollout waits for there.
	waiting map[string]string

	// lookAgain is when to reconcile without being woken; 0 for not at all.
	lookAgain time.Duration
	// stale says that the object must be read anew before its status is written.
	stale bool
	// gone says that the AMI exists no more.
	gone bool
}

// place is what is known of a region.
type place struct {
	// region is nil if there is no such Region.
	region *v1alpha1.Region
	// open is nil until the Region controller opened it.
	open    *cloud.Region
	catalog cloud.Catalog
	// pending are the Mandelboxes that wait for room there.
	pending map[placement.Key]int32
}

func (r *Reconciler) newScope(ctx context.Context, ami *v1alpha1.AMI) (*scope, error) {
	var amis v1alpha1.AMIList
	if err := r.List(ctx, &amis, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing AMIs: %w", err)
	}
	var hosts v1alpha1.InstanceList
	if err := r.List(ctx, &hosts, client.MatchingFields{index.InstanceByAMI: ami.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Instances of AMI %s: %w", ami.Name, err)
	}
	s := &scope{
		before: ami.DeepCopy(), ami: ami, now: r.Clock.Now(),
		others: slices.DeleteFunc(slices.Clone(amis.Items), func(a v1alpha1.AMI) bool { return a.Name == ami.Name }),
		hosts:  hosts.Items,
		counts: census.Take(hosts.Items, nil),
	}
	s.waiting = map[string]string{}
	s.regions = map[string]place{}
	for _, name := range regionNames(ami) {
		place, err := r.place(ctx, name)
		if err != nil {
			return nil, err
		}
		s.regions[name] = place
	}
	return s, nil
}

func (r *Reconciler) place(ctx context.Context, name string) (place, error) {
	region := &v1alpha1.Region{}
	if err := r.Get(ctx, client.ObjectKey{Name: name}, region); err != nil {
		if apierrors.IsNotFound(err) {
			return place{}, nil
		}
		return place{}, fmt.Errorf("reading Region %s: %w", name, err)
	}
	p := place{region: region}
	if r.Demand != nil {
		p.pending = r.Demand.Pending(name)
	}
	if open, ok := r.Regions.Get(name); ok {
		p.open, p.catalog = open, open.Observer().Catalog()
	}
	return p, nil
}

// regionNames are the regions that the spec or a revision names, in order.
func regionNames(ami *v1alpha1.AMI) []string {
	names := map[string]bool{}
	for _, image := range ami.Spec.Images {
		names[image.Region] = true
	}
	for _, revision := range ami.Status.Revisions {
		for _, row := range revision.Regions {
			names[row.Region] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// lookAnew has every open region look anew at what AWS has of images and instance types.
func (s *scope) lookAnew() {
	for _, place := range s.regions {
		if place.open != nil {
			place.open.Observer().RefreshCatalog()
		}
	}
}

// count is the census of one row's hosts.
func (s *scope) count(row *v1alpha1.RevisionRegion) census.Count {
	if row == nil {
		return census.Count{}
	}
	return s.counts[census.Release{Region: row.Region, AMI: s.ami.Name, Revision: row.ID}]
}

// hostsOf is the number of all hosts that run a revision.
func (s *scope) hostsOf(revision *v1alpha1.Revision) int32 {
	var n int32
	for i := range revision.Regions {
		n += s.count(&revision.Regions[i]).Total()
	}
	return n
}
