// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// failurePolicy is Fail: a release is rare and can be tried again, and a commit
// hash that two channels claim would stall one of them.
//
// +kubebuilder:webhook:path=/validate-cloud-mandelbox-dev-v1alpha1-ami,mutating=false,failurePolicy=fail,sideEffects=None,timeoutSeconds=3,groups=cloud.mandelbox.dev,resources=amis,verbs=create;update,versions=v1alpha1,name=ami.cloud.mandelbox.dev,admissionReviewVersions=v1,serviceName=mandelbox-operator-webhook,serviceNamespace=mandelbox-system,patch=`{"matchConditions":[{"name":"spec-changed","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"},{"name":"not-being-deleted","expression":"!has(object.metadata.deletionTimestamp)"}]}`

// amiValidator checks a channel against the other channels and the regions.
type amiValidator struct{ reader client.Reader }

// ValidateCreate refuses a commit hash that another channel owns in one of the
// same regions, and warns of regions that don't exist yet.
func (v *amiValidator) ValidateCreate(ctx context.Context, ami *v1alpha1.AMI) (admission.Warnings, error) {
	return v.validate(ctx, nil, ami)
}

// ValidateUpdate checks the same for what the update adds: a channel that shares
// its hash already can still be suspended or mended.
func (v *amiValidator) ValidateUpdate(ctx context.Context, old, ami *v1alpha1.AMI) (admission.Warnings, error) {
	return v.validate(ctx, old, ami)
}

// ValidateDelete is never called: deletion is always accepted.
func (v *amiValidator) ValidateDelete(context.Context, *v1alpha1.AMI) (admission.Warnings, error) {
	return nil, nil
}

func (v *amiValidator) validate(ctx context.Context, old, ami *v1alpha1.AMI) (admission.Warnings, error) {
	regions, err := regionsByName(ctx, v.reader)
	if err != nil {
		return nil, err
	}
	var warnings admission.Warnings
	for i, image := range ami.Spec.Images {
		if regions[image.Region] == nil {
			warnings = append(warnings, fmt.Sprintf(
				"spec.images[%d].region: there is no Region %q yet; the release waits for it", i, image.Region))
		}
	}
	refused, err := v.refuseTakenHash(ctx, old, ami)
	if err != nil {
		return nil, err
	}
	return warnings, invalid("AMI", ami.Name, refused)
}

// refuseTakenHash refuses the channel's commit hash if another one owns it in a
// region that the channel is new in with this hash. One that is being deleted
// owns nothing any longer.
func (v *amiValidator) refuseTakenHash(ctx context.Context, old, ami *v1alpha1.AMI) (field.ErrorList, error) {
	var amis v1alpha1.AMIList
	if err := v.reader.List(ctx, &amis); err != nil {
		return nil, fmt.Errorf("listing AMIs: %w", err)
	}
	hash := ami.Spec.ClientCommitHash
	var refused field.ErrorList
	for _, image := range ami.Spec.Images {
		if old != nil && old.Spec.ClientCommitHash == hash && old.Image(image.Region) != nil {
			continue
		}
		for i := range amis.Items {
			other := &amis.Items[i]
			if other.Name == ami.Name || !other.DeletionTimestamp.IsZero() || !offers(other, hash, image.Region) {
				continue
			}
			refused = append(refused, field.Invalid(field.NewPath("spec", "clientCommitHash"), hash, fmt.Sprintf(
				"%s: AMI %q owns this commit hash in region %q; release another one, or take the region out of that AMI first",
				v1alpha1.ReasonCommitHashTaken, other.Name, image.Region)))
		}
	}
	return refused, nil
}

// offers says whether the channel has the commit hash in the region: in its
// spec, or in a release that serves or is about to.
func offers(ami *v1alpha1.AMI, hash, region string) bool {
	if ami.Spec.ClientCommitHash == hash && ami.Image(region) != nil {
		return true
	}
	for i := range ami.Status.Revisions {
		revision := &ami.Status.Revisions[i]
		serving := revision.State == v1alpha1.RevisionActive || revision.State == v1alpha1.RevisionWarming
		if serving && revision.ClientCommitHash == hash && revision.Row(region) != nil {
			return true
		}
	}
	return false
}
