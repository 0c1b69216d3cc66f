// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Finalizers. Each is written before the first call to AWS that makes something
// which the object's deletion must take away again.
const (
	// MandelboxFinalizer holds a Mandelbox until its task was seen stopped.
	MandelboxFinalizer = "cloud.mandelbox.dev/task"
	// InstanceFinalizer holds an Instance until its host was seen terminated.
	InstanceFinalizer = "cloud.mandelbox.dev/host"
	// AMIFinalizer holds an AMI until no Instance of it is left.
	AMIFinalizer = "cloud.mandelbox.dev/channel"
	// RegionFinalizer holds a Region until no Instance is left in it.
	RegionFinalizer = "cloud.mandelbox.dev/region"
)

// Labels that the operator puts on the Instances it makes.
const (
	// LabelRegion is the name of the Region an Instance is in.
	LabelRegion = "cloud.mandelbox.dev/region"
	// LabelAMI is the name of the AMI an Instance belongs to.
	LabelAMI = "cloud.mandelbox.dev/ami"
	// LabelRevision is the AMI's revision, in that region, an Instance was made for.
	LabelRevision = "cloud.mandelbox.dev/revision"
	// LabelDecision is the number of the scaling decision that asked for an Instance.
	LabelDecision = "cloud.mandelbox.dev/decision"
	// LabelLaunchParameters is a hash of the Region's launch parameters that an
	// Instance was made with.
	LabelLaunchParameters = "cloud.mandelbox.dev/launch-parameters"
)

// AnnotationMandelboxesPerUser on a namespace overrides the manager's limit of
// Mandelboxes that one user may hold in that namespace; 0 means no limit.
const AnnotationMandelboxesPerUser = "cloud.mandelbox.dev/mandelboxes-per-user"

// AnnotationRemoveOrphans on a Region says how many hosts without an Instance, or
// tasks without a Mandelbox, may be removed at once, where that are more than the
// operator dares to unasked.
const AnnotationRemoveOrphans = "cloud.mandelbox.dev/remove-orphans"

// LocalDevCommitHash is the commit hash of a developer's client: it fits whatever
// release is active. Admission accepts it only with --allow-dev-clients.
const LocalDevCommitHash = "local_dev"

// AnnotationForceDrainAfter on an Instance that is leaving is a time, in RFC 3339,
// after which the sessions that are left on it are stopped.
const AnnotationForceDrainAfter = "cloud.mandelbox.dev/force-drain-after"

// AnnotationReconcileAt on a Region or an AMI asks for a reconcile now, with a fresh
// look at what AWS has of network, images and instance types, whenever its value
// changes; a time in RFC 3339 by convention. The value that was answered last is
// status.lastHandledReconcileAt.
const AnnotationReconcileAt = "cloud.mandelbox.dev/reconcile-at"

// MaxReconcileAt is how much of the annotation's value is looked at.
const MaxReconcileAt = 256

// ReconcileAt is the value of AnnotationReconcileAt on an object, cut to what a
// status has room for; "" if it isn't annotated.
func ReconcileAt(object metav1.Object) string {
	value := object.GetAnnotations()[AnnotationReconcileAt]
	return strings.ToValidUTF8(value[:min(len(value), MaxReconcileAt)], "")
}

// AnnotationRetryLaunches on a Region is a time, in RFC 3339: hosts that were made
// before it and never became Active no longer keep their release from being launched.
const AnnotationRetryLaunches = "cloud.mandelbox.dev/retry-launches"
