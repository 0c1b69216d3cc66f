// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

var _ = Describe("A host that is launched", func() {
	It("comes with others until the desired room is there: tagged, spread over the zones, few calls for many", func(ctx context.Context) {
		w := newWorld()
		hosts := w.fleet(ctx, 9)
		w.expectOneHostEach(ctx)
		Expect(w.zones(ctx)).To(HaveEach(3))
		Expect(w.zones(ctx)).To(HaveLen(3))
		Expect(w.calls("RunInstances")).To(BeNumerically("<", len(hosts)))

		byID := map[string]v1alpha1.Instance{}
		for _, i := range hosts {
			byID[i.Status.InstanceID] = i
		}
		for _, host := range w.ec2Hosts(ctx, home) {
			i := byID[*host.InstanceId]
			tags := map[string]string{}
			for _, tag := range host.Tags {
				tags[*tag.Key] = *tag.Value
			}
			Expect(tags).To(Equal(map[string]string{
				"Name": "mandelbox stable", cloud.TagCluster: clusterID, cloud.TagRegion: home, cloud.TagAMI: "stable",
				cloud.TagRevision: i.Spec.Revision, cloud.TagLaunch: i.Status.Launch.Token,
			}))
			Expect(host.MetadataOptions.HttpTokens).To(Equal(ec2types.HttpTokensStateRequired))
			Expect(*host.Placement.AvailabilityZone).To(Equal(i.Status.AvailabilityZone))
			Expect(*host.PrivateIpAddress).To(Equal(i.Status.PrivateIP))
			Expect(*host.AmiLaunchIndex).To(Equal(i.Status.Launch.Index))
		}
	})

	It("is PreConnection until its agent registers, then Active with the planned room", func(ctx context.Context) {
		w := newWorld()
		delays := awsemu.FastDelays()
		delays.AgentBoot = 5 * time.Second
		w.aws.SetDelays(delays)
		w.region(ctx, home)
		w.channel(ctx, "stable", []string{home})
		var i v1alpha1.Instance
		Eventually(func(g Gomega) {
			waiting, err := w.hosts(ctx, v1alpha1.InstancePreConnection)()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(waiting).To(HaveLen(1))
			i = waiting[0]
			g.Expect(condition(&i, v1alpha1.ConditionLaunched)).To(Equal("True/Launched"))
			g.Expect(condition(&i, v1alpha1.ConditionRegistered)).To(Equal("False/Registering"))
			g.Expect(condition(&i, v1alpha1.ConditionReady)).To(Equal("False/Registering"))
		}).Should(Succeed())
		Expect(i.Status.Capacity).To(BeNil())

		Eventually(w.is(ctx, &i)).Should(Equal("Active/Ready"))
		Expect(*i.Status.Capacity).To(BeEquivalentTo(slotsPerHost))
		Expect(condition(&i, v1alpha1.ConditionCapacityAsPlanned)).To(Equal("True/AsPlanned"))
	})

	It("has fewer slots than planned where it registers too little for the channel's task", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, home, free(1))
		w.channel(ctx, "stable", []string{home}, func(a *v1alpha1.AMI) { a.Spec.Task.MemoryMiB = 64 * 1024 })
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
		hosts, err := w.hosts(ctx, v1alpha1.InstanceActive)()
		Expect(err).NotTo(HaveOccurred())
		// A g4dn.12xlarge has 192 GiB, of which the agent registers a little less.
		Expect(*hosts[0].Status.Capacity).To(BeEquivalentTo(2))
		Expect(*hosts[0].Status.PlannedCapacity).To(BeEquivalentTo(slotsPerHost))
		Expect(condition(&hosts[0], v1alpha1.ConditionCapacityAsPlanned)).To(Equal("False/LessThanPlanned"))
	})

	It("runs the channel's warm-up once before it is Active", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, home)
		w.channel(ctx, "stable", []string{home}, func(a *v1alpha1.AMI) {
			a.Spec.Warmup = &v1alpha1.Warmup{Command: []string{"true"}}
			a.Spec.Task.Env = []v1alpha1.EnvVar{env("MANDELBOX_EMU_EXIT_AFTER", "100ms")}
		})
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
		hosts, err := w.hosts(ctx, v1alpha1.InstanceActive)()
		Expect(err).NotTo(HaveOccurred())
		Expect(condition(&hosts[0], v1alpha1.ConditionWarmed)).To(Equal("True/Warmed"))
		Expect(w.aws.Requests(awsemu.RequestFilter{Operation: "RunTask"})).To(HaveLen(1))
	})

	It("says that its warm-up failed and takes no session", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, home)
		w.channel(ctx, "stable", []string{home}, func(a *v1alpha1.AMI) {
			a.Spec.Warmup = &v1alpha1.Warmup{}
			a.Spec.Task.Env = []v1alpha1.EnvVar{env("MANDELBOX_EMU_EXIT_AFTER", "50ms"), env("MANDELBOX_EMU_EXIT_CODE", "3")}
		})
		Eventually(func(g Gomega) {
			hosts, err := w.hosts(ctx, v1alpha1.InstancePreConnection)()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(hosts).To(HaveLen(1))
			g.Expect(condition(&hosts[0], v1alpha1.ConditionStalled)).To(Equal("True/WarmupFailed"))
		}).Should(Succeed())
	})
})

