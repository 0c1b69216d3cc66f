// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// The finalizer comes with the creation, so that no write is needed for it between a
// session's assignment and its start. Nobody depends on it: failurePolicy is Ignore, and
// the controller writes the finalizer on a session that came without.
//
// +kubebuilder:webhook:path=/mutate-cloud-mandelbox-dev-v1alpha1-mandelbox,mutating=true,failurePolicy=ignore,sideEffects=None,timeoutSeconds=1,groups=cloud.mandelbox.dev,resources=mandelboxes,verbs=create,versions=v1alpha1,name=finalizer.mandelbox.cloud.mandelbox.dev,admissionReviewVersions=v1,serviceName=mandelbox-operator-webhook,serviceNamespace=mandelbox-system

// finalizerPath is where the API server calls the webhook, by the marker above.
const finalizerPath = "/mutate-cloud-mandelbox-dev-v1alpha1-mandelbox"

// addFinalizer adds the finalizer to a Mandelbox that is being created. It names the
// one change, and doesn't encode the object anew: that would write durations otherwise
// than a person did, which is then no longer what they have in their manifest.
func addFinalizer(_ context.Context, request admission.Request) admission.Response {
	var created metav1.PartialObjectMetadata
	if err := json.Unmarshal(request.Object.Raw, &created); err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("decoding the metadata of Mandelbox %s/%s: %w", request.Namespace, request.Name, err))
	}
	switch {
	case slices.Contains(created.Finalizers, v1alpha1.MandelboxFinalizer):
		return admission.Allowed("")
	case len(created.Finalizers) == 0:
		return admission.Patched("", jsonpatch.NewOperation("add", "/metadata/finalizers", []string{v1alpha1.MandelboxFinalizer}))
	}
	return admission.Patched("", jsonpatch.NewOperation("add", "/metadata/finalizers/-", v1alpha1.MandelboxFinalizer))
}
