// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	. "github.com/onsi/gomega"
)

func TestTerminatedInstancesStayForAnHour(t *testing.T) {
	f := newEC2Fixture(t)
	id := *f.launch(1, "token")[0].InstanceId
	f.clock.Step(f.server.Delays().InstancePending)
	change := f.terminate(id).TerminatingInstances[0]
	f.Expect(change.PreviousState.Name).To(Equal(types.InstanceStateNameRunning))
	f.Expect(change.CurrentState.Name).To(Equal(types.InstanceStateNameShuttingDown))

	f.clock.Step(f.server.Delays().InstanceShuttingDown)
	gone := f.one(id)
	f.Expect(gone.State.Name).To(Equal(types.InstanceStateNameTerminated))
	f.Expect(*gone.StateReason.Code).To(Equal("Client.UserInitiatedShutdown"))
	f.Expect(*gone.StateTransitionReason).To(Equal("User initiated (2026-11-23 12:00:02 GMT)"))
	f.Expect(gone.PrivateIpAddress).To(BeNil())
	f.Expect(gone.NetworkInterfaces).To(BeEmpty())
	f.Expect(f.terminate(id).TerminatingInstances[0].PreviousState.Name).To(Equal(types.InstanceStateNameTerminated))

	f.clock.Step(time.Hour)
	f.Expect(f.describe()).To(BeEmpty())
	_, err := f.ec2.TerminateInstances(f.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	f.Expect(refusal(err)).To(Equal("InvalidInstanceID.NotFound"))
}

func TestTerminateIsAllOrNothing(t *testing.T) {
	f := newEC2Fixture(t)
	ids := idsOf(f.launch(2, "token"))
	for _, c := range []struct{ bad, code, names string }{
		{"i-0123456789abcdef9", "InvalidInstanceID.NotFound", "The instance ID 'i-0123456789abcdef9' does not exist"},
		{"i-x", "InvalidInstanceID.Malformed", `Invalid id: "i-x"`},
	} {
		_, err := f.ec2.TerminateInstances(f.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{ids[0], c.bad, ids[1]}})
		f.Expect(refusal(err)).To(Equal(c.code))
		f.Expect(err).To(MatchError(ContainSubstring(c.names)))
	}
	_, err := f.ec2.TerminateInstances(f.ctx, &ec2.TerminateInstancesInput{
		InstanceIds: []string{"i-0123456789abcdef9", "i-0123456789abcdef8"},
	})
	f.Expect(err).To(MatchError(ContainSubstring("The instance IDs 'i-0123456789abcdef9, i-0123456789abcdef8' do not exist")))
	f.Expect(f.describe(by("instance-state-name", "pending"))).To(HaveLen(2))
}

