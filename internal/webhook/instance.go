// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// All but spec.drain is immutable, and a host may always be drained, so that
// CREATE is all there is to check. failurePolicy is Ignore: most Instances are
// made by the manager itself, and a fleet must be able to grow while its own
// webhook can't be reached; the Instance controller checks the same again.
//
// +kubebuilder:webhook:path=/validate-cloud-mandelbox-dev-v1alpha1-instance,mutating=false,failurePolicy=ignore,sideEffects=None,timeoutSeconds=3,groups=cloud.mandelbox.dev,resources=instances,verbs=create,versions=v1alpha1,name=instance.cloud.mandelbox.dev,admissionReviewVersions=v1,serviceName=mandelbox-operator-webhook,serviceNamespace=mandelbox-system

// instanceValidator checks a host against its region and its channel's revision.
type instanceValidator struct{ reader client.Reader }

// ValidateCreate refuses a host in a disabled region, and one that isn't what
// its revision says; it warns of a region or a channel that isn't there yet.
func (v *instanceValidator) ValidateCreate(ctx context.Context, instance *v1alpha1.Instance) (admission.Warnings, error) {
	warnings, refused, err := v.checkRegion(ctx, instance)
	if err != nil {
		return nil, err
	}
	more, errs, err := v.checkRevision(ctx, instance)
	if err != nil {
		return nil, err
	}
	return append(warnings, more...), invalid("Instance", instance.Name, append(refused, errs...))
}

// ValidateUpdate has nothing to check: only spec.drain can change.
func (v *instanceValidator) ValidateUpdate(context.Context, *v1alpha1.Instance, *v1alpha1.Instance) (admission.Warnings, error) {
	return nil, nil
}

// ValidateDelete is never called: deletion is always accepted.
func (v *instanceValidator) ValidateDelete(context.Context, *v1alpha1.Instance) (admission.Warnings, error) {
	return nil, nil
}

func (v *instanceValidator) checkRegion(ctx context.Context, instance *v1alpha1.Instance) (admission.Warnings, field.ErrorList, error) {
	name := instance.Spec.RegionName
	var region v1alpha1.Region
	err := v.reader.Get(ctx, client.ObjectKey{Name: name}, &region)
	if apierrors.IsNotFound(err) {
		return admission.Warnings{fmt.Sprintf("spec.regionName: there is no Region %q yet; the host is launched once there is", name)}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading Region %s: %w", name, err)
	}
	if !region.Enabled() {
		return nil, field.ErrorList{field.Invalid(field.NewPath("spec", "regionName"), name,
			v1alpha1.ReasonRegionNotEnabled+": the Region is disabled and launches no hosts; set its spec.enabled to true first")}, nil
	}
	return nil, nil, nil
}

func (v *instanceValidator) checkRevision(ctx context.Context, instance *v1alpha1.Instance) (admission.Warnings, field.ErrorList, error) {
	spec := instance.Spec
	var ami v1alpha1.AMI
	err := v.reader.Get(ctx, client.ObjectKey{Name: spec.AMIName}, &ami)
	if apierrors.IsNotFound(err) {
		return admission.Warnings{fmt.Sprintf("spec.amiName: there is no AMI %q yet; the host is launched once there is", spec.AMIName)}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading AMI %s: %w", spec.AMIName, err)
	}
	revision, row := revisionOf(&ami, spec.RegionName, spec.Revision)
	if row != nil {
		return nil, refuseOtherRelease(spec, revision, row), nil
	}
	if ami.Status.ObservedGeneration == nil || *ami.Status.ObservedGeneration < ami.Generation {
		return admission.Warnings{fmt.Sprintf(
			"spec.revision: AMI %q has no revision %q in region %q yet; the host is launched once it has", spec.AMIName, spec.Revision, spec.RegionName)}, nil, nil
	}
	has := "none there"
	if ids := revisionsIn(&ami, spec.RegionName); len(ids) > 0 {
		has = strings.Join(ids, ", ")
	}
	return nil, field.ErrorList{field.Invalid(field.NewPath("spec", "revision"), spec.Revision, fmt.Sprintf(
		"%s: AMI %q has no such revision in region %q; it has %s", v1alpha1.ReasonRevisionNotFound, spec.AMIName, spec.RegionName, has))}, nil
}

// revisionOf finds the channel's revision, and its row, that hosts in the region
// name by the id.
func revisionOf(ami *v1alpha1.AMI, region, id string) (*v1alpha1.Revision, *v1alpha1.RevisionRegion) {
	for i := range ami.Status.Revisions {
		if row := ami.Status.Revisions[i].Row(region); row != nil && row.ID == id {
			return &ami.Status.Revisions[i], row
		}
	}
	return nil, nil
}

// revisionsIn lists the ids of the channel's revisions in the region.
func revisionsIn(ami *v1alpha1.AMI, region string) []string {
	var ids []string
	for i := range ami.Status.Revisions {
		if row := ami.Status.Revisions[i].Row(region); row != nil && !slices.Contains(ids, row.ID) {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// refuseOtherRelease refuses an image or a commit hash that isn't the revision's.
func refuseOtherRelease(spec v1alpha1.InstanceSpec, revision *v1alpha1.Revision, row *v1alpha1.RevisionRegion) field.ErrorList {
	var refused field.ErrorList
	refuse := func(name, value, wanted string) {
		if value != wanted {
			refused = append(refused, field.Invalid(field.NewPath("spec", name), value, fmt.Sprintf(
				"revision %q of AMI %q has %s in region %q", spec.Revision, spec.AMIName, wanted, spec.RegionName)))
		}
	}
	refuse("imageID", spec.ImageID, row.ImageID)
	refuse("clientCommitHash", spec.ClientCommitHash, revision.ClientCommitHash)
	return refused
}
