// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// sole has an Instance give up a host that another has too, before it takes sessions:
// each would offer the host's slots. Only an adoption can come to that, by two managers
// that both believe they lead. Each Instance is written before it is looked for here,
// so that of two the later sees the other; if both do, both begin anew.
func (r *Reconciler) sole(ctx context.Context, s *scope) error {
	i := s.instance
	if !s.connected() || i.Status.ActiveTime != nil || i.Leaving() || !mayBeAdopted(i) {
		return nil
	}
	var list v1alpha1.InstanceList
	if err := r.Live.List(ctx, &list, client.MatchingFields{"spec.regionName": i.Spec.RegionName}); err != nil {
		return fmt.Errorf("looking for another Instance of %s: %w", s.host.InstanceID, err)
	}
	for n := range list.Items {
		if other := &list.Items[n]; other.Name != i.Name && other.LaunchKey() == i.LaunchKey() {
			return r.begin(ctx, s, other)
		}
	}
	return nil
}

// mayBeAdopted says whether the intent may be one that adopt wrote.
func mayBeAdopted(i *v1alpha1.Instance) bool {
	return i.Status.Launch != nil && i.Status.Launch.Count == i.Status.Launch.Index+1
}

// begin has the Instance be as if it was new, because its host is another's.
func (r *Reconciler) begin(ctx context.Context, s *scope, other *v1alpha1.Instance) error {
	after := s.before.DeepCopy()
	after.Status = v1alpha1.InstanceStatus{}
	if err := status.Patch(ctx, r.Client, s.before, after, true); err != nil {
		return fmt.Errorf("giving up %s, which is Instance %s's: %w", s.host.InstanceID, other.Name, err)
	}
	r.Events.Eventf(after, nil, corev1.EventTypeWarning, "HostShared", "Adopt",
		"%s belongs to Instance %s too: looking for another host", s.host.InstanceID, other.Name)
	s.gone = true // The rest is for the version that has no host.
	return nil
}
