// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("The webhook of Instances", func() {
	var region *v1alpha1.Region
	var ami *v1alpha1.AMI
	var hash string
	BeforeEach(func(ctx context.Context) {
		hash, region = uniqueHash(), create(ctx, newRegion())
		ami = create(ctx, newAMI(hash, region.Name))
		ami.Status.ObservedGeneration = ptr.To(ami.Generation)
		ami.Status.Revisions = []v1alpha1.Revision{
			revision(v1alpha1.RevisionActive, hash, "row-1", region.Name),
			revision(v1alpha1.RevisionWarming, uniqueHash(), "row-2", region.Name),
		}
		updateStatus(ctx, ami)
	})

	It("accepts a host of a revision", func(ctx context.Context) {
		expectAdmitted(admit(ctx, newInstance(region.Name, ami.Name, "row-1", hash)))
	})
	It("warns of an absent region", func(ctx context.Context) {
		ami.Status.Revisions[0] = revision(v1alpha1.RevisionActive, hash, "row-1", region.Name, "us-nowhere-1")
		updateStatus(ctx, ami)
		expectWarned(`there is no Region "us-nowhere-1" yet`)(admit(ctx, newInstance("us-nowhere-1", ami.Name, "row-1", hash)))
	})
	It("refuses a disabled region", func(ctx context.Context) {
		off := create(ctx, newRegion(disabled))
		expectRefused("spec.regionName", v1alpha1.ReasonRegionNotEnabled)(admit(ctx, newInstance(off.Name, "nowhere", "row-1", hash)))
	})
	It("warns of an absent channel", func(ctx context.Context) {
		expectWarned(`there is no AMI "nowhere" yet`)(admit(ctx, newInstance(region.Name, "nowhere", "row-1", hash)))
	})
	It("refuses a revision that the channel doesn't have there, and names those it has", func(ctx context.Context) {
		expectRefused("spec.revision", v1alpha1.ReasonRevisionNotFound, "row-1, row-2")(admit(ctx, newInstance(region.Name, ami.Name, "row-3", hash)))
	})
	It("refuses a revision where the channel has none", func(ctx context.Context) {
		elsewhere := create(ctx, newRegion())
		expectRefused("spec.revision", "none there")(admit(ctx, newInstance(elsewhere.Name, ami.Name, "row-1", hash)))
	})
	It("warns of a revision that the channel may be about to have", func(ctx context.Context) {
		ami.Spec.ClientCommitHash = uniqueHash()
		Expect(api.Update(ctx, ami)).To(Succeed())
		awaitSeen(ctx, ami)
		expectWarned(`has no revision "row-3"`)(admit(ctx, newInstance(region.Name, ami.Name, "row-3", hash)))
	})
	It("refuses another image than the revision's", func(ctx context.Context) {
		instance := newInstance(region.Name, ami.Name, "row-1", hash)
		instance.Spec.ImageID = anotherImage
		expectRefused("spec.imageID", anImage)(admit(ctx, instance))
	})
	It("refuses another commit hash than the revision's", func(ctx context.Context) {
		expectRefused("spec.clientCommitHash", hash)(admit(ctx, newInstance(region.Name, ami.Name, "row-1", uniqueHash())))
	})
	It("lets a host be drained when its region is switched off and its channel gone", func(ctx context.Context) {
		instance := create(ctx, newInstance(region.Name, ami.Name, "row-1", hash))
		region.Spec.Enabled = ptr.To(false)
		Expect(api.Update(ctx, region)).To(Succeed())
		awaitSeen(ctx, region)
		Expect(api.Delete(ctx, ami)).To(Succeed())
		instance.Spec.Drain = ptr.To(true)
		expectAdmitted(admitUpdate(ctx, instance))
	})
})
