// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/index"
)

// What a Mandelbox asks of other objects is immutable, so that CREATE is all
// there is to check. failurePolicy is Fail: the limit of a user bounds what they
// can cost, and must not lapse with the manager.
//
// +kubebuilder:webhook:path=/validate-cloud-mandelbox-dev-v1alpha1-mandelbox,mutating=false,failurePolicy=fail,sideEffects=None,timeoutSeconds=3,groups=cloud.mandelbox.dev,resources=mandelboxes,verbs=create,versions=v1alpha1,name=mandelbox.cloud.mandelbox.dev,admissionReviewVersions=v1,serviceName=mandelbox-operator-webhook,serviceNamespace=mandelbox-system

// mandelboxValidator checks a session against the regions, the channels and the
// user's other sessions.
type mandelboxValidator struct {
	reader             client.Reader
	allowDevClients    bool
	mandelboxesPerUser int32
}

// ValidateCreate refuses a session that could never start, or that its user may
// not have, and warns of a region or a release that isn't there yet.
func (v *mandelboxValidator) ValidateCreate(ctx context.Context, mandelbox *v1alpha1.Mandelbox) (admission.Warnings, error) {
	regions, err := regionsByName(ctx, v.reader)
	if err != nil {
		return nil, err
	}
	var refused field.ErrorList
	warnings := warnAbsentRegions("spec.regions", mandelbox.Spec.Regions, regions)
	if len(warnings) == 0 {
		refused = append(refused, refuseDisabledRegions(mandelbox.Spec.Regions, regions)...)
	}
	more, errs, err := v.checkRelease(ctx, mandelbox, regions)
	if err != nil {
		return nil, err
	}
	warnings, refused = append(warnings, more...), append(refused, errs...)

	more, errs, err = v.checkLimit(ctx, mandelbox)
	if err != nil {
		return nil, err
	}
	return append(warnings, more...), invalid("Mandelbox", mandelbox.Name, append(refused, errs...))
}

// ValidateUpdate has nothing to check: CEL keeps all but the lifetime fields as they are.
func (v *mandelboxValidator) ValidateUpdate(context.Context, *v1alpha1.Mandelbox, *v1alpha1.Mandelbox) (admission.Warnings, error) {
	return nil, nil
}

// ValidateDelete is never called: deletion is always accepted.
func (v *mandelboxValidator) ValidateDelete(context.Context, *v1alpha1.Mandelbox) (admission.Warnings, error) {
	return nil, nil
}

// warnAbsentRegions warns of each name that no Region has.
func warnAbsentRegions(path string, names []string, regions map[string]*v1alpha1.Region) admission.Warnings {
	var warnings admission.Warnings
	for _, name := range names {
		if regions[name] == nil {
			warnings = append(warnings, fmt.Sprintf("%s: there is no Region %q yet; it is passed over until it exists", path, name))
		}
	}
	return warnings
}

// reach is where a request may be assigned: its regions, each followed by its
// fallbackRegions, as far as they exist, whether they are enabled or not.
func reach(requested []string, regions map[string]*v1alpha1.Region) []*v1alpha1.Region {
	var reached []*v1alpha1.Region
	add := func(name string) {
		if region := regions[name]; region != nil && !slices.Contains(reached, region) {
			reached = append(reached, region)
		}
	}
	for _, name := range requested {
		add(name)
		if region := regions[name]; region != nil {
			for _, fallback := range region.Spec.FallbackRegions {
				add(fallback)
			}
		}
	}
	return reached
}

// refuseDisabledRegions refuses a request whose regions all exist and none of
// which, nor any they fall back on, is enabled.
func refuseDisabledRegions(requested []string, regions map[string]*v1alpha1.Region) field.ErrorList {
	if slices.ContainsFunc(reach(requested, regions), (*v1alpha1.Region).Enabled) {
		return nil
	}
	var enabled []string
	for name, region := range regions {
		if region.Enabled() {
			enabled = append(enabled, name)
		}
	}
	slices.Sort(enabled)
	advice := "no Region is enabled at present"
	if len(enabled) > 0 {
		advice = "ask for one that is: " + strings.Join(enabled, ", ")
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "regions"), requested,
		v1alpha1.ReasonRegionNotEnabled+": none of these regions, nor any they fall back on, is enabled; "+advice)}
}

