// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/schedule"
)

// failurePolicy is Fail: two Regions on one ECS cluster would count, and end,
// each other's hosts.
//
// +kubebuilder:webhook:path=/validate-cloud-mandelbox-dev-v1alpha1-region,mutating=false,failurePolicy=fail,sideEffects=None,timeoutSeconds=3,groups=cloud.mandelbox.dev,resources=regions,verbs=create;update,versions=v1alpha1,name=region.cloud.mandelbox.dev,admissionReviewVersions=v1,serviceName=mandelbox-operator-webhook,serviceNamespace=mandelbox-system,patch=`{"matchConditions":[{"name":"spec-changed","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"},{"name":"not-being-deleted","expression":"!has(object.metadata.deletionTimestamp)"}]}`

// regionValidator checks a region against the other regions and its own hosts.
// That a region doesn't fall back on itself is a CEL rule; cycles are fine, and
// so is another Region of the same AWS region, in another account or cluster.
type regionValidator struct{ reader client.Reader }

// ValidateCreate refuses a second Region for the same ECS cluster and schedules
// that can't be read, and warns of fallback regions that don't exist yet.
func (v *regionValidator) ValidateCreate(ctx context.Context, region *v1alpha1.Region) (admission.Warnings, error) {
	regions, err := regionsByName(ctx, v.reader)
	if err != nil {
		return nil, err
	}
	refused := append(refuseSharedCluster(region, regions), refuseSchedules(region)...)
	return warnAbsentFallbacks(region, regions), invalid("Region", region.Name, refused)
}

// ValidateUpdate checks the same, where it changed, and warns of hosts and
// sessions that outlive the change.
func (v *regionValidator) ValidateUpdate(ctx context.Context, old, region *v1alpha1.Region) (admission.Warnings, error) {
	regions, err := regionsByName(ctx, v.reader)
	if err != nil {
		return nil, err
	}
	refused := refuseSchedules(region)
	if region.Spec.RoleARN != old.Spec.RoleARN { // The rest of what names a cluster is immutable.
		refused = append(refused, refuseSharedCluster(region, regions)...)
	}
	warnings := warnAbsentFallbacks(region, regions)
	warnings = append(warnings, warnSurplusHosts(old, region)...)
	warnings = append(warnings, warnLiveSessions(old, region)...)
	return warnings, invalid("Region", region.Name, refused)
}

// ValidateDelete is never called: deletion is always accepted.
func (v *regionValidator) ValidateDelete(context.Context, *v1alpha1.Region) (admission.Warnings, error) {
	return nil, nil
}

// refuseSharedCluster refuses a Region that stands for the same ECS cluster as
// another one. One that is being deleted still has its hosts, so it counts.
func refuseSharedCluster(region *v1alpha1.Region, regions map[string]*v1alpha1.Region) field.ErrorList {
	var refused field.ErrorList
	for name, other := range regions {
		if name == region.Name || other.AWSRegion() != region.AWSRegion() ||
			other.Spec.ECSCluster != region.Spec.ECSCluster || other.Spec.RoleARN != region.Spec.RoleARN {
			continue
		}
		refused = append(refused, field.Invalid(field.NewPath("spec", "ecsCluster"), region.Spec.ECSCluster, fmt.Sprintf(
			"Region %q uses this ECS cluster of %s, with the same role, already; name another cluster, or another account's role",
			name, region.AWSRegion())))
	}
	return refused
}

// refuseSchedules refuses schedules whose times nobody could tell.
func refuseSchedules(region *v1alpha1.Region) field.ErrorList {
	var refused field.ErrorList
	for i := range region.Spec.Capacity.Schedules {
		s := &region.Spec.Capacity.Schedules[i]
		if err := schedule.Check(s); err != nil {
			refused = append(refused, field.Invalid(field.NewPath("spec", "capacity", "schedules").Key(s.Name), s.Cron, err.Error()))
		}
	}
	return refused
}

func warnAbsentFallbacks(region *v1alpha1.Region, regions map[string]*v1alpha1.Region) admission.Warnings {
	return warnAbsentRegions("spec.fallbackRegions", region.Spec.FallbackRegions, regions)
}

// warnSurplusHosts warns if maxInstances falls below the hosts there are.
func warnSurplusHosts(old, region *v1alpha1.Region) admission.Warnings {
	limit, before := ptr.Deref(region.Spec.Capacity.MaxInstances, 0), ptr.Deref(old.Spec.Capacity.MaxInstances, 0)
	hosts := remaining(region.Status.Hosts)
	if limit >= before || hosts <= limit {
		return nil
	}
	return admission.Warnings{fmt.Sprintf(
		"spec.capacity.maxInstances: the region has %d hosts; no more are launched, and those above %d leave only as they become empty", hosts, limit)}
}

// remaining counts the hosts that aren't on their way out of EC2.
func remaining(hosts v1alpha1.HostCounts) int32 {
	return ptr.Deref(hosts.PreConnection, 0) + ptr.Deref(hosts.Active, 0) + ptr.Deref(hosts.Draining, 0) + ptr.Deref(hosts.Unresponsive, 0)
}

// warnLiveSessions warns if a region is switched off while sessions run in it.
func warnLiveSessions(old, region *v1alpha1.Region) admission.Warnings {
	sessions := ptr.Deref(region.Status.Claimed, 0)
	if !old.Enabled() || region.Enabled() || sessions == 0 {
		return nil
	}
	return admission.Warnings{fmt.Sprintf(
		"spec.enabled: %d sessions in the region live on until they end by themselves; only new ones are kept out", sessions)}
}
