// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"net/http/httptest"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

// The cluster whose manager calls, and another.
const (
	ours   = "cluster-1"
	theirs = "cluster-2"
)

// account is one with a fleet in it, as its manager sees it, that is held to a policy.
type account struct {
	t   *testing.T
	iam *awsemu.IAM

	ec2 *ec2.Client
	ecs *ecs.Client
	sqs *sqs.Client
	// owner is who may do everything.
	owner *ecs.Client

	// subnets and groups are for hosts, but for the last subnet.
	subnets, groups []string
	// hosts are EC2 instances by whose they are; members and tasks are by ECS cluster,
	// and of the task's owner where that is not the manager's.
	hosts, members, tasks map[string]string
	// queues are URLs by name.
	queues map[string]string
}

// profiles are the instance profiles that the account has, with the role in each.
var profiles = map[string]string{
	"hosts": "mandelbox/hosts/hosts", "tasks": "mandelbox/tasks/tasks", "admin": "admin",
}

// newAccount makes an account whose manager has the policy.
func newAccount(t *testing.T, policy []byte) *account {
	t.Helper()
	g := NewWithT(t)
	principal := managerrole.Principal(ours)
	principal.InstanceProfiles = profiles
	role, err := awsemu.NewIAM(policy, principal)
	g.Expect(err).NotTo(HaveOccurred())
	delays := awsemu.FastDelays()
	server := awsemu.New(awsemu.Options{Delays: &delays, Seed: 1, IAM: role, NetworkTags: managerrole.NetworkTags()})
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		listener.Close()
	})
	config := func(accessKey string) awssdk.Config {
		return awssdk.Config{
			Region: awsRegion, BaseEndpoint: awssdk.String(listener.URL), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
		}
	}
	owner, manager := config(awsemu.RootAccessKey), config("manager")
	a := &account{
		t: t, iam: role,
		ec2: ec2.NewFromConfig(owner), ecs: ecs.NewFromConfig(owner), sqs: sqs.NewFromConfig(owner), owner: ecs.NewFromConfig(owner),
		hosts: map[string]string{}, members: map[string]string{}, tasks: map[string]string{}, queues: map[string]string{},
	}
	a.setUpEC2()
	a.setUpECS()
	for _, name := range []string{"mandelbox-events", "other-events"} {
		queue := must(a, func() (*sqs.CreateQueueOutput, error) {
			return a.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		})
		a.queues[name] = *queue.QueueUrl
		must(a, func() (*sqs.SendMessageOutput, error) {
			return a.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: awssdk.String("{}")})
		})
	}
	a.ec2, a.ecs, a.sqs = ec2.NewFromConfig(manager), ecs.NewFromConfig(manager), sqs.NewFromConfig(manager)
	return a
}

// must makes a call that belongs to what a test takes for granted.
func must[T any](a *account, call func() (T, error)) T {
	a.t.Helper()
	out, err := call()
	NewWithT(a.t).Expect(err).NotTo(HaveOccurred())
	return out
}

func (a *account) setUpEC2() {
	ctx := a.t.Context()
	for _, subnet := range must(a, func() (*ec2.DescribeSubnetsOutput, error) {
		return a.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	}).Subnets {
		a.subnets = append(a.subnets, *subnet.SubnetId)
	}
	for _, group := range must(a, func() (*ec2.DescribeSecurityGroupsOutput, error) {
		return a.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	}).SecurityGroups {
		a.groups = append(a.groups, *group.GroupId)
	}
	must(a, func() (*ec2.DeleteTagsOutput, error) {
		return a.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: a.subnets[2:]})
	})
	for _, owner := range []string{ours, theirs} {
		launched := must(a, func() (*ec2.RunInstancesOutput, error) { return a.ec2.RunInstances(ctx, a.launch(owned(owner))) })
		a.hosts[owner] = *launched.Instances[0].InstanceId
	}
}

func (a *account) setUpECS() {
	ctx := a.t.Context()
	for _, family := range []string{"mandelbox-web", "somebodys"} {
		must(a, func() (*ecs.RegisterTaskDefinitionOutput, error) {
			return a.ecs.RegisterTaskDefinition(ctx, a.definition(family))
		})
	}
	for _, cluster := range []string{"mandelbox", "other"} {
		must(a, func() (*ecs.CreateClusterOutput, error) {
			return a.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: &cluster, Tags: ecsTags(ours)})
		})
		a.members[cluster] = a.join(cluster)
		for name, owner := range map[string]string{cluster: ours, cluster + " of " + theirs: theirs} {
			run := must(a, func() (*ecs.RunTaskOutput, error) {
				return a.ecs.RunTask(ctx, a.run(func(in *ecs.RunTaskInput) { in.Cluster, in.Tags = &cluster, ecsTags(owner) }))
			})
			a.tasks[name] = *run.Tasks[0].TaskArn
		}
	}
}

