// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"testing"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// TestAWarmupRunsOnAHostThatWasNeverSeenBefore holds for a host that has booted and
// registered by the time it is first looked at: its status doesn't name it yet.
func TestAWarmupRunsOnAHostThatWasNeverSeenBefore(t *testing.T) {
	s := &scope{
		instance: &v1alpha1.Instance{Status: v1alpha1.InstanceStatus{Launch: &v1alpha1.Launch{Token: "t"}}},
		ami:      &v1alpha1.AMI{Spec: v1alpha1.AMISpec{Warmup: &v1alpha1.Warmup{}}},
		row:      &v1alpha1.RevisionRegion{TaskDefinition: "box:1", ContainerName: "mandelbox"},
		member:   &cloud.ContainerHost{ARN: "ci-1", InstanceID: "i-1"},
	}
	run := (&Reconciler{}).warmupTask(s)
	if run.InstanceID != "i-1" || run.ContainerHostARN != "ci-1" {
		t.Errorf("the warm-up is to run on %q (%s), want the host i-1", run.InstanceID, run.ContainerHostARN)
	}
}
