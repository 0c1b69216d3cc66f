// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	. "github.com/onsi/gomega"
)

func TestRunInstancesAnswersWithEverythingAsked(t *testing.T) {
	f := newEC2Fixture(t)
	subnets, err := f.ec2.DescribeSubnets(f.ctx, &ec2.DescribeSubnetsInput{})
	f.Expect(err).NotTo(HaveOccurred())
	subnet := subnets.Subnets[1]
	groups, err := f.ec2.DescribeSecurityGroups(f.ctx, &ec2.DescribeSecurityGroupsInput{})
	f.Expect(err).NotTo(HaveOccurred())

	launched := f.launch(2, "token-1", func(in *ec2.RunInstancesInput) {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")))
		in.KeyName = aws.String("key")
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("host")}
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
		in.MetadataOptions = &types.InstanceMetadataOptionsRequest{
			HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(2),
		}
		in.BlockDeviceMappings = []types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(80)}},
			{DeviceName: aws.String("/dev/xvdb"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(10)}},
		}
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: subnet.SubnetId, Groups: []string{*groups.SecurityGroups[0].GroupId},
			AssociatePublicIpAddress: aws.Bool(false),
		}}
		in.TagSpecifications = []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a & b <c>")}},
		}}
	})

	f.Expect(launched).To(HaveLen(2))
	for index, i := range launched {
		f.Expect(*i.AmiLaunchIndex).To(BeEquivalentTo(index))
		f.Expect(*i.ClientToken).To(Equal("token-1"))
		f.Expect(i.State.Name).To(Equal(types.InstanceStateNamePending))
		f.Expect(*i.ImageId).To(Equal(DefaultImageID))
		f.Expect(i.InstanceType).To(Equal(types.InstanceTypeG4dnXlarge))
		f.Expect(*i.SubnetId).To(Equal(*subnet.SubnetId))
		f.Expect(*i.VpcId).To(Equal(*subnet.VpcId))
		f.Expect(*i.Placement.AvailabilityZone).To(Equal("eu-central-1b"))
		f.Expect(*i.PrivateIpAddress).To(HavePrefix("172.31.16."))
		f.Expect(i.SecurityGroups).To(HaveLen(1))
		f.Expect(*i.IamInstanceProfile.Arn).To(Equal("arn:aws:iam::000000000000:instance-profile/host"))
		f.Expect(i.InstanceLifecycle).To(Equal(types.InstanceLifecycleTypeSpot))
		f.Expect(i.MetadataOptions.HttpTokens).To(Equal(types.HttpTokensStateRequired))
		f.Expect(*i.MetadataOptions.HttpPutResponseHopLimit).To(BeEquivalentTo(2))
		f.Expect(i.BlockDeviceMappings).To(HaveLen(2))
		f.Expect(i.NetworkInterfaces).To(HaveLen(1))
		f.Expect(i.Tags).To(Equal([]types.Tag{{Key: aws.String("team"), Value: aws.String("a & b <c>")}}))
		f.Expect(*i.LaunchTime).To(BeTemporally("==", f.clock.Now()))
	}
	f.Expect(*launched[0].PrivateIpAddress).NotTo(Equal(*launched[1].PrivateIpAddress))

	f.clock.Step(f.server.Delays().InstancePending)
	running := f.one(*launched[0].InstanceId)
	f.Expect(running.State.Name).To(Equal(types.InstanceStateNameRunning))
	f.Expect(*running.State.Code).To(BeEquivalentTo(16))
	f.Expect(running.PublicIpAddress).To(BeNil(), "no public address was asked for")
}

func TestDefaultSubnetsGivePublicAddresses(t *testing.T) {
	f := newEC2Fixture(t)
	launched := f.launch(2, "t")
	f.clock.Step(f.server.Delays().InstancePending)
	first, second := f.one(*launched[0].InstanceId), f.one(*launched[1].InstanceId)
	f.Expect(*first.PublicIpAddress).NotTo(Equal(*second.PublicIpAddress))
	f.Expect(*first.NetworkInterfaces[0].Association.PublicIp).To(Equal(*first.PublicIpAddress))
}

