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

var _ = Describe("The webhook of AMIs", func() {
	var one, two *v1alpha1.Region
	var hash string
	var owner *v1alpha1.AMI
	BeforeEach(func(ctx context.Context) {
		one, two, hash = create(ctx, newRegion()), create(ctx, newRegion()), uniqueHash()
		owner = create(ctx, newAMI(hash, one.Name))
	})
	taken := func(all warnings, err error) {
		GinkgoHelper()
		expectRefused("spec.clientCommitHash", v1alpha1.ReasonCommitHashTaken, owner.Name, one.Name)(all, err)
	}

	It("accepts a commit hash of its own", func(ctx context.Context) {
		expectAdmitted(admit(ctx, newAMI(uniqueHash(), one.Name)))
	})
	It("warns of a region that doesn't exist", func(ctx context.Context) {
		expectWarned(`spec.images[1].region: there is no Region "us-nowhere-1" yet`)(admit(ctx, newAMI(uniqueHash(), one.Name, "us-nowhere-1")))
	})
	It("refuses a commit hash that another channel owns there", func(ctx context.Context) {
		taken(admit(ctx, newAMI(hash, two.Name, one.Name)))
	})
	It("accepts a commit hash that another channel owns elsewhere", func(ctx context.Context) {
		expectAdmitted(admit(ctx, newAMI(hash, two.Name)))
	})
	It("accepts a commit hash whose channel is being deleted", func(ctx context.Context) {
		going := newAMI(uniqueHash(), one.Name)
		going.Finalizers = []string{v1alpha1.AMIFinalizer}
		create(ctx, going)
		Expect(api.Delete(ctx, going)).To(Succeed())
		DeferCleanup(func(ctx context.Context) {
			going.Finalizers = nil
			Expect(api.Update(ctx, going)).To(Succeed())
		})
		refresh(ctx, going)
		expectAdmitted(admit(ctx, newAMI(going.Spec.ClientCommitHash, one.Name)))
	})

	DescribeTable("on what another channel released before", func(ctx context.Context, state v1alpha1.RevisionState, free bool) {
		before := uniqueHash()
		owner.Status.Revisions = []v1alpha1.Revision{revision(state, before, "r1", one.Name)}
		updateStatus(ctx, owner)
		all, err := admit(ctx, newAMI(before, one.Name))
		if free {
			expectAdmitted(all, err)
			return
		}
		taken(all, err)
	},
		Entry("refuses while it serves", v1alpha1.RevisionActive, false),
		Entry("refuses while it warms", v1alpha1.RevisionWarming, false),
		Entry("accepts once it retires", v1alpha1.RevisionRetiring, true),
		Entry("accepts once it failed", v1alpha1.RevisionFailed, true),
	)

	Describe("on a change", func() {
		var ami *v1alpha1.AMI
		BeforeEach(func(ctx context.Context) { ami = create(ctx, newAMI(uniqueHash(), one.Name)) })

		It("refuses another channel's commit hash", func(ctx context.Context) {
			ami.Spec.ClientCommitHash = hash
			taken(admitUpdate(ctx, ami))
		})
		It("refuses a region where another channel owns the commit hash", func(ctx context.Context) {
			sharing := create(ctx, newAMI(hash, two.Name))
			sharing.Spec.Images = append(sharing.Spec.Images, v1alpha1.RegionImage{Region: one.Name, ImageID: anImage})
			taken(admitUpdate(ctx, sharing))
		})
		It("accepts a new commit hash, and its own old one again", func(ctx context.Context) {
			old := ami.Spec.ClientCommitHash
			ami.Spec.ClientCommitHash = uniqueHash()
			Expect(api.Update(ctx, ami)).To(Succeed())
			ami.Spec.ClientCommitHash = old
			expectAdmitted(admitUpdate(ctx, ami))
		})
		It("accepts all else of a channel that shares a commit hash already", func(ctx context.Context) {
			// The other one gets the hash by its status, where no webhook is called.
			owner.Status.Revisions = []v1alpha1.Revision{revision(v1alpha1.RevisionActive, ami.Spec.ClientCommitHash, "r1", one.Name)}
			updateStatus(ctx, owner)
			ami.Spec.Suspend = ptr.To(true)
			expectAdmitted(admitUpdate(ctx, ami))
		})
	})
})
