// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// calls are, by statement and action, one that needs it.
var calls = map[string]func(*account) error{
	"LookAround/ec2:DescribeImages":               asked((*ec2.Client).DescribeImages),
	"LookAround/ec2:DescribeInstanceTypes":        asked((*ec2.Client).DescribeInstanceTypes),
	"LookAround/ec2:DescribeInstances":            asked((*ec2.Client).DescribeInstances),
	"LookAround/ec2:DescribeInstanceStatus":       asked((*ec2.Client).DescribeInstanceStatus),
	"LookAround/ec2:DescribeSecurityGroups":       asked((*ec2.Client).DescribeSecurityGroups),
	"LookAround/ec2:DescribeSpotInstanceRequests": asked((*ec2.Client).DescribeSpotInstanceRequests),
	"LookAround/ec2:DescribeSubnets":              asked((*ec2.Client).DescribeSubnets),
	"LookAround/ecs:DescribeTaskDefinition": func(a *account) error {
		_, err := a.ecs.DescribeTaskDefinition(a.t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: awssdk.String("mandelbox-web")})
		return err
	},

	"LaunchOwnHosts/ec2:RunInstances":              launching(),
	"LaunchWhatHostsHave/ec2:RunInstances":         launching(),
	"LaunchFromImages/ec2:RunInstances":            launching(),
	"LaunchIntoTheNetworkOfHosts/ec2:RunInstances": launching(),
	"TagAtLaunch/ec2:CreateTags":                   launching(),
	"TerminateOwnHosts/ec2:TerminateInstances":     terminating(ours),

	"MakeOwnCluster/ecs:CreateCluster":        makingCluster("mandelbox", ours),
	"LookIntoTheCluster/ecs:DescribeClusters": describingCluster("mandelbox"),
	"LookIntoTheCluster/ecs:ListContainerInstances": func(a *account) error {
		_, err := a.ecs.ListContainerInstances(a.t.Context(), &ecs.ListContainerInstancesInput{Cluster: awssdk.String("mandelbox")})
		return err
	},
	"LookAtHostsAndTasks/ecs:DescribeContainerInstances": describingHosts("mandelbox"),
	"LookAtHostsAndTasks/ecs:DescribeTasks": func(a *account) error {
		_, err := a.ecs.DescribeTasks(a.t.Context(), &ecs.DescribeTasksInput{
			Cluster: awssdk.String("mandelbox"), Tasks: []string{a.tasks["mandelbox"], a.tasks["mandelbox of "+theirs]},
		})
		return err
	},
	"LookAtHostsAndTasks/ecs:ListTasks": func(a *account) error {
		_, err := a.ecs.ListTasks(a.t.Context(), &ecs.ListTasksInput{Cluster: awssdk.String("mandelbox")})
		return err
	},
	"DrainHosts/ecs:UpdateContainerInstancesState":              draining("mandelbox"),
	"RemoveHostsFromOwnCluster/ecs:DeregisterContainerInstance": removing("mandelbox"),
	"RunOwnTasks/ecs:RunTask":                                   running(),
	"StopOwnTasks/ecs:StopTask":                                 stopping("mandelbox", "mandelbox"),
	"RegisterOwnTaskDefinitions/ecs:RegisterTaskDefinition":     registering("mandelbox-web"),
	"TagWhatEcsMakes/ecs:TagResource":                           registering("mandelbox-web"),
	"ReceiveEvents/sqs:ReceiveMessage":                          receiving("mandelbox-events", false),
	"ReceiveEvents/sqs:DeleteMessage":                           receiving("mandelbox-events", true),
	"GiveRolesToHosts/iam:PassRole":                             launching(profile("hosts")),
	"GiveRolesToTasks/iam:PassRole":                             registering("mandelbox-web", taskRole("mandelbox/tasks/tasks")),
	"MakeTheRoleOfEcs/iam:CreateServiceLinkedRole":              makingCluster("mandelbox", ours),
	"MakeTheRoleOfSpot/iam:CreateServiceLinkedRole":             launching(spot),
}

