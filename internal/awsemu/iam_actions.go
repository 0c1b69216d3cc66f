// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import "strings"

// conditionKeys are the keys that an action is checked with, beside those that every
// action has. One that ends with a slash stands for every tag.
type conditionKeys []string

// globalKeys are those that every call has here.
var globalKeys = conditionKeys{"aws:PrincipalTag/", "aws:RequestedRegion"}

func (k conditionKeys) has(key string) bool {
	for _, known := range append(globalKeys[:len(globalKeys):len(globalKeys)], k...) {
		if strings.EqualFold(known, key) ||
			strings.HasSuffix(known, "/") && len(key) > len(known) && strings.EqualFold(known, key[:len(known)]) {
			return true
		}
	}
	return false
}

// What several actions have.
var (
	keysOfNone     = conditionKeys{}
	keysOfResource = conditionKeys{"aws:ResourceTag/"}
	keysOfTagging  = conditionKeys{"aws:RequestTag/", "aws:ResourceTag/", "aws:TagKeys"}
	keysInCluster  = conditionKeys{"aws:ResourceTag/", "ecs:cluster"}
)

// actions are those that the operations here need, with those of their condition keys
// that are known here. Tables of all of them:
//
//	https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
//	https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
//	https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
//	https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
var actions = map[string]conditionKeys{
	"ec2:RunInstances": {
		"aws:RequestTag/", "aws:ResourceTag/", "aws:TagKeys",
		"ec2:InstanceMarketType", "ec2:InstanceProfile", "ec2:InstanceType", "ec2:MetadataHttpTokens",
	},
	"ec2:TerminateInstances":           keysOfResource,
	"ec2:StopInstances":                keysOfResource,
	"ec2:StartInstances":               keysOfResource,
	"ec2:DescribeInstances":            keysOfNone,
	"ec2:DescribeInstanceStatus":       keysOfNone,
	"ec2:DescribeSpotInstanceRequests": keysOfNone,
	"ec2:DescribeInstanceTypes":        keysOfNone,
	"ec2:CreateTags":                   append(keysOfTagging[:3:3], "ec2:CreateAction"),
	"ec2:DeleteTags":                   keysOfTagging,
	"ec2:RegisterImage":                keysOfNone,
	"ec2:DeregisterImage":              keysOfNone,
	"ec2:DescribeImages":               keysOfNone,
	"ec2:CreateLaunchTemplate":         keysOfNone,
	"ec2:DescribeLaunchTemplates":      keysOfNone,
	"ec2:DescribeSubnets":              keysOfNone,
	"ec2:DescribeSecurityGroups":       keysOfNone,
	"ec2:DescribeAvailabilityZones":    keysOfNone,
	"ec2:DescribeRegions":              keysOfNone,

	"ecs:CreateCluster":                 {"aws:RequestTag/", "aws:TagKeys"},
	"ecs:DeleteCluster":                 keysOfResource,
	"ecs:DescribeClusters":              keysOfResource,
	"ecs:ListClusters":                  keysOfNone,
	"ecs:RegisterTaskDefinition":        {"aws:RequestTag/", "aws:TagKeys", "ecs:privileged"},
	"ecs:DeregisterTaskDefinition":      keysOfNone,
	"ecs:DescribeTaskDefinition":        keysOfNone,
	"ecs:ListTaskDefinitions":           keysOfNone,
	"ecs:RunTask":                       append(keysOfTagging[:3:3], "ecs:cluster", "ecs:enable-ebs-volumes", "ecs:enable-execute-command"),
	"ecs:StopTask":                      keysInCluster,
	"ecs:DescribeTasks":                 keysInCluster,
	"ecs:ListTasks":                     keysInCluster,
	"ecs:RegisterContainerInstance":     keysOfTagging,
	"ecs:DeregisterContainerInstance":   keysOfResource,
	"ecs:UpdateContainerInstancesState": keysInCluster,
	"ecs:DescribeContainerInstances":    keysInCluster,
	"ecs:ListContainerInstances":        keysOfResource,
	"ecs:TagResource":                   append(keysOfTagging[:3:3], "ecs:CreateAction"),
	"ecs:UntagResource":                 keysOfTagging,
	"ecs:ListTagsForResource":           keysOfResource,

	"sqs:CreateQueue":             keysOfNone,
	"sqs:GetQueueUrl":             keysOfNone,
	"sqs:GetQueueAttributes":      keysOfNone,
	"sqs:SendMessage":             keysOfNone,
	"sqs:ReceiveMessage":          keysOfNone,
	"sqs:ChangeMessageVisibility": keysOfNone,
	"sqs:DeleteMessage":           keysOfNone,

	"iam:PassRole":                {"iam:PassedToService"},
	"iam:CreateServiceLinkedRole": {"iam:AWSServiceName"},
}