// join has a container instance with room for a few tasks join an ECS cluster.
func (a *account) join(cluster string) string {
	resource := func(name string, amount int32) ecstypes.Resource {
		return ecstypes.Resource{Name: &name, Type: awssdk.String("INTEGER"), IntegerValue: amount}
	}
	host := must(a, func() (*ecs.RegisterContainerInstanceOutput, error) {
		return a.ecs.RegisterContainerInstance(a.t.Context(), &ecs.RegisterContainerInstanceInput{
			Cluster: &cluster, TotalResources: []ecstypes.Resource{resource("CPU", 4096), resource("MEMORY", 4096)},
		})
	})
	return *host.ContainerInstance.ContainerInstanceArn
}

// launch is one that the policy allows, but for a change.
func (a *account) launch(change ...func(*ec2.RunInstancesInput)) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ImageId: awssdk.String(awsemu.DefaultImageID), InstanceType: ec2types.InstanceTypeG4dnXlarge,
		MinCount: awssdk.Int32(1), MaxCount: awssdk.Int32(1), SubnetId: &a.subnets[0], SecurityGroupIds: a.groups,
		MetadataOptions: &ec2types.InstanceMetadataOptionsRequest{HttpTokens: ec2types.HttpTokensStateRequired},
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{
			DeviceName: awssdk.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: awssdk.Int32(50)},
		}},
	}
	owned(ours)(in)
	for _, f := range change {
		f(in)
	}
	return in
}

// owned has everything that a launch makes, or some of it, be tagged with its owner.
func owned(owner string, kinds ...ec2types.ResourceType) func(*ec2.RunInstancesInput) {
	if kinds == nil {
		kinds = []ec2types.ResourceType{ec2types.ResourceTypeInstance, ec2types.ResourceTypeVolume, ec2types.ResourceTypeNetworkInterface}
	}
	return func(in *ec2.RunInstancesInput) {
		in.TagSpecifications = nil
		for _, kind := range kinds {
			in.TagSpecifications = append(in.TagSpecifications, ec2types.TagSpecification{ResourceType: kind, Tags: ec2Tags(owner)})
		}
	}
}

func ec2Tags(owner string) []ec2types.Tag {
	return []ec2types.Tag{{Key: awssdk.String(cloud.TagCluster), Value: &owner}}
}

func ecsTags(owner string) []ecstypes.Tag {
	return []ecstypes.Tag{{Key: awssdk.String(cloud.TagCluster), Value: &owner}}
}

// spot has a launch ask for a spot host.
func spot(in *ec2.RunInstancesInput) {
	in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{MarketType: ec2types.MarketTypeSpot}
	in.TagSpecifications = append(in.TagSpecifications,
		ec2types.TagSpecification{ResourceType: ec2types.ResourceTypeSpotInstancesRequest, Tags: ec2Tags(ours)})
}

// profile has a launch give its hosts a role.
func profile(name string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: &name}
	}
}

// definition is one that the policy allows to register, but for a change.
func (a *account) definition(family string, change ...func(*ecs.RegisterTaskDefinitionInput)) *ecs.RegisterTaskDefinitionInput {
	in := &ecs.RegisterTaskDefinitionInput{
		Family: &family, ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: awssdk.String("web"), Image: awssdk.String("web:1"), Cpu: 16, Memory: awssdk.Int32(16),
		}},
	}
	if family == "mandelbox-web" {
		in.Tags = ecsTags(ours)
	}
	for _, f := range change {
		f(in)
	}
	return in
}

// run is of a task that the policy allows to run, but for a change.
func (a *account) run(change ...func(*ecs.RunTaskInput)) *ecs.RunTaskInput {
	in := &ecs.RunTaskInput{Cluster: awssdk.String("mandelbox"), TaskDefinition: awssdk.String("mandelbox-web"), Tags: ecsTags(ours)}
	for _, f := range change {
		f(in)
	}
	return in
}

// giveAway has an ECS cluster be somebody else's.
func (a *account) giveAway(cluster string) {
	must(a, func() (*ecs.TagResourceOutput, error) {
		return a.owner.TagResource(a.t.Context(), &ecs.TagResourceInput{
			ResourceArn: awssdk.String("arn:aws:ecs:" + awsRegion + ":" + awsemu.DefaultAccount + ":cluster/" + cluster), Tags: ecsTags(theirs),
		})
	})
}

// receive receives a message and deletes it, if it is to.
func (a *account) receive(queue string, deletes bool) error {
	url := a.queues[queue]
	out, err := a.sqs.ReceiveMessage(a.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url})
	if err != nil || !deletes {
		return err
	}
	_, err = a.sqs.DeleteMessageBatch(a.t.Context(), &sqs.DeleteMessageBatchInput{
		QueueUrl: &url, Entries: []sqstypes.DeleteMessageBatchRequestEntry{{Id: awssdk.String("1"), ReceiptHandle: out.Messages[0].ReceiptHandle}},
	})
	return err
}
