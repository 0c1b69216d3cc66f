// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package fleettest

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// letHostsLeave has an Instance go as soon as it is deleted. That is the Instance
// controller's work, which these suites run without, since no Instance of theirs has
// a host behind it.
func letHostsLeave(manager ctrl.Manager) error {
	c := manager.GetClient()
	return ctrl.NewControllerManagedBy(manager).Named("leave").For(&v1alpha1.Instance{}).Complete(
		reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
			var host v1alpha1.Instance
			if err := c.Get(ctx, request.NamespacedName, &host); err != nil {
				return reconcile.Result{}, client.IgnoreNotFound(err)
			}
			before := host.DeepCopy()
			if host.DeletionTimestamp.IsZero() || !controllerutil.RemoveFinalizer(&host, v1alpha1.InstanceFinalizer) {
				return reconcile.Result{}, nil
			}
			return reconcile.Result{}, client.IgnoreNotFound(c.Patch(ctx, &host, client.MergeFrom(before)))
		}))
}