func TestStopAndStart(t *testing.T) {
	f := newEC2Fixture(t)
	id := *f.launch(1, "token")[0].InstanceId
	_, err := f.ec2.StopInstances(f.ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	f.Expect(refusal(err)).To(Equal("IncorrectInstanceState"))
	f.clock.Step(f.server.Delays().InstancePending)
	before := f.one(id)
	_, err = f.ec2.StopInstances(f.ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(f.one(id).State.Name).To(Equal(types.InstanceStateNameStopping))
	f.clock.Step(f.server.Delays().InstanceStopping)
	stopped := f.one(id)
	f.Expect(stopped.State.Name).To(Equal(types.InstanceStateNameStopped))
	f.Expect(stopped.PublicIpAddress).To(BeNil())
	f.Expect(*stopped.PrivateIpAddress).To(Equal(*before.PrivateIpAddress))
	_, err = f.ec2.StartInstances(f.ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	f.Expect(err).NotTo(HaveOccurred())
	f.clock.Step(f.server.Delays().InstancePending)
	f.Expect(f.one(id).State.Name).To(Equal(types.InstanceStateNameRunning))
}

func TestHostsDieInManyWays(t *testing.T) {
	f := newEC2Fixture(t)
	spot := func(in *ec2.RunInstancesInput) {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
	}
	selfEnding := func(in *ec2.RunInstancesInput) {
		in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
	}
	killed := *f.launch(1, "killed")[0].InstanceId
	ended := *f.launch(1, "ended", selfEnding)[0].InstanceId
	interrupted := *f.launch(1, "interrupted", spot)[0].InstanceId
	f.clock.Step(f.server.Delays().InstancePending)

	f.Expect(f.server.KillInstance("", testRegion, killed)).To(Succeed())
	f.Expect(f.one(killed).State.Name).To(Equal(types.InstanceStateNameTerminated))
	f.Expect(*f.one(killed).StateReason.Code).To(Equal("Server.InternalError"))

	f.Expect(f.server.StopInstance("", testRegion, ended)).To(Succeed())
	f.Expect(*f.one(ended).StateReason.Code).To(Equal("Client.InstanceInitiatedShutdown"))

	f.Expect(f.server.InterruptSpot("", testRegion, killed)).NotTo(Succeed())
	f.Expect(f.server.InterruptSpot("", testRegion, interrupted)).To(Succeed())
	f.clock.Step(f.server.Delays().SpotNotice - time.Second)
	f.Expect(f.one(interrupted).State.Name).To(Equal(types.InstanceStateNameRunning))
	f.clock.Step(time.Second + f.server.Delays().InstanceShuttingDown)
	f.Expect(f.one(interrupted).State.Name).To(Equal(types.InstanceStateNameTerminated))
	f.Expect(*f.one(interrupted).StateReason.Code).To(Equal("Server.SpotInstanceTermination"))
	f.Expect(f.server.KillInstance("", testRegion, "i-none")).To(MatchError(errNotFound))
}

func TestInstanceStatus(t *testing.T) {
	f := newEC2Fixture(t)
	id := *f.launch(1, "token")[0].InstanceId
	status := func(all bool, filters ...types.Filter) []types.InstanceStatus {
		out, err := f.ec2.DescribeInstanceStatus(f.ctx, &ec2.DescribeInstanceStatusInput{
			IncludeAllInstances: &all, Filters: filters,
		})
		f.Expect(err).NotTo(HaveOccurred())
		return out.InstanceStatuses
	}
	f.Expect(status(false)).To(BeEmpty(), "pending hosts are only listed when asked for")
	f.Expect(status(true)[0].InstanceStatus.Status).To(Equal(types.SummaryStatusNotApplicable))
	f.clock.Step(f.server.Delays().InstancePending)
	f.Expect(status(false)[0].InstanceStatus.Status).To(Equal(types.SummaryStatusInitializing))
	f.clock.Step(f.server.Delays().StatusChecks)
	f.Expect(status(false)[0].InstanceStatus.Status).To(Equal(types.SummaryStatusOk))
	f.Expect(status(false)[0].SystemStatus.Details[0].Status).To(Equal(types.StatusTypePassed))

	f.Expect(f.server.ImpairInstance("", testRegion, id, true)).To(Succeed())
	f.Expect(status(false, by("instance-status.status", "impaired"))).To(HaveLen(1))
	f.Expect(status(false)[0].SystemStatus.Status).To(Equal(types.SummaryStatusOk))
	f.Expect(f.server.ScheduleEvent("", testRegion, id, ScheduledEvent{Description: "hardware degraded"})).To(Succeed())
	events := status(false, by("event.code", "instance-retirement"))[0].Events
	f.Expect(*events[0].Description).To(Equal("hardware degraded"))
	f.Expect(*events[0].NotBefore).To(BeTemporally("==", f.clock.Now().Add(24*time.Hour)))
}

func TestDescribeInstancesFiltersAndPages(t *testing.T) {
	f := newEC2Fixture(t)
	tagged := func(value string) func(*ec2.RunInstancesInput) {
		return func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []types.TagSpecification{{
				ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("fleet"), Value: &value}},
			}}
		}
	}
	a := f.launch(7, "a", tagged("blue-1"))
	b := f.launch(5, "b", tagged("green"), func(in *ec2.RunInstancesInput) { in.InstanceType = types.InstanceTypeM5Large })

	for name, c := range map[string]struct {
		filters []types.Filter
		want    []string
	}{
		"tag":              {[]types.Filter{by("tag:fleet", "green")}, idsOf(b)},
		"wildcard":         {[]types.Filter{by("tag:fleet", "blue-*")}, idsOf(a)},
		"single character": {[]types.Filter{by("tag:fleet", "gree?")}, idsOf(b)},
		"escaped":          {[]types.Filter{by("tag:fleet", `blue\*`)}, []string{}},
		"tag key":          {[]types.Filter{by("tag-key", "fleet")}, append(idsOf(a), idsOf(b)...)},
		"either value":     {[]types.Filter{by("client-token", "a", "b")}, append(idsOf(a), idsOf(b)...)},
		"both filters":     {[]types.Filter{by("client-token", "a"), by("instance-type", "m5.*")}, []string{}},
		"id":               {[]types.Filter{by("instance-id", idsOf(a)[3])}, idsOf(a)[3:4]},
		"address":          {[]types.Filter{by("private-ip-address", *b[0].PrivateIpAddress)}, idsOf(b)[:1]},
		"zone and image":   {[]types.Filter{by("availability-zone", "eu-central-1a"), by("image-id", "ami-0*")}, append(idsOf(a), idsOf(b)...)},
		"state":            {[]types.Filter{by("instance-state-name", "running")}, []string{}},
	} {
		f.Expect(idsOf(f.describe(c.filters...))).To(Equal(c.want), name)
	}
	_, err := f.ec2.DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{by("colour", "red")}})
	f.Expect(refusal(err)).To(Equal("InvalidParameterValue"))

	var pages [][]string
	p := ec2.NewDescribeInstancesPaginator(f.ec2, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
	for p.HasMorePages() {
		out, err := p.NextPage(f.ctx)
		f.Expect(err).NotTo(HaveOccurred())
		var ids []string
		for _, r := range out.Reservations {
			ids = append(ids, idsOf(r.Instances)...)
		}
		pages = append(pages, ids)
	}
	f.Expect(pages).To(Equal([][]string{idsOf(a)[:5], append(idsOf(a)[5:], idsOf(b)[:3]...), idsOf(b)[3:]}))

	for _, in := range []*ec2.DescribeInstancesInput{
		{MaxResults: aws.Int32(5), InstanceIds: idsOf(a)},
		{MaxResults: aws.Int32(4)},
		{MaxResults: aws.Int32(5), NextToken: aws.String("?")},
	} {
		_, err := f.ec2.DescribeInstances(f.ctx, in)
		f.Expect(refusal(err)).To(BeElementOf("InvalidParameterCombination", "InvalidParameterValue", "InvalidNextToken"))
	}
}