// violation is a call that a limit of the policy denies.
type violation struct {
	call func(*account) error
	// besides are other limits that deny it too, and without are statements that
	// would allow it.
	besides, without []string
}

// The limits that several statements have, or that go together.
const (
	byRequest  = "/StringEquals/aws:RequestTag/mandelbox.dev/cluster"
	byResource = "/StringEquals/aws:ResourceTag/mandelbox.dev/cluster"
	inCluster  = "/ArnEquals/ecs:cluster"
)

// violations are by the limit that each violates.
var violations = map[string]violation{
	"LaunchOwnHosts" + byRequest: {
		call:    launching(owned(theirs, ec2types.ResourceTypeInstance), alsoTagged(ec2types.ResourceTypeVolume, ec2types.ResourceTypeNetworkInterface)),
		besides: []string{"TagAtLaunch" + byRequest},
	},
	"LaunchOwnHosts/StringEquals/ec2:MetadataHttpTokens": {call: launching(func(in *ec2.RunInstancesInput) { in.MetadataOptions = nil })},
	"LaunchWhatHostsHave" + byRequest:                    {call: launching(owned(ours, ec2types.ResourceTypeInstance))},
	"LaunchFromImages/Resource":                          {call: launching(func(in *ec2.RunInstancesInput) { in.KeyName = awssdk.String("mine") })},
	"LaunchIntoTheNetworkOfHosts/StringEquals/aws:ResourceTag/mandelbox": {
		call: func(a *account) error {
			return launching(func(in *ec2.RunInstancesInput) { in.SubnetId = &a.subnets[2] })(a)
		},
	},
	"TagAtLaunch" + byRequest: {
		call:    launching(owned(theirs)),
		besides: []string{"LaunchOwnHosts" + byRequest, "LaunchWhatHostsHave" + byRequest},
	},
	"TagAtLaunch/StringEquals/ec2:CreateAction": {call: func(a *account) error { return a.tag(a.hosts[theirs]) }},
	"TagAtLaunch/Resource": {
		call:    func(a *account) error { return a.tag(a.subnets[2]) },
		besides: []string{"TagAtLaunch/StringEquals/ec2:CreateAction"},
	},
	"TerminateOwnHosts" + byResource: {call: terminating(theirs)},

	"MakeOwnCluster" + byRequest:  {call: makingCluster("mandelbox", theirs), besides: []string{"TagWhatEcsMakes" + byRequest}},
	"LookIntoTheCluster/Resource": {call: describingCluster("other")},
	"LookAtHostsAndTasks/Resource": {
		call: describingHosts("other"), besides: []string{"LookAtHostsAndTasks" + inCluster},
	},
	"LookAtHostsAndTasks" + inCluster: {call: describingHosts("other"), besides: []string{"LookAtHostsAndTasks/Resource"}},
	"DrainHosts/Resource":             {call: draining("other"), besides: []string{"DrainHosts" + inCluster}},
	"DrainHosts" + inCluster:          {call: draining("other"), besides: []string{"DrainHosts/Resource"}},

	"RemoveHostsFromOwnCluster/Resource": {call: removing("other")},
	"RemoveHostsFromOwnCluster" + byResource: {call: func(a *account) error {
		a.giveAway("mandelbox")
		return removing("mandelbox")(a)
	}},

	"RunOwnTasks" + inCluster: {
		call: running(func(in *ecs.RunTaskInput) { in.Cluster = awssdk.String("other") }), besides: []string{"TagWhatEcsMakes/Resource"},
	},
	"RunOwnTasks" + byRequest: {
		call: running(func(in *ecs.RunTaskInput) { in.Tags = ecsTags(theirs) }), besides: []string{"TagWhatEcsMakes" + byRequest},
	},
	"RunOwnTasks" + byResource: {call: running(func(in *ecs.RunTaskInput) { in.TaskDefinition = awssdk.String("somebodys") })},
	"RunOwnTasks/StringEqualsIfExists/ecs:enable-execute-command": {
		call: running(func(in *ecs.RunTaskInput) { in.EnableExecuteCommand = true }),
	},
	"RunOwnTasks/StringEqualsIfExists/ecs:enable-ebs-volumes": {
		call: running(func(in *ecs.RunTaskInput) {
			in.VolumeConfigurations = []ecstypes.TaskVolumeConfiguration{{
				Name: awssdk.String("data"), ManagedEBSVolume: &ecstypes.TaskManagedEBSVolumeConfiguration{RoleArn: awssdk.String("r")},
			}}
		}),
	},
	"StopOwnTasks" + byResource: {call: stopping("mandelbox", "mandelbox of "+theirs)},
	"StopOwnTasks/Resource":     {call: stopping("other", "other"), besides: []string{"StopOwnTasks" + inCluster}},
	"StopOwnTasks" + inCluster:  {call: stopping("other", "other"), besides: []string{"StopOwnTasks/Resource"}},

	"RegisterOwnTaskDefinitions" + byRequest: {
		call:    registering("mandelbox-web", func(in *ecs.RegisterTaskDefinitionInput) { in.Tags = ecsTags(theirs) }),
		besides: []string{"TagWhatEcsMakes" + byRequest},
	},
	"RegisterOwnTaskDefinitions/StringEqualsIfExists/ecs:privileged": {
		call: registering("mandelbox-web", func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].Privileged = awssdk.Bool(true)
		}),
	},
	"TagWhatEcsMakes" + byRequest: {
		call: running(func(in *ecs.RunTaskInput) { in.Tags = ecsTags(theirs) }), besides: []string{"RunOwnTasks" + byRequest},
	},
	"TagWhatEcsMakes/StringEquals/ecs:CreateAction": {call: func(a *account) error {
		_, err := a.ecs.TagResource(a.t.Context(), &ecs.TagResourceInput{
			ResourceArn: awssdk.String(a.tasks["mandelbox of "+theirs]), Tags: ecsTags(ours),
		})
		return err
	}},
	"TagWhatEcsMakes/Resource": {call: makingCluster("another", ours)},

	"ReceiveEvents/Resource":                            {call: receiving("other-events", false)},
	"GiveRolesToHosts/Resource":                         {call: launching(profile("admin"))},
	"GiveRolesToHosts/StringEquals/iam:PassedToService": {call: registering("mandelbox-web", taskRole("mandelbox/hosts/hosts"))},
	"GiveRolesToTasks/Resource":                         {call: registering("mandelbox-web", taskRole("admin"))},
	"GiveRolesToTasks/StringEquals/iam:PassedToService": {call: launching(profile("tasks"))},

	"MakeTheRoleOfEcs/Resource": {
		call: launching(spot), besides: []string{"MakeTheRoleOfEcs/StringEquals/iam:AWSServiceName"}, without: []string{"MakeTheRoleOfSpot"},
	},
	"MakeTheRoleOfEcs/StringEquals/iam:AWSServiceName": {
		call: launching(spot), besides: []string{"MakeTheRoleOfEcs/Resource"}, without: []string{"MakeTheRoleOfSpot"},
	},
	"MakeTheRoleOfSpot/Resource": {
		call: makingCluster("mandelbox", ours), besides: []string{"MakeTheRoleOfSpot/StringEquals/iam:AWSServiceName"},
		without: []string{"MakeTheRoleOfEcs"},
	},
	"MakeTheRoleOfSpot/StringEquals/iam:AWSServiceName": {
		call: makingCluster("mandelbox", ours), besides: []string{"MakeTheRoleOfSpot/Resource"}, without: []string{"MakeTheRoleOfEcs"},
	},
}

