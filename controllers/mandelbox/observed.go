// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
)

// Observed wakes the session whose task changed in the cloud, and those that hold a
// slot in a region, and may wait for something, when it changes how far its
// observations can be relied on.
func (r *Reconciler) Observed(ctx context.Context, region string, change cloud.Change) {
	if uid, _, ok := cloud.ParseStartedBy(change.StartedBy); ok {
		m, err := index.SessionOf(ctx, r.Client, uid)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Looking up the session of a change in the cloud", "region", region, "task", change.TaskARN)
		}
		if m != nil {
			r.Wake.Fire(client.ObjectKeyFromObject(m))
		}
		return
	}
	open, ok := r.Regions.Get(region)
	if change.Kind != cloud.SyncedChanged || !ok {
		return
	}
	var list v1alpha1.MandelboxList
	if err := r.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Looking up the sessions of a change in the cloud", "region", region)
		return
	}
	for i := range list.Items {
		if m := &list.Items[i]; m.Status.Region == region && !m.Finished() && !seenRunning(m, open.Observer()) {
			r.Wake.Fire(client.ObjectKeyFromObject(m))
		}
	}
}

// seenRunning says whether a session runs and is seen to: it waits for nothing that
// the cloud has yet to say, and is woken when its task or its host changes. They are
// nearly all, and many thousands.
func seenRunning(m *v1alpha1.Mandelbox, observer *cloud.Observer) bool {
	if m.Status.Phase != v1alpha1.MandelboxRunning || !m.DeletionTimestamp.IsZero() {
		return false
	}
	for _, task := range observer.TasksStartedBy(cloud.StartedBy(string(m.UID), m.Status.Attempt)) {
		member, _ := observer.ContainerHostByARN(task.ContainerHostARN)
		host, presence := observer.HostByID(member.InstanceID)
		if task.LastStatus == cloud.TaskRunning && task.DesiredStatus == cloud.TaskRunning &&
			presence == cloud.Present && host.State == cloud.HostRunning {
			return true
		}
	}
	return false
}