var _ = Describe("Exactly one EC2 instance for each Instance", func() {
	It("where the answers of RunInstances are lost after the launch", func(ctx context.Context) {
		w := newWorld()
		w.fault(awsemu.Fault{Operation: "RunInstances", Phase: awsemu.PhaseAfter, Action: awsemu.ActionDrop, Count: 4})
		w.fleet(ctx, 4)
		w.expectOneHostEach(ctx)
	})

	It("where AWS throttles", func(ctx context.Context) {
		w := newWorld()
		w.fault(awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionThrottle, Count: 6})
		w.fleet(ctx, 4)
		w.expectOneHostEach(ctx)
		Expect(len(w.launchTokens())).To(BeNumerically("<=", 4), "a throttled call is repeated under its token")
	})

	It("where what was launched is listed late, and the answer was lost", func(ctx context.Context) {
		w := newWorld(func(w *world) { w.grace = 10 * time.Second })
		delays := awsemu.FastDelays()
		delays.VisibilityLag = 3 * time.Second
		w.aws.SetDelays(delays)
		w.fault(awsemu.Fault{Operation: "RunInstances", Phase: awsemu.PhaseAfter, Action: awsemu.ActionDrop, Count: 3})
		w.fleet(ctx, 3)
		w.expectOneHostEach(ctx)
		Expect(len(w.launchTokens())).To(BeNumerically("<=", 3))
	})

	It("where a zone has no room for the type: the next zone is tried for the same Instance", func(ctx context.Context) {
		w := newWorld()
		w.aws.SetCapacity(awsemu.Capacity{Region: home, Zone: home + "a", Available: 0})
		w.aws.SetCapacity(awsemu.Capacity{Region: home, Zone: home + "b", Available: 1})
		w.fleet(ctx, 6)
		w.expectOneHostEach(ctx)
		Expect(w.zones(ctx)).To(Equal(map[string]int{home + "b": 1, home + "c": 5}))
		names, err := w.hosts(ctx, "")()
		Expect(err).NotTo(HaveOccurred())
		for _, i := range names {
			Expect(i.Labels).To(HaveKeyWithValue(v1alpha1.LabelDecision, "1"), "the first decision's Instances stay")
		}
	})

	It("where no zone has the type: the next type is tried, in the order of preference", func(ctx context.Context) {
		w := newWorld()
		w.aws.SetCapacity(awsemu.Capacity{Region: home, InstanceType: "g4dn.12xlarge", Available: 0})
		w.fleet(ctx, 1, func(r *v1alpha1.Region) {
			r.Spec.InstanceTypes = []string{"g4dn.12xlarge", "g4dn.8xlarge", "g4dn.4xlarge"}
		}, free(1))
		w.expectOneHostEach(ctx)
		hosts := w.ec2Hosts(ctx, home)
		Expect(hosts[0].InstanceType).To(BeEquivalentTo("g4dn.8xlarge"))
	})

	It("where some of those asked for in one call were to be had", func(ctx context.Context) {
		w := newWorld()
		for _, zone := range []string{"a", "b"} {
			w.aws.SetCapacity(awsemu.Capacity{Region: home, Zone: home + zone, Available: 2})
		}
		w.fleet(ctx, 9)
		w.expectOneHostEach(ctx)
		Expect(w.zones(ctx)).To(Equal(map[string]int{home + "a": 2, home + "b": 2, home + "c": 5}))
	})
})
