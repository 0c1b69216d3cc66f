// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trigger

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Later asks for one more look at an object a while after its last known change,
// whoever made it. A status that another manager wrote by what it had not yet seen,
// and then ended, would otherwise stay until something else happens; the while keeps
// a controller's own writes from being followed by a look each.
func Later(while time.Duration) handler.EventHandler {
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() {
				q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.ObjectNew)}, while)
			}
		},
	}
}
