// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region_test

import (
	"context"
	"sync"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mandelbox/mandelbox-operator/controllers/region"
	"github.com/mandelbox/mandelbox-operator/controllers/region/fleettest"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

var (
	fleet *fleettest.Fleet
	queue = &waiting{changed: &trigger.Trigger{}}
)

// waiting stands in for the Mandelbox controller's queue.
type waiting struct {
	mu      sync.Mutex
	counts  map[placement.Key]int32
	changed *trigger.Trigger
}

// Demand returns the number of Mandelboxes that wait for each release of a region.
func (w *waiting) Demand(region string) placement.Demand {
	w.mu.Lock()
	defer w.mu.Unlock()
	pending := map[placement.Key]int32{}
	for key, n := range w.counts {
		if key.Region == region {
			pending[key] = n
		}
	}
	return placement.Demand{Pending: pending}
}

// set has so many Mandelboxes wait for a release.
func (w *waiting) set(key placement.Key, n int32) {
	w.mu.Lock()
	if w.counts == nil {
		w.counts = map[placement.Key]int32{}
	}
	w.counts[key] = n
	w.mu.Unlock()
	w.changed.FireName(key.Region)
}

func TestRegion(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	RunSpecs(t, "Region", suite, reporter)
}

var _ = BeforeSuite(func(context.Context) {
	fleet = fleettest.Start(func(mgr ctrl.Manager, regions *cloud.Regions) error {
		return (&region.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, ClusterID: fleettest.ClusterID,
			Events: mgr.GetEventRecorder("region"), Clock: clock.RealClock{},
			Demand: queue, Changes: queue.changed,
		}).SetupWithManager(mgr)
	})
})
