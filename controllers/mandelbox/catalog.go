// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// released are the newest versions of AMIs that this manager wrote and that its cache
// may not show yet, by name. By an older one a session could be given a slot on a
// release that was replaced before the session came.
type released map[string]*v1alpha1.AMI

// newest returns the newest version known of each AMI of the cache, and forgets what
// the cache has by now, or has no more.
func (r released) newest(cached []v1alpha1.AMI) []v1alpha1.AMI {
	amis, behind := slices.Clone(cached), released{}
	for i := range amis {
		of := &amis[i]
		if ours := r[of.Name]; ours != nil && ours.UID == of.UID && !newer(of, ours) {
			behind[of.Name] = ours
			amis[i] = *ours
		}
	}
	clear(r)
	maps.Copy(r, behind)
	return amis
}

// Released takes in an AMI as it was just written, ahead of the cache: from now on
// its sessions are given slots by this version.
func (a *Assigner) Released(ami *v1alpha1.AMI) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := a.released[ami.Name]; last != nil && last.UID == ami.UID && newer(last, ami) {
		return
	}
	a.released[ami.Name] = ami
	a.catalog = nil
	a.Wake()
}

// readCatalog lists what the regions offer; the lock is held.
func (a *Assigner) readCatalog(ctx context.Context) (placement.Catalog, error) {
	var regions v1alpha1.RegionList
	if err := a.Client.List(ctx, &regions); err != nil {
		return nil, fmt.Errorf("listing Regions: %w", err)
	}
	var amis v1alpha1.AMIList
	if err := a.Client.List(ctx, &amis); err != nil {
		return nil, fmt.Errorf("listing AMIs: %w", err)
	}
	return placement.CatalogOf(regions.Items, a.released.newest(amis.Items)), nil
}

// userLimit returns how many Mandelboxes one user may hold in a namespace; 0 is no
// limit. An annotation that is no number was warned of at admission.
func userLimit(ctx context.Context, c client.Reader, namespace string, managers int32) (int32, error) {
	var ns corev1.Namespace
	if err := c.Get(ctx, types.NamespacedName{Name: namespace}, &ns); err != nil {
		return 0, fmt.Errorf("reading namespace %s: %w", namespace, err)
	}
	limit, err := webhook.MandelboxesPerUser(&ns, managers)
	if err != nil {
		return managers, nil //nolint:nilerr // The manager's limit holds, as the error says.
	}
	return limit, nil
}

func union[V any](a, b map[string]V) map[string]struct{} {
	keys := make(map[string]struct{}, len(a)+len(b))
	for k := range a {
		keys[k] = struct{}{}
	}
	for k := range b {
		keys[k] = struct{}{}
	}
	return keys
}

func equalCounts(a, b map[placement.Key]int32) bool { return maps.Equal(a, b) }
