// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("The webhook of Regions", func() {
	const aRole = "arn:aws:iam::123456789012:role/mandelbox"
	var region *v1alpha1.Region
	BeforeEach(func(ctx context.Context) { region = create(ctx, newRegion()) })
	// twin stands for the same AWS region, under another name.
	twin := func(changes ...func(*v1alpha1.Region)) *v1alpha1.Region {
		other := newRegion(changes...)
		other.Spec.AWSRegion = region.Name
		return other
	}
	inCluster := func(name string) func(*v1alpha1.Region) {
		return func(r *v1alpha1.Region) { r.Spec.ECSCluster = name }
	}
	withRole := func(r *v1alpha1.Region) { r.Spec.RoleARN = aRole }

	It("accepts one that falls back on another, also in a circle", func(ctx context.Context) {
		back := create(ctx, newRegion(fallingBackOn(region.Name)))
		region.Spec.FallbackRegions = []string{back.Name}
		expectAdmitted(admitUpdate(ctx, region))
	})
	It("warns of an absent fallback, when it is made and when it is changed", func(ctx context.Context) {
		warned := expectWarned(`spec.fallbackRegions: there is no Region "us-nowhere-1" yet`)
		warned(admit(ctx, newRegion(fallingBackOn("us-nowhere-1"))))
		region.Spec.FallbackRegions = []string{"us-nowhere-1"}
		warned(admitUpdate(ctx, region))
	})
	It("refuses a second one for the same ECS cluster", func(ctx context.Context) {
		expectRefused("spec.ecsCluster", region.Name)(admit(ctx, twin()))
	})
	It("accepts another cluster of the same AWS region", func(ctx context.Context) {
		expectAdmitted(admit(ctx, twin(inCluster("another"))))
	})
	It("accepts the same cluster's name in another account", func(ctx context.Context) {
		expectAdmitted(admit(ctx, twin(withRole)))
	})
	It("refuses to move it into the cluster of another one", func(ctx context.Context) {
		other := create(ctx, twin(withRole))
		other.Spec.RoleARN = ""
		expectRefused("spec.ecsCluster", region.Name)(admitUpdate(ctx, other))
	})

	It("refuses schedules that can't be read, when it is made and when it is changed", func(ctx context.Context) {
		peak := func(cron, zone string) func(*v1alpha1.Region) {
			return func(r *v1alpha1.Region) {
				r.Spec.Capacity.Schedules = []v1alpha1.Schedule{{
					Name: "peak", Cron: cron, TimeZone: zone, Duration: metav1.Duration{Duration: time.Hour}, DesiredFreeMandelboxes: ptr.To[int32](50),
				}}
			}
		}
		expectAdmitted(admit(ctx, newRegion(peak("30 7 * * MON-FRI", "Europe/Paris"))))
		refusedCron := expectRefused("spec.capacity.schedules[peak]", "61 7 * * *")
		refusedCron(admit(ctx, newRegion(peak("61 7 * * *", "UTC"))))
		expectRefused("spec.capacity.schedules[peak]", "Europe/Atlantis")(admit(ctx, newRegion(peak("30 7 * * *", "Europe/Atlantis"))))
		expectRefused("spec.capacity.schedules[peak]", "fits no day")(admit(ctx, newRegion(peak("0 9 30 2 *", "UTC"))))
		peak("61 7 * * *", "UTC")(region)
		refusedCron(admitUpdate(ctx, region))
	})

	Describe("with hosts", func() {
		BeforeEach(func(ctx context.Context) {
			region.Status.Hosts = v1alpha1.HostCounts{Active: ptr.To[int32](4), PreConnection: ptr.To[int32](1), Terminating: ptr.To[int32](3)}
			region.Status.Claimed = ptr.To[int32](7)
			updateStatus(ctx, region)
		})

		It("warns if maxInstances falls below them", func(ctx context.Context) {
			region.Spec.Capacity.MaxInstances = ptr.To[int32](4)
			expectWarned("spec.capacity.maxInstances: the region has 5 hosts")(admitUpdate(ctx, region))
		})
		It("accepts a maxInstances that holds them", func(ctx context.Context) {
			region.Spec.Capacity.MaxInstances = ptr.To[int32](5)
			expectAdmitted(admitUpdate(ctx, region))
		})
		It("warns that the sessions live on when it is switched off", func(ctx context.Context) {
			region.Spec.Enabled = ptr.To(false)
			expectWarned("spec.enabled: 7 sessions in the region live on")(admitUpdate(ctx, region))
		})
		It("says nothing when it is switched off without sessions", func(ctx context.Context) {
			region.Status.Claimed = ptr.To[int32](0)
			updateStatus(ctx, region)
			region.Spec.Enabled = ptr.To(false)
			expectAdmitted(admitUpdate(ctx, region))
		})
		It("says it once: not at the next change of what is off already", func(ctx context.Context) {
			region.Spec.Enabled = ptr.To(false)
			Expect(api.Update(ctx, region)).To(Succeed())
			region.Spec.InstanceTypes = []string{"g4dn.2xlarge"}
			expectAdmitted(admitUpdate(ctx, region))
		})
	})
})