// checkRelease refuses a developer's client where there must be none, and warns
// of a channel or a commit hash that isn't offered where the session may run.
func (v *mandelboxValidator) checkRelease(ctx context.Context, mandelbox *v1alpha1.Mandelbox, regions map[string]*v1alpha1.Region) (admission.Warnings, field.ErrorList, error) {
	hash := mandelbox.Spec.ClientCommitHash
	switch {
	case hash == v1alpha1.LocalDevCommitHash:
		if v.allowDevClients {
			return nil, nil, nil
		}
		return nil, field.ErrorList{field.Forbidden(field.NewPath("spec", "clientCommitHash"),
			hash+" is for developers' clients, which this manager refuses; run it with --allow-dev-clients, or name a commit hash")}, nil
	case hash != "":
		warnings, err := v.warnUnknownHash(ctx, hash, reach(mandelbox.Spec.Regions, regions))
		return warnings, nil, err
	default:
		warnings, err := v.warnUnknownChannel(ctx, mandelbox.Spec.AMIName, reach(mandelbox.Spec.Regions, regions))
		return warnings, nil, err
	}
}

// warnUnknownHash warns if no channel offers the hash in any of the regions.
func (v *mandelboxValidator) warnUnknownHash(ctx context.Context, hash string, reached []*v1alpha1.Region) (admission.Warnings, error) {
	var amis v1alpha1.AMIList
	if err := v.reader.List(ctx, &amis); err != nil {
		return nil, fmt.Errorf("listing AMIs: %w", err)
	}
	for i := range amis.Items {
		ami := &amis.Items[i]
		if slices.ContainsFunc(reached, func(r *v1alpha1.Region) bool { return offers(ami, hash, r.Name) }) {
			return nil, nil
		}
	}
	return admission.Warnings{fmt.Sprintf(
		"spec.clientCommitHash: no AMI offers %s in these regions yet; the session waits until one does, or until assignmentTimeout", hash)}, nil
}

// warnUnknownChannel warns if the channel doesn't exist, or has no image in any of the regions.
func (v *mandelboxValidator) warnUnknownChannel(ctx context.Context, name string, reached []*v1alpha1.Region) (admission.Warnings, error) {
	var ami v1alpha1.AMI
	err := v.reader.Get(ctx, client.ObjectKey{Name: name}, &ami)
	if apierrors.IsNotFound(err) {
		return admission.Warnings{fmt.Sprintf(
			"spec.amiName: there is no AMI %q yet; the session waits until there is, or until assignmentTimeout", name)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading AMI %s: %w", name, err)
	}
	if slices.ContainsFunc(reached, func(r *v1alpha1.Region) bool { return ami.Image(r.Name) != nil || ami.ActiveRow(r.Name) != nil }) {
		return nil, nil
	}
	return admission.Warnings{fmt.Sprintf(
		"spec.amiName: AMI %q has no image in these regions yet; the session waits until it has, or until assignmentTimeout", name)}, nil
}

// checkLimit refuses one Mandelbox more than the user may hold in the namespace.
func (v *mandelboxValidator) checkLimit(ctx context.Context, mandelbox *v1alpha1.Mandelbox) (admission.Warnings, field.ErrorList, error) {
	var namespace corev1.Namespace
	if err := v.reader.Get(ctx, client.ObjectKey{Name: mandelbox.Namespace}, &namespace); client.IgnoreNotFound(err) != nil {
		return nil, nil, fmt.Errorf("reading namespace %s: %w", mandelbox.Namespace, err)
	}
	var warnings admission.Warnings
	limit, err := MandelboxesPerUser(&namespace, v.mandelboxesPerUser)
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	if limit == 0 {
		return warnings, nil, nil
	}
	held, err := index.UnfinishedOf(ctx, v.reader, mandelbox.Namespace, mandelbox.Spec.UserID)
	if err != nil {
		return nil, nil, err
	}
	// One that is going makes room.
	held = slices.DeleteFunc(held, func(m *v1alpha1.Mandelbox) bool { return !m.DeletionTimestamp.IsZero() })
	if len(held) < int(limit) {
		return warnings, nil, nil
	}
	return warnings, field.ErrorList{field.Forbidden(field.NewPath("spec", "userID"), fmt.Sprintf(
		"%s: user %q holds %d Mandelboxes in namespace %s, where %d are allowed; end one first",
		v1alpha1.ReasonUserAlreadyActive, mandelbox.Spec.UserID, len(held), mandelbox.Namespace, limit))}, nil
}

// MandelboxesPerUser returns how many Mandelboxes one user may hold at once in
// the namespace, 0 meaning no limit: what its annotation
// cloud.mandelbox.dev/mandelboxes-per-user says, or else the manager's limit. If
// the annotation isn't a number from 0, it returns the manager's limit and an
// error that says so.
func MandelboxesPerUser(namespace *corev1.Namespace, managers int32) (int32, error) {
	value, ok := namespace.Annotations[v1alpha1.AnnotationMandelboxesPerUser]
	if !ok {
		return managers, nil
	}
	limit, err := strconv.ParseInt(value, 10, 32)
	if err != nil || limit < 0 {
		return managers, fmt.Errorf("annotation %s of namespace %s is %q, which is not a number from 0; the manager's limit of %d holds",
			v1alpha1.AnnotationMandelboxesPerUser, namespace.Name, value, managers)
	}
	return int32(limit), nil
}