// implied are limits that no call can violate but by violating another limit of the same
// statement, with the reason. IAM wants a resource to be named all the same.
var implied = map[string]string{
	"LaunchOwnHosts/Resource":              "nothing but an instance has the key ec2:MetadataHttpTokens",
	"LaunchWhatHostsHave/Resource":         "all else that a launch may tag is an instance, which has a statement of its own",
	"LaunchIntoTheNetworkOfHosts/Resource": "an image may be launched from anyway, and the key pairs and snapshots of the local AWS have no tags",
	"TerminateOwnHosts/Resource":           "nothing but an instance is terminated by it",
	"RunOwnTasks/Resource":                 "nothing but a task definition is run by it",
}

// asked makes a call without parameters.
func asked[In, Out any](call func(*ec2.Client, context.Context, *In, ...func(*ec2.Options)) (Out, error)) func(*account) error {
	return func(a *account) error {
		_, err := call(a.ec2, a.t.Context(), new(In))
		return err
	}
}

func launching(change ...func(*ec2.RunInstancesInput)) func(*account) error {
	return func(a *account) error {
		_, err := a.ec2.RunInstances(a.t.Context(), a.launch(change...))
		return err
	}
}

// alsoTagged tags more of what is made as the manager would.
func alsoTagged(kinds ...ec2types.ResourceType) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		for _, kind := range kinds {
			in.TagSpecifications = append(in.TagSpecifications, ec2types.TagSpecification{ResourceType: kind, Tags: ec2Tags(ours)})
		}
	}
}

