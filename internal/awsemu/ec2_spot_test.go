// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/gomega"
)

// launchSpot launches spot instances whose requests carry the tag fleet.
func (f *ec2Fixture) launchSpot(n int32, fleet string) []types.Instance {
	return f.launch(n, "spot-"+fleet, func(in *ec2.RunInstancesInput) {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
		in.TagSpecifications = []types.TagSpecification{{
			ResourceType: types.ResourceTypeSpotInstancesRequest, Tags: []types.Tag{{Key: aws.String("fleet"), Value: &fleet}},
		}}
	})
}

func (f *ec2Fixture) spotRequests(filters ...types.Filter) []types.SpotInstanceRequest {
	out, err := f.ec2.DescribeSpotInstanceRequests(f.ctx, &ec2.DescribeSpotInstanceRequestsInput{Filters: filters})
	f.Expect(err).NotTo(HaveOccurred())
	return out.SpotInstanceRequests
}

func TestSpotRequestsTellOfTheirInstances(t *testing.T) {
	f := newEC2Fixture(t)
	f.launch(1, "on-demand")
	hosts := f.launchSpot(3, "blue")
	f.launchSpot(1, "green")
	f.clock.Step(f.server.Delays().InstancePending)
	f.Expect(f.spotRequests()).To(HaveLen(4))
	for n, request := range f.spotRequests(by("tag:fleet", "blue")) {
		f.Expect(*request.InstanceId).To(Equal(*hosts[n].InstanceId))
		f.Expect(*request.SpotInstanceRequestId).To(Equal(*hosts[n].SpotInstanceRequestId))
		f.Expect(request.State).To(Equal(types.SpotInstanceStateActive))
		f.Expect(*request.Status.Code).To(Equal("fulfilled"))
		f.Expect(request.Type).To(Equal(types.SpotInstanceTypeOneTime))
	}
	interrupted, ended := *hosts[0].InstanceId, *hosts[1].InstanceId
	f.Expect(f.server.InterruptSpot("", testRegion, interrupted)).To(Succeed())
	f.terminate(ended)

	noticed := f.spotRequests(by("status-code", "marked-for-termination", "instance-terminated-no-capacity"))
	f.Expect(noticed).To(HaveLen(1))
	f.Expect(*noticed[0].InstanceId).To(Equal(interrupted))
	f.Expect(noticed[0].State).To(Equal(types.SpotInstanceStateClosed))
	f.Expect(*noticed[0].Status.UpdateTime).To(BeTemporally("==", f.clock.Now()))
	f.Expect(f.one(interrupted).State.Name).To(Equal(types.InstanceStateNameRunning), "for two minutes")
	f.Expect(*f.spotRequests(by("instance-id", ended))[0].Status.Code).To(Equal("instance-terminated-by-user"))

	f.clock.Step(f.server.Delays().SpotNotice + f.server.Delays().InstanceShuttingDown)
	f.Expect(f.one(interrupted).State.Name).To(Equal(types.InstanceStateNameTerminated))
	f.Expect(f.spotRequests(by("instance-id", interrupted))).To(HaveLen(1))
	f.clock.Step(4 * time.Hour)
	f.Expect(f.spotRequests(by("instance-id", interrupted, ended))).To(BeEmpty())
	f.Expect(f.spotRequests(by("state", "active"))).To(HaveLen(2))
}

func TestSpotRequestsArePaged(t *testing.T) {
	f := newEC2Fixture(t)
	hosts := f.launchSpot(7, "blue")
	var sizes []int
	p := ec2.NewDescribeSpotInstanceRequestsPaginator(f.ec2, &ec2.DescribeSpotInstanceRequestsInput{MaxResults: aws.Int32(5)})
	for p.HasMorePages() {
		out, err := p.NextPage(f.ctx)
		f.Expect(err).NotTo(HaveOccurred())
		sizes = append(sizes, len(out.SpotInstanceRequests))
	}
	f.Expect(sizes).To(Equal([]int{5, 2}))
	id := *hosts[3].SpotInstanceRequestId
	_, err := f.ec2.CreateTags(f.ctx, &ec2.CreateTagsInput{
		Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("more"), Value: aws.String("yes")}},
	})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(f.spotRequests(by("tag-key", "more"), by("spot-instance-request-id", id))).To(HaveLen(1))
	for _, in := range []*ec2.DescribeSpotInstanceRequestsInput{
		{SpotInstanceRequestIds: []string{"sir-00000000"}},
		{Filters: []types.Filter{by("colour", "red")}},
		{MaxResults: aws.Int32(1)},
	} {
		_, err := f.ec2.DescribeSpotInstanceRequests(f.ctx, in)
		f.Expect(refusal(err)).To(BeElementOf("InvalidSpotInstanceRequestID.NotFound", "InvalidParameterValue"))
	}
}

func TestAgentsDrainTheirSpotHostsOnNotice(t *testing.T) {
	f := newECSFixture(t)
	f.cluster("mandelbox")
	asked := f.boot(joinMandelbox + "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n")
	silent := f.boot(joinMandelbox + "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n")
	unasked := f.boot(joinMandelbox)
	f.in(func(r *region) {
		r.disconnectAgent(r.ecs.agents[silent.id])
		for _, i := range []*instance{asked, silent, unasked} {
			r.agentNoticed(i)
		}
	})
	status := func(i *instance) string { return *f.containerInstance(i).Status }
	g := NewWithT(t)
	g.Expect(status(asked)).To(Equal(string(ecstypes.ContainerInstanceStatusDraining)))
	g.Expect(status(unasked)).To(Equal(string(ecstypes.ContainerInstanceStatusActive)))
	g.Expect(status(silent)).To(Equal(string(ecstypes.ContainerInstanceStatusActive)))
	f.in(func(r *region) { r.connectAgent(r.ecs.agents[silent.id]) })
	g.Expect(status(silent)).To(Equal(string(ecstypes.ContainerInstanceStatusDraining)))
}
