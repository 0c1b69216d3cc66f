// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// maxSubnets and maxSecurityGroups are how many ids the status has room for; a
// region uses no more.
const (
	maxSubnets        = 200
	maxSecurityGroups = 64
)

// openRegion opens the region, and says what its catalogue should hold.
func (r *Reconciler) openRegion(ctx context.Context, s *scope) error {
	open, err := r.Regions.Ensure(ctx, cloud.Target{
		ClusterID:  r.ClusterID,
		Region:     s.region.Name,
		AWSRegion:  s.region.AWSRegion(),
		RoleARN:    s.region.Spec.RoleARN,
		ECSCluster: s.region.Spec.ECSCluster,

		EventQueueURL: s.region.Spec.EventQueueURL,
	})
	if err != nil {
		return fmt.Errorf("opening AWS region %s: %w", s.region.AWSRegion(), err)
	}
	open.Observer().SetWants(wants(s.region, s.amis))
	if v1alpha1.ReconcileAt(s.region) != s.region.Status.LastHandledReconcileAt {
		open.Observer().RefreshCatalog()
	}
	s.open = open
	s.catalog = open.Observer().Catalog()
	s.eventsReceived, s.eventsErr = open.Observer().Events()
	s.count()
	if !s.catalog.Ready {
		return &trouble.Waiting{Reason: v1alpha1.ReasonObserving, Message: "Waits for the first look at AWS."}
	}
	if err := open.Observer().Err(); err != nil {
		return fmt.Errorf("observing AWS region %s: %w", s.region.AWSRegion(), err)
	}
	if err := s.catalog.InstanceTypesErr; err != nil {
		return fmt.Errorf("describing instance types: %w", err)
	}
	if err := s.catalog.ImagesErr; err != nil {
		return fmt.Errorf("describing images: %w", err)
	}
	return nil
}

// wants is what must be known of AWS to launch hosts: the types and the network of
// the Region, and the images of every channel, before and after their rollouts.
func wants(region *v1alpha1.Region, amis []v1alpha1.AMI) cloud.Wants {
	w := cloud.Wants{
		InstanceTypes:  region.Spec.InstanceTypes,
		Subnets:        selector(region.Spec.Subnets),
		SecurityGroups: selector(region.Spec.SecurityGroups),
	}
	for i := range amis {
		if image := amis[i].Image(region.Name); image != nil {
			w.Images = append(w.Images, image.ImageID)
		}
	}
	for _, release := range releasesIn(region.Name, amis) {
		w.Images = append(w.Images, release.row.ImageID)
	}
	return w
}

func selector(by v1alpha1.ResourceSelector) cloud.Selector {
	selector := cloud.Selector{IDs: by.IDs}
	if len(by.Tags) > 0 {
		selector.Tags = tags(by.Tags)
	}
	return selector
}

func tags(list []v1alpha1.Tag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, tag := range list {
		tags[tag.Key] = ptr.Deref(tag.Value, "")
	}
	return tags
}

// findNetwork takes the subnets and security groups from the catalogue.
func (r *Reconciler) findNetwork(_ context.Context, s *scope) error {
	if !s.catalog.Ready {
		return nil
	}
	for _, subnet := range s.catalog.Subnets {
		s.subnets = append(s.subnets, subnet.ID)
	}
	s.subnets = atMost(maxSubnets, s.subnets)
	s.securityGroups = atMost(maxSecurityGroups, s.catalog.SecurityGroups)
	if err := missing(s.catalog.SubnetsErr, len(s.subnets),
		v1alpha1.ReasonSubnetsNotFound, "subnet", "spec.subnets"); err != nil {
		return err
	}
	return missing(s.catalog.SecurityGroupsErr, len(s.securityGroups),
		v1alpha1.ReasonSecurityGroupsNotFound, "security group", "spec.securityGroups")
}

// missing says what is wrong with a part of the network, if anything.
func missing(err error, found int, reason, what, field string) error {
	switch kind := cloud.KindOf(err); {
	case err != nil && kind != cloud.KindNotFound && kind != cloud.KindInvalid:
		return fmt.Errorf("finding the %ss: %w", what, err)
	case err != nil:
		return &trouble.Stalled{Reason: reason, Message: fmt.Sprintf(
			"EC2 does not know a %s that %s names: %s", what, field, trouble.Text(err))}
	case found == 0:
		return &trouble.Stalled{Reason: reason, Message: fmt.Sprintf("No %s matches %s.", what, field)}
	}
	return nil
}

func atMost(n int, ids []string) []string {
	ids = slices.Sorted(slices.Values(ids))
	return ids[:min(n, len(ids))]
}

// findCluster takes the region's ECS cluster from the catalogue, if there is one.
func (r *Reconciler) findCluster(_ context.Context, s *scope) error {
	if !s.catalog.Ready {
		return nil
	}
	if s.catalog.ClusterErr != nil {
		return fmt.Errorf("describing ECS cluster %s: %w", s.region.Spec.ECSCluster, s.catalog.ClusterErr)
	}
	s.clusterARN = s.catalog.ClusterARN
	return nil
}

// ensureCluster makes the region's ECS cluster when AWS says that there is none.
func (r *Reconciler) ensureCluster(ctx context.Context, s *scope) error {
	if err := r.findCluster(ctx, s); err != nil || !s.catalog.Ready || s.clusterARN != "" {
		return err
	}
	arn, err := s.open.API().EnsureCluster(ctx, r.tags(s.region))
	if err != nil {
		return fmt.Errorf("making ECS cluster %s: %w", s.region.Spec.ECSCluster, err)
	}
	s.clusterARN = arn
	return nil
}

// tags are those of everything that is made in the region.
func (r *Reconciler) tags(region *v1alpha1.Region) map[string]string {
	tags := tags(region.Spec.Tags)
	tags[cloud.TagCluster] = r.ClusterID
	tags[cloud.TagRegion] = region.Name
	return tags
}
