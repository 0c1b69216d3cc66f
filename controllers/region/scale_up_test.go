// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// testScheme has what the controller reads and writes.
func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// TestCarryOutDecision holds that a manager whose cache lags behind makes no host of
// a decision that another manager has finished, or gone beyond: those hosts may have
// left since, and others been launched in their place.
func TestCarryOutDecision(t *testing.T) {
	decision := func(number int64, done bool) *v1alpha1.ScalingDecision {
		return &v1alpha1.ScalingDecision{Number: number, Done: ptr.To(done), Launches: []v1alpha1.ScalingLaunch{
			{AMIName: "stable", Revision: "r1", Count: 2},
		}}
	}
	for name, test := range map[string]struct {
		// live is what the API server has; the cache has decision 5, undone.
		live  *v1alpha1.ScalingDecision
		want  int
		stale bool
	}{
		"still the newest, and undone": {live: decision(5, false), want: 2},
		"done by another manager":      {live: decision(5, true), stale: true},
		"followed by another":          {live: decision(6, false), stale: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := world()
			s.region.Status.Decision = decision(5, false)
			s.before = s.region.DeepCopy()
			stored := s.region.DeepCopy()
			stored.Status.Decision = test.live
			c := fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(stored).Build()
			r := &Reconciler{Client: c, Live: c}
			if err := r.carryOutDecision(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			var hosts v1alpha1.InstanceList
			if err := c.List(t.Context(), &hosts); err != nil {
				t.Fatal(err)
			}
			if len(hosts.Items) != test.want || s.stale != test.stale {
				t.Errorf("%d hosts were made and stale is %t, want %d and %t", len(hosts.Items), s.stale, test.want, test.stale)
			}
		})
	}
}
