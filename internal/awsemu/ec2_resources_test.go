// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	. "github.com/onsi/gomega"
)

func TestTagsOnEverything(t *testing.T) {
	f := newEC2Fixture(t)
	id := *f.launch(1, "token")[0].InstanceId
	subnets, err := f.ec2.DescribeSubnets(f.ctx, &ec2.DescribeSubnetsInput{})
	f.Expect(err).NotTo(HaveOccurred())
	groups, err := f.ec2.DescribeSecurityGroups(f.ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"default"}})
	f.Expect(err).NotTo(HaveOccurred())
	subnetID, groupID := *subnets.Subnets[2].SubnetId, *groups.SecurityGroups[0].GroupId

	tag := types.Tag{Key: aws.String("fleet"), Value: aws.String("blue")}
	_, err = f.ec2.CreateTags(f.ctx, &ec2.CreateTagsInput{
		Resources: []string{id, subnetID, groupID, DefaultImageID}, Tags: []types.Tag{tag},
	})
	f.Expect(err).NotTo(HaveOccurred())
	filters := []types.Filter{by("tag:fleet", "blue")}
	f.Expect(f.describe(filters...)).To(HaveLen(1))
	foundSubnets, err := f.ec2.DescribeSubnets(f.ctx, &ec2.DescribeSubnetsInput{Filters: filters})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(foundSubnets.Subnets).To(HaveLen(1))
	f.Expect(*foundSubnets.Subnets[0].SubnetId).To(Equal(subnetID))
	f.Expect(foundSubnets.Subnets[0].Tags).To(Equal([]types.Tag{tag}))
	foundGroups, err := f.ec2.DescribeSecurityGroups(f.ctx, &ec2.DescribeSecurityGroupsInput{Filters: filters})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*foundGroups.SecurityGroups[0].GroupId).To(Equal(groupID))
	images, err := f.ec2.DescribeImages(f.ctx, &ec2.DescribeImagesInput{Filters: filters, Owners: []string{"self"}})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*images.Images[0].ImageId).To(Equal(DefaultImageID))

	_, err = f.ec2.DeleteTags(f.ctx, &ec2.DeleteTagsInput{
		Resources: []string{id, subnetID}, Tags: []types.Tag{{Key: aws.String("fleet"), Value: aws.String("red")}},
	})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(f.describe(filters...)).To(HaveLen(1), "a tag of another value stays")
	_, err = f.ec2.DeleteTags(f.ctx, &ec2.DeleteTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("fleet")}}})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(f.describe(filters...)).To(BeEmpty())

	for bad, code := range map[string]string{
		"i-0123456789abcdef9": "InvalidInstanceID.NotFound", "subnet-0123456789abcdef9": "InvalidSubnetID.NotFound",
		"sg-0123456789abcdef9": "InvalidGroup.NotFound", "ami-0123456789abcdef9": "InvalidAMIID.NotFound",
		"lt-0123456789abcdef9": "InvalidLaunchTemplateId.NotFound", "nonsense": "InvalidID",
	} {
		_, err = f.ec2.CreateTags(f.ctx, &ec2.CreateTagsInput{Resources: []string{id, bad}, Tags: []types.Tag{tag}})
		f.Expect(refusal(err)).To(Equal(code))
	}
	f.Expect(f.describe(filters...)).To(BeEmpty(), "no resource is tagged when one is bad")
}