func TestClientTokenLaunchesOnce(t *testing.T) {
	f := newEC2Fixture(t)
	first := f.launch(3, "token")
	f.Expect(idsOf(f.launch(3, "token"))).To(Equal(idsOf(first)), "the same request finds the same hosts")

	_, err := f.ec2.RunInstances(f.ctx, launchInput(4, "token"))
	f.Expect(refusal(err)).To(Equal("IdempotentParameterMismatch"))
	f.Expect(idsOf(f.describe(by("client-token", "token")))).To(Equal(idsOf(first)))

	f.terminate(idsOf(first)[:2]...)
	f.Expect(idsOf(f.launch(3, "token"))).To(Equal(idsOf(first)), "one of them is still there")
	f.terminate(idsOf(first)[2])
	_, err = f.ec2.RunInstances(f.ctx, launchInput(3, "token"))
	f.Expect(refusal(err)).To(Equal("IdempotentInstanceTerminated"))

	f.Expect(idsOf(f.launch(3, "another"))).NotTo(ContainElement(BeElementOf(idsOf(first))))
	_, err = f.client("test", "us-east-1").RunInstances(f.ctx, launchInput(4, "token"))
	f.Expect(err).NotTo(HaveOccurred(), "a token is of one region")
}

func (f *ec2Fixture) terminate(ids ...string) *ec2.TerminateInstancesOutput {
	out, err := f.ec2.TerminateInstances(f.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	f.Expect(err).NotTo(HaveOccurred())
	return out
}

func TestRunInstancesRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*ec2.RunInstancesInput)
		code   string
		status int
	}{
		"an unknown image":   {func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-0123456789abcdef9") }, "InvalidAMIID.NotFound", 400},
		"a malformed image":  {func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("latest") }, "InvalidAMIID.Malformed", 400},
		"no image":           {func(in *ec2.RunInstancesInput) { in.ImageId = nil }, "MissingParameter", 400},
		"an unknown type":    {func(in *ec2.RunInstancesInput) { in.InstanceType = "z9.huge" }, "InvalidParameterValue", 400},
		"another CPU":        {func(in *ec2.RunInstancesInput) { in.InstanceType = "t4g.large" }, "InvalidParameterValue", 400},
		"an unknown subnet":  {func(in *ec2.RunInstancesInput) { in.SubnetId = aws.String("subnet-1") }, "InvalidSubnetID.NotFound", 400},
		"an unknown group":   {func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-1"} }, "InvalidGroup.NotFound", 400},
		"a malformed group":  {func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{"web"} }, "InvalidGroupId.Malformed", 400},
		"an unknown zone":    {func(in *ec2.RunInstancesInput) { in.Placement = &types.Placement{AvailabilityZone: aws.String("x")} }, "InvalidParameterValue", 400},
		"too few":            {func(in *ec2.RunInstancesInput) { in.MinCount = aws.Int32(0) }, "InvalidParameterValue", 400},
		"more than the most": {func(in *ec2.RunInstancesInput) { in.MinCount = aws.Int32(2) }, "InvalidParameterCombination", 400},
		"bad user data":      {func(in *ec2.RunInstancesInput) { in.UserData = aws.String("#!") }, "InvalidUserData.Malformed", 400},
		"long user data": {func(in *ec2.RunInstancesInput) {
			in.UserData = aws.String(base64.StdEncoding.EncodeToString(make([]byte, maxUserData+1)))
		}, "InvalidParameterValue", 400},
		"a long token": {func(in *ec2.RunInstancesInput) { in.ClientToken = aws.String(strings.Repeat("x", 65)) }, "InvalidParameterValue", 400},
		"a dry run":    {func(in *ec2.RunInstancesInput) { in.DryRun = aws.Bool(true) }, "DryRunOperation", 412},
		"an unknown template": {func(in *ec2.RunInstancesInput) {
			in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateName: aws.String("none")}
		}, "InvalidLaunchTemplateName.NotFoundException", 400},
		"subnet and interface": {func(in *ec2.RunInstancesInput) {
			in.SubnetId = aws.String("subnet-1")
			in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0)}}
		}, "InvalidParameterCombination", 400},
		"a reserved tag": {func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []types.TagSpecification{{
				ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("aws:x"), Value: aws.String("")}},
			}}
		}, "InvalidParameterValue", 400},
	}
	f := newEC2Fixture(t)
	for name, c := range cases {
		_, err := f.ec2.RunInstances(f.ctx, launchInput(1, "token", c.change))
		f.Expect(refusal(err)).To(Equal(c.code), name)
		f.Expect(httpStatus(err)).To(Equal(c.status), name)
	}
	f.Expect(f.describe()).To(BeEmpty())
}

