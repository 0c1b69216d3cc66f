// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami_test

import (
	"context"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mandelbox/mandelbox-operator/controllers/ami"
	"github.com/mandelbox/mandelbox-operator/controllers/region"
	"github.com/mandelbox/mandelbox-operator/controllers/region/fleettest"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

var fleet *fleettest.Fleet

func TestAMI(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	RunSpecs(t, "AMI", suite, reporter)
}

// The Region controller runs beside that of AMIs, so that rollouts get hosts; the
// specs have those become Active.
var _ = BeforeSuite(func(context.Context) {
	fleet = fleettest.Start(func(mgr ctrl.Manager, regions *cloud.Regions) error {
		if err := (&region.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, ClusterID: fleettest.ClusterID,
			Events: mgr.GetEventRecorder("region"), Clock: clock.RealClock{},
		}).SetupWithManager(mgr); err != nil {
			return err
		}
		return (&ami.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, ClusterID: fleettest.ClusterID,
			Events: mgr.GetEventRecorder("ami"), Clock: clock.RealClock{},
		}).SetupWithManager(mgr)
	})
})
