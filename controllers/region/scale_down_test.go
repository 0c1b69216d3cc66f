// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// TestScaleDownOfRetired holds that hosts of a release which is retired by the cache
// stay where it is wanted again by now: a rollout that turned back counts on them.
func TestScaleDownOfRetired(t *testing.T) {
	claim := []v1alpha1.Claim{{Slot: 0, Namespace: "team", Name: "ada", UID: "u", Attempt: 1}}
	for name, test := range map[string]struct {
		claims []v1alpha1.Claim
		// again says that the API server's AMI wants the release, unlike the cache's;
		// gone that there is no such AMI any more, and lost that its status is.
		again, gone, lost bool
		stays             bool
	}{
		"empty, and retired":                   {},
		"empty, and its channel deleted":       {gone: true},
		"empty, and wanted again":              {again: true, stays: true},
		"empty, and its channel's status lost": {lost: true, stays: true},
		"with a session, and retired":          {claims: claim},
		"with a session, and the status lost":  {claims: claim, lost: true, stays: true},
		"with a session, and wanted once more": {claims: claim, again: true, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := world()
			host := &v1alpha1.Instance{
				ObjectMeta: metav1.ObjectMeta{Name: "east-old-1-0", UID: "h", ResourceVersion: "7"},
				Spec:       v1alpha1.InstanceSpec{RegionName: "east", AMIName: s.amis[0].Name, Revision: "old"},
				Status:     v1alpha1.InstanceStatus{Claims: test.claims},
			}
			host.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s.region,
				schema.GroupVersionKind{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: "Region"})}
			s.hosts, s.before = []v1alpha1.Instance{*host}, s.region.DeepCopy()
			s.count()
			objects := []client.Object{host}
			if !test.gone {
				ami := s.amis[0].DeepCopy()
				if test.lost {
					ami.Status = v1alpha1.AMIStatus{}
				}
				if test.again {
					ami.Status.Revisions = append(ami.Status.Revisions, v1alpha1.Revision{
						Name: "old", State: v1alpha1.RevisionWarming, Regions: []v1alpha1.RevisionRegion{{Region: "east", ID: "old"}},
					})
				}
				objects = append(objects, ami)
			}
			c := fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).Build()
			r := &Reconciler{Client: c, Live: c, Events: events.NewFakeRecorder(10)}
			if err := r.scaleDown(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if stays := isOpen(t, c, host); stays != test.stays {
				t.Errorf("the host stays: %t, want %t", stays, test.stays)
			}
			if (s.lookAgain > 0 && s.lookAgain <= time.Second) != test.stays {
				t.Errorf("looks again after %s", s.lookAgain)
			}
		})
	}
}

// TestScaleDownOfAChannelThatSaysNothing holds that no host goes, also of a Region that
// is disabled, before the channel's status, which was lost, says what it wants.
func TestScaleDownOfAChannelThatSaysNothing(t *testing.T) {
	for name, deleted := range map[string]bool{"as it was lost": false, "as it is deleted": true} {
		t.Run(name, func(t *testing.T) {
			s := world(hosts("r1", 2, 0), func(s *scope) {
				s.amis[0].Status = v1alpha1.AMIStatus{}
				if deleted {
					s.amis[0].DeletionTimestamp = ptr.To(metav1.Now())
				}
			})
			if leave := len(s.candidates()) > 0; leave != deleted {
				t.Errorf("hosts may leave: %t, want %t", leave, deleted)
			}
		})
	}
}

// isOpen says whether an Instance is there and not told to drain.
func isOpen(t *testing.T, c client.Client, host *v1alpha1.Instance) bool {
	t.Helper()
	var list v1alpha1.InstanceList
	if err := c.List(context.Background(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if list.Items[i].Name == host.Name {
			return !ptr.Deref(list.Items[i].Spec.Drain, false)
		}
	}
	return false
}