func TestCapacityIsFulfilledAsFarAsItGoes(t *testing.T) {
	f := newEC2Fixture(t)
	f.server.SetCapacity(Capacity{Region: testRegion, InstanceType: "g4dn.*", Available: 2})
	zone := func(in *ec2.RunInstancesInput) {
		in.Placement = &types.Placement{AvailabilityZone: aws.String("eu-central-1a")}
	}
	f.Expect(f.launch(5, "a", zone)).To(HaveLen(2))

	_, err := f.ec2.RunInstances(f.ctx, launchInput(1, "b", zone))
	f.Expect(refusal(err)).To(Equal("InsufficientInstanceCapacity"))
	f.Expect(httpStatus(err)).To(Equal(500))
	f.launch(1, "c", func(in *ec2.RunInstancesInput) { in.InstanceType = types.InstanceTypeM5Large })

	f.server.SetCapacity(Capacity{Region: testRegion, InstanceType: "g4dn.*", Available: -1})
	f.server.SetCapacity(Capacity{Region: testRegion, Zone: "eu-central-1a", Available: 0})
	launched := f.launch(1, "b")
	f.Expect(*launched[0].Placement.AvailabilityZone).To(Equal("eu-central-1b"), "EC2 picks a zone that has room")
}

func TestASubnetRunsOutOfAddresses(t *testing.T) {
	f := newEC2Fixture(t)
	subnets, err := f.ec2.DescribeSubnets(f.ctx, &ec2.DescribeSubnetsInput{})
	f.Expect(err).NotTo(HaveOccurred())
	in := func(in *ec2.RunInstancesInput) { in.SubnetId = subnets.Subnets[0].SubnetId }
	hosts := f.launch(subnetSize, "all", in)
	addresses := map[string]bool{}
	for _, i := range hosts {
		addresses[*i.PrivateIpAddress] = true
	}
	f.Expect(addresses).To(HaveLen(subnetSize))
	_, err = f.ec2.RunInstances(f.ctx, launchInput(1, "more", in))
	f.Expect(refusal(err)).To(Equal("InsufficientFreeAddressesInSubnet"))

	f.terminate(*hosts[0].InstanceId)
	f.clock.Step(f.server.Delays().InstanceShuttingDown)
	f.Expect(*f.launch(1, "more", in)[0].PrivateIpAddress).To(Equal(*hosts[0].PrivateIpAddress))
}

func TestLaunchTemplateIsTheBase(t *testing.T) {
	f := newEC2Fixture(t)
	created, err := f.ec2.CreateLaunchTemplate(f.ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("base"),
		LaunchTemplateData: &types.RequestLaunchTemplateData{
			ImageId: aws.String(DefaultImageID), InstanceType: types.InstanceTypeM5Large, KeyName: aws.String("base-key"),
			TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{{
				ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("from"), Value: aws.String("template")}},
			}},
		},
	})
	f.Expect(err).NotTo(HaveOccurred())
	listed, err := f.ec2.DescribeLaunchTemplates(f.ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{"base"}})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*listed.LaunchTemplates[0].LaunchTemplateId).To(Equal(*created.LaunchTemplate.LaunchTemplateId))

	out, err := f.ec2.RunInstances(f.ctx, &ec2.RunInstancesInput{
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: types.InstanceTypeG5Xlarge,
		LaunchTemplate: &types.LaunchTemplateSpecification{
			LaunchTemplateId: created.LaunchTemplate.LaunchTemplateId, Version: aws.String("$Latest"),
		},
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("own"), Value: aws.String("x")}},
		}},
	})
	f.Expect(err).NotTo(HaveOccurred())
	i := out.Instances[0]
	f.Expect(i.InstanceType).To(Equal(types.InstanceTypeG5Xlarge), "the request wins")
	f.Expect(*i.KeyName).To(Equal("base-key"))
	f.Expect(i.Tags).To(HaveLen(2))

	_, err = f.ec2.CreateLaunchTemplate(f.ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("base"),
		LaunchTemplateData: &types.RequestLaunchTemplateData{KeyName: aws.String("k")},
	})
	f.Expect(refusal(err)).To(Equal("InvalidLaunchTemplateName.AlreadyExistsException"))
}

func TestNewInstancesAreSeenLate(t *testing.T) {
	delays := DefaultDelays()
	delays.VisibilityLag = 5 * time.Second
	f := newEC2Fixture(t, func(o *Options) { o.Delays = &delays })
	id := *f.launch(1, "token")[0].InstanceId
	f.Expect(f.describe()).To(BeEmpty())
	_, err := f.ec2.DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	f.Expect(refusal(err)).To(Equal("InvalidInstanceID.NotFound"))
	f.Expect(idsOf(f.launch(1, "token"))).To(Equal([]string{id}), "the token knows better")
	f.clock.Step(5 * time.Second)
	f.Expect(idsOf(f.describe())).To(Equal([]string{id}))
}
