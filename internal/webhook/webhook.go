// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webhook refuses what makes no sense, and warns of what may not, before
// the API server stores it. It checks only what needs another object; what an
// object can prove alone is left to the CEL rules in api/v1alpha1.
//
// What is absent warns, since it may arrive later in the same sync. What exists
// and says no refuses. Every answer comes from the manager's cache, so a check
// may miss what was written a moment ago: the controllers check again.
//
// The webhooks are called for CREATE and, where another object matters, UPDATE
// of a changed spec; never for DELETE, for status, or for an object that is
// being deleted. That a deletion is taken never depends on the manager being up.
//
// One more webhook changes what is created: it puts the finalizer on a Mandelbox, whose
// object then goes when the manager has seen its task stopped.
//
// +kubebuilder:webhookconfiguration:mutating=false,name=mandelbox-operator
// +kubebuilder:webhookconfiguration:mutating=true,name=mandelbox-operator
package webhook

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// +kubebuilder:rbac:groups=cloud.mandelbox.dev,resources=regions;amis;mandelboxes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=list;watch

// Options say what the webhooks allow.
type Options struct {
	// Reader answers reads: the manager's client, which reads from its cache, by
	// default. Another one must have the indexes of package index.
	Reader client.Reader
	// AllowDevClients accepts Mandelboxes with the commit hash "local_dev".
	AllowDevClients bool
	// MandelboxesPerUser is how many Mandelboxes one user may hold at once in one
	// namespace; 0 means no limit. An annotation on the namespace overrides it.
	MandelboxesPerUser int32
}

// SetupWithManager registers the webhook of every kind with the manager's
// webhook server. It must be called before the manager starts, whose cache must have
// the indexes of package index.
func SetupWithManager(mgr ctrl.Manager, opts Options) error {
	reader := opts.Reader
	if reader == nil {
		reader = mgr.GetClient()
	}
	mandelboxes := &mandelboxValidator{
		reader: reader, allowDevClients: opts.AllowDevClients, mandelboxesPerUser: opts.MandelboxesPerUser,
	}
	if err := ctrl.NewWebhookManagedBy(mgr, &v1alpha1.Mandelbox{}).WithValidator(mandelboxes).Complete(); err != nil {
		return fmt.Errorf("registering the webhook of Mandelboxes: %w", err)
	}
	mgr.GetWebhookServer().Register(finalizerPath, &admission.Webhook{Handler: admission.HandlerFunc(addFinalizer)})
	if err := ctrl.NewWebhookManagedBy(mgr, &v1alpha1.Instance{}).WithValidator(&instanceValidator{reader}).Complete(); err != nil {
		return fmt.Errorf("registering the webhook of Instances: %w", err)
	}
	if err := ctrl.NewWebhookManagedBy(mgr, &v1alpha1.AMI{}).WithValidator(&amiValidator{reader}).Complete(); err != nil {
		return fmt.Errorf("registering the webhook of AMIs: %w", err)
	}
	if err := ctrl.NewWebhookManagedBy(mgr, &v1alpha1.Region{}).WithValidator(&regionValidator{reader}).Complete(); err != nil {
		return fmt.Errorf("registering the webhook of Regions: %w", err)
	}
	return nil
}

// invalid returns the API error that lists every field that was refused, or nil
// if none was.
func invalid(kind, name string, refused field.ErrorList) error {
	if len(refused) == 0 {
		return nil
	}
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind(kind).GroupKind(), name, refused)
}

// regionsByName reads all Regions. There are tens of them at most.
func regionsByName(ctx context.Context, reader client.Reader) (map[string]*v1alpha1.Region, error) {
	var list v1alpha1.RegionList
	if err := reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing Regions: %w", err)
	}
	regions := make(map[string]*v1alpha1.Region, len(list.Items))
	for i := range list.Items {
		regions[list.Items[i].Name] = &list.Items[i]
	}
	return regions, nil
}