func terminating(owner string) func(*account) error {
	return func(a *account) error {
		_, err := a.ec2.TerminateInstances(a.t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{a.hosts[owner]}})
		return err
	}
}

// tag puts the manager's tag on what is there.
func (a *account) tag(id string) error {
	_, err := a.ec2.CreateTags(a.t.Context(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: ec2Tags(ours)})
	return err
}

func makingCluster(name, owner string) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.CreateCluster(a.t.Context(), &ecs.CreateClusterInput{ClusterName: &name, Tags: ecsTags(owner)})
		return err
	}
}

func describingCluster(name string) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.DescribeClusters(a.t.Context(), &ecs.DescribeClustersInput{Clusters: []string{name}})
		return err
	}
}

func describingHosts(cluster string) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.DescribeContainerInstances(a.t.Context(), &ecs.DescribeContainerInstancesInput{
			Cluster: &cluster, ContainerInstances: []string{a.members[cluster]},
		})
		return err
	}
}

func draining(cluster string) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.UpdateContainerInstancesState(a.t.Context(), &ecs.UpdateContainerInstancesStateInput{
			Cluster: &cluster, ContainerInstances: []string{a.members[cluster]}, Status: ecstypes.ContainerInstanceStatusDraining,
		})
		return err
	}
}

func removing(cluster string) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.DeregisterContainerInstance(a.t.Context(), &ecs.DeregisterContainerInstanceInput{
			Cluster: &cluster, ContainerInstance: awssdk.String(a.members[cluster]), Force: awssdk.Bool(true),
		})
		return err
	}
}

func running(change ...func(*ecs.RunTaskInput)) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.RunTask(a.t.Context(), a.run(change...))
		return err
	}
}

func stopping(cluster, task string) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.StopTask(a.t.Context(), &ecs.StopTaskInput{Cluster: &cluster, Task: awssdk.String(a.tasks[task])})
		return err
	}
}

func registering(family string, change ...func(*ecs.RegisterTaskDefinitionInput)) func(*account) error {
	return func(a *account) error {
		_, err := a.ecs.RegisterTaskDefinition(a.t.Context(), a.definition(family, change...))
		return err
	}
}

// taskRole has a task definition give its tasks a role.
func taskRole(name string) func(*ecs.RegisterTaskDefinitionInput) {
	return func(in *ecs.RegisterTaskDefinitionInput) {
		in.TaskRoleArn = awssdk.String("arn:aws:iam::000000000000:role/" + name)
	}
}

func receiving(queue string, deletes bool) func(*account) error {
	return func(a *account) error { return a.receive(queue, deletes) }
}