func TestImages(t *testing.T) {
	f := newEC2Fixture(t, func(o *Options) {
		o.Images = []Image{{ID: "ami-0aaaaaaaaaaaaaaaa", Region: testRegion}, {ID: "ami-0bbbbbbbbbbbbbbbb", Region: "us-east-1"}}
	})
	describe := func(ids ...string) ([]types.Image, error) {
		out, err := f.ec2.DescribeImages(f.ctx, &ec2.DescribeImagesInput{ImageIds: ids})
		if err != nil {
			return nil, err
		}
		return out.Images, nil
	}
	f.Expect(describe("ami-0aaaaaaaaaaaaaaaa")).To(HaveLen(1))
	_, err := describe("ami-0bbbbbbbbbbbbbbbb")
	f.Expect(refusal(err)).To(Equal("InvalidAMIID.NotFound"))
	f.Expect(f.server.AddImage(Image{ID: "ami-0cccccccccccccccc"})).To(Succeed())
	f.Expect(describe("ami-0cccccccccccccccc")).To(HaveLen(1))
	f.Expect(f.server.AddImage(Image{})).NotTo(Succeed())

	made, err := f.ec2.RegisterImage(f.ctx, &ec2.RegisterImageInput{
		Name: aws.String("host-1"), Description: aws.String("a host"), RootDeviceName: aws.String("/dev/sda1"),
	})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.ec2.RegisterImage(f.ctx, &ec2.RegisterImageInput{Name: aws.String("host-1")})
	f.Expect(refusal(err)).To(Equal("InvalidAMIName.Duplicate"))
	images, err := describe(*made.ImageId)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*images[0].Name).To(Equal("host-1"))
	f.Expect(images[0].State).To(Equal(types.ImageStateAvailable))
	f.Expect(*images[0].RootDeviceName).To(Equal("/dev/sda1"))

	_, err = f.ec2.DeregisterImage(f.ctx, &ec2.DeregisterImageInput{ImageId: made.ImageId})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = describe(*made.ImageId)
	f.Expect(refusal(err)).To(Equal("InvalidAMIID.NotFound"))
	_, err = f.ec2.RunInstances(f.ctx, launchInput(1, "t", func(in *ec2.RunInstancesInput) { in.ImageId = made.ImageId }))
	f.Expect(refusal(err)).To(Equal("InvalidAMIID.Unavailable"))
}

func TestInstanceTypes(t *testing.T) {
	f := newEC2Fixture(t)
	for name, want := range map[types.InstanceType]struct{ vcpus, memoryMiB, gpus int }{
		types.InstanceTypeG4dnXlarge:   {4, 16384, 1},
		types.InstanceTypeG4dn12xlarge: {48, 196608, 4},
		types.InstanceTypeG4dnMetal:    {96, 393216, 8},
		types.InstanceTypeG548xlarge:   {192, 786432, 8},
		types.InstanceTypeT3Micro:      {2, 1024, 0},
		types.InstanceTypeC59xlarge:    {36, 73728, 0},
	} {
		out, err := f.ec2.DescribeInstanceTypes(f.ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{name}})
		f.Expect(err).NotTo(HaveOccurred())
		info := out.InstanceTypes[0]
		f.Expect(*info.VCpuInfo.DefaultVCpus).To(BeEquivalentTo(want.vcpus), string(name))
		f.Expect(*info.MemoryInfo.SizeInMiB).To(BeEquivalentTo(want.memoryMiB), string(name))
		f.Expect(info.ProcessorInfo.SupportedArchitectures).To(Equal([]types.ArchitectureType{types.ArchitectureTypeX8664}))
		if want.gpus == 0 {
			f.Expect(info.GpuInfo).To(BeNil(), string(name))
			continue
		}
		f.Expect(*info.GpuInfo.Gpus[0].Count).To(BeEquivalentTo(want.gpus), string(name))
		f.Expect(*info.GpuInfo.Gpus[0].Manufacturer).To(Equal("NVIDIA"))
	}
	_, err := f.ec2.DescribeInstanceTypes(f.ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"z9.huge"}})
	f.Expect(refusal(err)).To(Equal("InvalidInstanceType"))

	all := 0
	p := ec2.NewDescribeInstanceTypesPaginator(f.ec2, &ec2.DescribeInstanceTypesInput{MaxResults: aws.Int32(10)})
	for p.HasMorePages() {
		out, err := p.NextPage(f.ctx)
		f.Expect(err).NotTo(HaveOccurred())
		all += len(out.InstanceTypes)
	}
	f.Expect(all).To(Equal(len(instanceTypeNames)))
}

