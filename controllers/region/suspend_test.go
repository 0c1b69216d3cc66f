// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region_test

import (
	"context"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/fleettest"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

var _ = Describe("A Region that is suspended", func() {
	suspend := func(is bool) func(*v1alpha1.Region) {
		return func(r *v1alpha1.Region) { r.Spec.Suspend = ptr.To(is) }
	}
	isSuspended := told(kstatus.CurrentStatus, v1alpha1.ReasonSuspended, metav1.ConditionTrue)

	It("makes nothing, says what it would need, and makes it once it is resumed", func(ctx context.Context) {
		clusters := func() int { return len(fleet.AWS.Requests(awsemu.RequestFilter{Operation: "CreateCluster"})) }
		made := clusters()
		region := fleet.Region(unique("held"), suspend(true))
		fleet.Make(ctx, region)
		release(ctx, region.Name)
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(Equal(isSuspended))
		message := func(ctx context.Context) string {
			isReady(ctx, region)
			return meta.FindStatusCondition(region.Status.Conditions, v1alpha1.ConditionReady).Message
		}
		Eventually(message).WithContext(ctx).Should(ContainSubstring("Room is missing: channel"))
		Consistently(hostCount(region.Name)).WithContext(ctx).Within(time.Second).Should(BeZero())
		Expect(region.Status.Decision).To(BeNil())
		Expect(region.Status.Subnets).NotTo(BeEmpty(), "what is there is still found")
		Expect(clusters()).To(Equal(made), "a cluster was made")

		fleettest.Change(ctx, fleet, region, suspend(false))
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(3))
		warm(ctx, region)
	})

	It("lets no host go and drains none, counts the sessions on them, and catches up once it is resumed", func(ctx context.Context) {
		region := fleet.Region(unique("kept"))
		fleet.Make(ctx, region)
		ami := release(ctx, region.Name)
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(3))
		warm(ctx, region)
		fleettest.Change(ctx, fleet, region, suspend(true))
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(Equal(isSuspended))
		busy := fleet.Hosts(ctx, region.Name)[0].Name
		fleet.Claim(ctx, busy, 2)

		setRevisions(ctx, ami, revision(region.Name, "r1", v1alpha1.RevisionRetiring))
		Eventually(func(ctx context.Context) int32 {
			isReady(ctx, region)
			return ptr.Deref(region.Status.Claimed, 0)
		}).WithContext(ctx).Should(BeEquivalentTo(2))
		leaving := func(ctx context.Context) (n int) {
			for _, host := range fleet.Hosts(ctx, region.Name) {
				if host.Leaving() || host.Draining() {
					n++
				}
			}
			return n
		}
		Consistently(leaving).WithContext(ctx).Within(2 * time.Second).Should(BeZero())
		Expect(hostCount(region.Name)(ctx)).To(Equal(3))

		fleettest.Change(ctx, fleet, region, suspend(false))
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(1))
		Eventually(leaving).WithContext(ctx).Should(Equal(1))
	})

	It("still goes when it is deleted", func(ctx context.Context) {
		region := fleet.Region(unique("going"), suspend(true))
		fleet.Make(ctx, region)
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(Equal(isSuspended))
		Expect(fleet.Delete(ctx, region)).To(Succeed())
		Eventually(func(ctx context.Context) error {
			return fleet.Get(ctx, client.ObjectKeyFromObject(region), region)
		}).WithContext(ctx).Should(MatchError(ContainSubstring("not found")))
	})
})
