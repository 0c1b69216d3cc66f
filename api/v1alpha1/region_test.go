// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("Region", func() {
	type region = *v1alpha1.Region
	schedule := func(name, cron string, lasts time.Duration) v1alpha1.Schedule {
		return v1alpha1.Schedule{Name: name, Cron: cron, Duration: *duration(lasts), DesiredFreeMandelboxes: ptr.To[int32](50)}
	}

	DescribeTable("accepts", func(ctx context.Context, change func(region)) {
		object := newRegion()
		change(object)
		expectAccepted(ctx, object)
	},
		Entry("the least there is to say", func(region) {}),
		Entry("tags alone in a selector", func(r region) {
			r.Spec.Subnets = v1alpha1.ResourceSelector{Tags: []v1alpha1.Tag{{Key: "tier"}}}
		}),
		Entry("as many hosts at least as at most", func(r region) { r.Spec.Capacity.MinInstances = ptr.To[int32](10) }),
		Entry("the shortest host timeouts", func(r region) {
			r.Spec.HostTimeouts = v1alpha1.HostTimeouts{PreConnection: duration(time.Millisecond), AgentDisconnected: duration(time.Millisecond), Impaired: duration(time.Millisecond)}
		}),
		Entry("custom user data", func(r region) {
			r.Spec.UserDataFormat, r.Spec.UserData = v1alpha1.UserDataCustom, "#!/bin/sh"
		}),
		Entry("two instance types", func(r region) { r.Spec.InstanceTypes = []string{"g4dn.xlarge", "g4dn.2xlarge"} }),
		Entry("tags of a person's own", func(r region) { r.Spec.Tags = []v1alpha1.Tag{{Key: "team", Value: ptr.To("streaming")}} }),
		Entry("fallbacks on others", func(r region) { r.Spec.FallbackRegions = []string{"us-east-2", "us-west-1"} }),
		Entry("any name, with an AWS region", func(r region) { r.Name, r.Spec.AWSRegion = "virginia", "us-east-1" }),
		Entry("the name of an AWS region with more parts", func(r region) { r.Name = "us-gov-west-1" }),
		Entry("the shortest and the longest of schedules", func(r region) {
			r.Spec.Capacity.Schedules = []v1alpha1.Schedule{schedule("short", "0 9 * * *", time.Minute), schedule("long", "*/5 0-6 1,15 JAN-MAR ?", 168*time.Hour)}
		}),
		Entry("a role of another account", func(r region) { r.Spec.RoleARN = aRole }),
		Entry("a queue of events", func(r region) {
			r.Name = "us-east-1"
			r.Spec.EventQueueURL = "https://sqs.us-east-1.amazonaws.com/123456789012/mandelbox-events"
		}),
		Entry("a queue in the AWS region that it names", func(r region) {
			r.Name, r.Spec.AWSRegion = "frankfurt", "eu-central-1"
			r.Spec.EventQueueURL = "https://sqs.eu-central-1.amazonaws.com/123456789012/mandelbox-events"
		}),
		Entry("a queue of a local endpoint", func(r region) { r.Spec.EventQueueURL = "http://127.0.0.1:4566/000000000000/events" }),
	)

	DescribeTable("refuses", func(ctx context.Context, change func(region), message string) {
		object := newRegion()
		change(object)
		expectRefused(ctx, object, message)
	},
		Entry("a selector with ids and tags", func(r region) {
			r.Spec.Subnets.Tags = []v1alpha1.Tag{{Key: "tier"}}
		}, refused("exactly one of ids and tags must be set")),
		Entry("a selector with neither", func(r region) {
			r.Spec.SecurityGroups = v1alpha1.ResourceSelector{}
		}, "spec.securityGroups"),
		Entry("more hosts at least than at most", func(r region) {
			r.Spec.Capacity.MinInstances = ptr.To[int32](11)
		}, refused("minInstances must not exceed maxInstances")),
		Entry("no bound on what it costs", func(r region) {
			r.Spec.Capacity.MaxInstances = nil
		}, "spec.capacity"),
		Entry("a queue that is none of SQS", func(r region) {
			r.Spec.EventQueueURL = "https://example.com/events"
		}, "spec.eventQueueURL"),
		Entry("a queue that is read in the open", func(r region) {
			r.Spec.EventQueueURL = "http://sqs.us-east-1.amazonaws.com/123456789012/events"
		}, refused("eventQueueURL must be an https URL, unless it is of a local endpoint")),
		Entry("a queue in another AWS region", func(r region) {
			r.Spec.EventQueueURL = "https://sqs.us-east-2.amazonaws.com/123456789012/events"
		}, refused("spec.eventQueueURL is of a queue in another AWS region")),
		Entry("no time to register", func(r region) {
			r.Spec.HostTimeouts.PreConnection = duration(0)
		}, refused("preConnection must be positive")),
		Entry("no time to reconnect", func(r region) {
			r.Spec.HostTimeouts.AgentDisconnected = duration(0)
		}, refused("agentDisconnected must be positive")),
		Entry("no time to recover", func(r region) {
			r.Spec.HostTimeouts.Impaired = duration(0)
		}, refused("impaired must be positive")),
		Entry("a schedule that is never in force", func(r region) {
			r.Spec.Capacity.Schedules = []v1alpha1.Schedule{schedule("peak", "0 9 * * *", time.Minute-1)}
		}, refused("duration must be between 1m and 168h")),
		Entry("a schedule that is in force for longer than a week", func(r region) {
			r.Spec.Capacity.Schedules = []v1alpha1.Schedule{schedule("peak", "0 9 * * *", 168*time.Hour+time.Second)}
		}, refused("duration must be between 1m and 168h")),
		Entry("a schedule with a field too few", func(r region) {
			r.Spec.Capacity.Schedules = []v1alpha1.Schedule{schedule("peak", "0 9 * *", time.Hour)}
		}, "spec.capacity.schedules[0].cron"),
		Entry("a schedule with a time zone in the wrong place", func(r region) {
			r.Spec.Capacity.Schedules = []v1alpha1.Schedule{schedule("peak", "TZ=UTC 9 * * *", time.Hour)}
		}, "spec.capacity.schedules[0].cron"),
		Entry("a schedule twice", func(r region) {
			r.Spec.Capacity.Schedules = []v1alpha1.Schedule{schedule("peak", "0 9 * * *", time.Hour), schedule("peak", "0 10 * * *", time.Hour)}
		}, "Duplicate value"),
		Entry("custom user data without any", func(r region) {
			r.Spec.UserDataFormat = v1alpha1.UserDataCustom
		}, refused("userDataFormat Custom needs userData")),
		Entry("an instance type twice", func(r region) {
			r.Spec.InstanceTypes = []string{"g4dn.xlarge", "g4dn.xlarge"}
		}, refused("instanceTypes must not name a type twice")),
		Entry("a tag of the operator's", func(r region) {
			r.Spec.Tags = []v1alpha1.Tag{{Key: "mandelbox.dev/cluster"}}
		}, refused("tag keys beginning with mandelbox.dev/ or aws: are reserved")),
		Entry("a tag of AWS's", func(r region) {
			r.Spec.Tags = []v1alpha1.Tag{{Key: "aws:cloudformation:stack-name"}}
		}, refused("tag keys beginning with mandelbox.dev/ or aws: are reserved")),
		Entry("a fallback twice", func(r region) {
			r.Spec.FallbackRegions = []string{"us-east-2", "us-east-2"}
		}, refused("fallbackRegions must not name a region twice")),
		Entry("a fallback on itself", func(r region) {
			r.Spec.FallbackRegions = []string{r.Name}
		}, refused("a region must not fall back on itself")),
		Entry("a name that is no AWS region's, without one", func(r region) {
			r.Name = "virginia"
		}, refused("spec.awsRegion is required when the name is not that of an AWS region")),
		Entry("an AWS region that can't be one", func(r region) {
			r.Spec.AWSRegion = "virginia"
		}, "spec.awsRegion"),
		Entry("a role that isn't one", func(r region) {
			r.Spec.RoleARN = "arn:aws:iam::123456789012:user/mandelbox"
		}, "spec.roleARN"),
	)

	DescribeTable("when it is changed", func(ctx context.Context, u update[region]) {
		expectUpdate(ctx, newRegion(), u)
	},
		Entry("takes another role", update[region]{
			change: func(r region) { r.Spec.RoleARN = aRole },
		}),
		Entry("keeps its AWS region and cluster", update[region]{
			before: func(r region) { r.Spec.AWSRegion, r.Spec.ECSCluster = "us-east-1", "mine" },
			change: func(r region) { r.Spec.Enabled = ptr.To(false) },
		}),
		Entry("does not take another AWS region", update[region]{
			before:  func(r region) { r.Spec.AWSRegion = "us-east-1" },
			change:  func(r region) { r.Spec.AWSRegion = "us-east-2" },
			refusal: refused("awsRegion is immutable"),
		}),
		Entry("does not take an AWS region where its name was it", update[region]{
			change:  func(r region) { r.Spec.AWSRegion = "us-east-2" },
			refusal: refused("awsRegion is immutable"),
		}),
		Entry("does not lose its AWS region", update[region]{
			before:  func(r region) { r.Spec.AWSRegion = "us-east-1" },
			change:  func(r region) { r.Spec.AWSRegion = "" },
			refusal: refused("awsRegion is immutable"),
		}),
		Entry("does not move to another cluster", update[region]{
			change:  func(r region) { r.Spec.ECSCluster = "another" },
			refusal: refused("ecsCluster is immutable"),
		}),
	)

	It("has the defaults that its fields describe", func(ctx context.Context) {
		object := newRegion()
		object.Spec.BlockDevices = []v1alpha1.BlockDevice{{DeviceName: "/dev/xvda", SizeGiB: 100}}
		object.Spec.LaunchTemplate = &v1alpha1.LaunchTemplate{Name: "base"}
		object.Spec.Capacity.Schedules = []v1alpha1.Schedule{schedule("peak", "0 9 * * *", time.Hour)}
		create(ctx, object)
		spec := object.Spec
		Expect(spec.ECSCluster).To(Equal("mandelbox"))
		Expect(spec.Enabled).To(HaveValue(BeTrue()))
		Expect(spec.PurchaseOption).To(Equal(v1alpha1.PurchaseOnDemand))
		Expect(spec.UserDataFormat).To(Equal(v1alpha1.UserDataECS))
		Expect(spec.BlockDevices[0].VolumeType).To(Equal("gp3"))
		Expect(spec.BlockDevices[0].Encrypted).To(HaveValue(BeTrue()))
		Expect(spec.LaunchTemplate.Version).To(Equal("$Default"))
		Expect(spec.Capacity.VCPUsPerMandelbox).To(BeEquivalentTo(4))
		Expect(spec.Capacity.MandelboxesPerGPU).To(HaveValue(BeEquivalentTo(2)))
		Expect(spec.Capacity.DesiredFreeMandelboxes).To(HaveValue(BeEquivalentTo(20)))
		Expect(spec.Capacity.MinInstances).To(HaveValue(BeEquivalentTo(0)))
		Expect(spec.Capacity.ScaleDownStabilization).To(Equal(duration(5 * time.Minute)))
		Expect(spec.Capacity.Schedules[0].TimeZone).To(Equal("UTC"))
		Expect(spec.HostTimeouts.PreConnection).To(Equal(duration(15 * time.Minute)))
		Expect(spec.HostTimeouts.AgentDisconnected).To(Equal(duration(2 * time.Minute)))
		Expect(spec.HostTimeouts.Impaired).To(Equal(duration(5 * time.Minute)))
		Expect(object.Status.ObservedGeneration).To(HaveValue(BeEquivalentTo(-1)))
	})
})
