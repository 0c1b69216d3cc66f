// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("Instance", func() {
	type host = *v1alpha1.Instance

	It("accepts the least there is to say", func(ctx context.Context) { expectAccepted(ctx, newInstance()) })

	DescribeTable("refuses", func(ctx context.Context, change func(host), message string) {
		object := newInstance()
		change(object)
		expectRefused(ctx, object, message)
	},
		Entry("no region", func(i host) { i.Spec.RegionName = "" }, "spec.regionName"),
		Entry("no channel", func(i host) { i.Spec.AMIName = "" }, "spec.amiName"),
		Entry("no revision", func(i host) { i.Spec.Revision = "" }, "spec.revision"),
		Entry("an image that isn't one", func(i host) { i.Spec.ImageID = "i-0123456789abcdef0" }, "spec.imageID"),
		Entry("a commit hash that isn't one", func(i host) {
			i.Spec.ClientCommitHash = v1alpha1.LocalDevCommitHash
		}, "spec.clientCommitHash"),
		Entry("no instance type", func(i host) { i.Spec.InstanceTypes = nil }, "spec.instanceTypes"),
		Entry("an instance type that isn't one", func(i host) { i.Spec.InstanceTypes = []string{"large"} }, "spec.instanceTypes[0]"),
	)

	terminating := func(ctx context.Context, drain bool) host {
		object := newInstance()
		object.Spec.Drain = &drain
		create(ctx, object)
		object.Status.Phase = v1alpha1.InstanceTerminating
		Expect(api.Status().Update(ctx, object)).To(Succeed())
		return object
	}
	drainForGood := refused("drain cannot be taken back once the host is terminating")
	It("does not go back on its drain once it is terminating", func(ctx context.Context) {
		object := terminating(ctx, true)
		object.Spec.Drain = nil
		expectInvalid(api.Update(ctx, object), drainForGood)
		object.Spec.Drain = ptr.To(false)
		expectInvalid(api.Update(ctx, object), drainForGood)
	})
	It("may be drained while it is terminating", func(ctx context.Context) {
		object := terminating(ctx, false)
		object.Spec.Drain = ptr.To(true)
		Expect(api.Update(ctx, object)).To(Succeed())
	})

	DescribeTable("when it is changed", func(ctx context.Context, u update[host]) {
		expectUpdate(ctx, newInstance(), u)
	},
		Entry("may be drained", update[host]{change: func(i host) { i.Spec.Drain = ptr.To(true) }}),
		Entry("may be taken back from draining", update[host]{
			before: func(i host) { i.Spec.Drain = ptr.To(true) }, change: func(i host) { i.Spec.Drain = nil },
		}),
		Entry("stays in its region", update[host]{
			change: func(i host) { i.Spec.RegionName = "us-east-2" }, refusal: refused("regionName is immutable"),
		}),
		Entry("stays in its channel", update[host]{
			change: func(i host) { i.Spec.AMIName = "beta" }, refusal: refused("amiName is immutable"),
		}),
		Entry("stays with its revision", update[host]{
			change: func(i host) { i.Spec.Revision = "r2" }, refusal: refused("revision is immutable"),
		}),
		Entry("stays with its image", update[host]{
			change: func(i host) { i.Spec.ImageID = "ami-1" }, refusal: refused("imageID is immutable"),
		}),
		Entry("stays with its commit hash", update[host]{
			change:  func(i host) { i.Spec.ClientCommitHash = anotherHash },
			refusal: refused("clientCommitHash is immutable"),
		}),
		Entry("stays with its instance types", update[host]{
			change:  func(i host) { i.Spec.InstanceTypes = []string{"g4dn.2xlarge"} },
			refusal: refused("instanceTypes is immutable"),
		}),
	)

	It("looks as new as it is", func(ctx context.Context) {
		object := newInstance()
		create(ctx, object)
		Expect(object.Status.ObservedGeneration).To(HaveValue(BeEquivalentTo(-1)))
	})

	It("can be selected by region and channel", func(ctx context.Context) {
		channel := uniqueName("channel")
		for _, region := range []string{"us-east-1", "us-east-2"} {
			object := newInstance()
			object.Spec.AMIName, object.Spec.RegionName = channel, region
			create(ctx, object)
		}
		var found v1alpha1.InstanceList
		Expect(api.List(ctx, &found, client.MatchingFields{"spec.amiName": channel})).To(Succeed())
		Expect(found.Items).To(HaveLen(2))
		Expect(api.List(ctx, &found, client.MatchingFields{"spec.amiName": channel, "spec.regionName": "us-east-2"})).To(Succeed())
		Expect(found.Items).To(HaveLen(1))
		Expect(found.Items[0].Spec.RegionName).To(Equal("us-east-2"))
	})
})