func TestZonesRegionsAndGroups(t *testing.T) {
	f := newEC2Fixture(t)
	zones, err := f.ec2.DescribeAvailabilityZones(f.ctx, &ec2.DescribeAvailabilityZonesInput{})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(zones.AvailabilityZones).To(HaveLen(3))
	f.Expect(*zones.AvailabilityZones[2].ZoneName).To(Equal("eu-central-1c"))
	f.Expect(zones.AvailabilityZones[2].State).To(Equal(types.AvailabilityZoneStateAvailable))
	_, err = f.ec2.DescribeAvailabilityZones(f.ctx, &ec2.DescribeAvailabilityZonesInput{ZoneNames: []string{"mars-1a"}})
	f.Expect(refusal(err)).To(Equal("InvalidParameterValue"))

	regions, err := f.ec2.DescribeRegions(f.ctx, &ec2.DescribeRegionsInput{RegionNames: []string{testRegion}})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*regions.Regions[0].RegionName).To(Equal(testRegion))
	_, err = f.ec2.DescribeRegions(f.ctx, &ec2.DescribeRegionsInput{RegionNames: []string{"mars-1"}})
	f.Expect(refusal(err)).To(Equal("InvalidParameterValue"))

	_, err = f.ec2.DescribeSubnets(f.ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-0123456789abcdef9"}})
	f.Expect(refusal(err)).To(Equal("InvalidSubnetID.NotFound"))
	_, err = f.ec2.DescribeSecurityGroups(f.ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{"sg-0123456789abcdef9"}})
	f.Expect(refusal(err)).To(Equal("InvalidGroup.NotFound"))
	_, err = f.ec2.DescribeSecurityGroups(f.ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"web"}})
	f.Expect(refusal(err)).To(Equal("InvalidGroup.NotFound"))
}

func TestAccountsAndRegionsAreApart(t *testing.T) {
	f := newEC2Fixture(t)
	f.launch(1, "token")
	for _, other := range []*ec2.Client{f.client("test", "us-east-1"), f.client("123456789012", testRegion)} {
		out, err := other.DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{})
		f.Expect(err).NotTo(HaveOccurred())
		f.Expect(out.Reservations).To(BeEmpty())
	}
	out, err := f.client("AKIAOTHER", testRegion).DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(out.Reservations).To(HaveLen(1), "any other key leads to the default account")
	f.Expect(*out.Reservations[0].OwnerId).To(Equal(DefaultAccount))
}

func TestAssumedRolesLeadToTheirAccount(t *testing.T) {
	f := newEC2Fixture(t)
	client := func(key string) *sts.Client {
		return sts.New(sts.Options{
			Region: testRegion, BaseEndpoint: &f.endpoint, Retryer: aws.NopRetryer{}, HTTPClient: steadyClient{},
			Credentials: credentialsOf(key),
		})
	}
	identity, err := client("test").GetCallerIdentity(f.ctx, &sts.GetCallerIdentityInput{})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*identity.Account).To(Equal(DefaultAccount))

	assumed, err := client("test").AssumeRole(f.ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::123456789012:role/team/operator"), RoleSessionName: aws.String("s"),
	})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*assumed.AssumedRoleUser.Arn).To(Equal("arn:aws:sts::123456789012:assumed-role/operator/s"))
	f.Expect(*assumed.Credentials.Expiration).To(BeTemporally(">", f.clock.Now()))
	identity, err = client(*assumed.Credentials.AccessKeyId).GetCallerIdentity(f.ctx, &sts.GetCallerIdentityInput{})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*identity.Account).To(Equal("123456789012"))

	_, err = client("test").AssumeRole(f.ctx, &sts.AssumeRoleInput{RoleArn: aws.String("not-an-arn-at-all-1234"), RoleSessionName: aws.String("s")})
	f.Expect(refusal(err)).To(Equal("ValidationError"))
}
