// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"slices"
	"time"
)

// ec2Operations are the operations of EC2 that exist here.
func ec2Operations() []operation {
	ops := []operation{
		{
			name: "RunInstances", mutating: true, bucket: bucketEC2Run,
			resources: runTokens, access: accessLaunch, handle: runInstances,
		},
		{
			name: "TerminateInstances", mutating: true, bucket: bucketEC2Terminate,
			resources: terminateTokens, access: accessInstances, handle: terminateInstances,
		},
		{name: "StopInstances", mutating: true, bucket: bucketEC2Mutate, access: accessInstances, handle: stopInstances},
		{name: "StartInstances", mutating: true, bucket: bucketEC2Mutate, access: accessInstances, handle: startInstances},
		{name: "DescribeInstances", bucket: bucketEC2Read, handle: describeInstances},
		{name: "DescribeInstanceStatus", bucket: bucketEC2Read, handle: describeInstanceStatus},
		{name: "DescribeSpotInstanceRequests", bucket: bucketEC2Read, handle: describeSpotInstanceRequests},
		{name: "DescribeInstanceTypes", bucket: bucketEC2Read, handle: describeInstanceTypes},

		{name: "CreateTags", mutating: true, bucket: bucketEC2CreateTags, access: accessTags, handle: createTags},
		{name: "DeleteTags", mutating: true, bucket: bucketEC2Mutate, access: accessTags, handle: deleteTags},

		{name: "RegisterImage", mutating: true, bucket: bucketEC2Mutate, handle: registerImage},
		{name: "DeregisterImage", mutating: true, bucket: bucketEC2Mutate, handle: deregisterImage},
		{name: "DescribeImages", bucket: bucketEC2Read, handle: describeImages},

		{name: "CreateLaunchTemplate", mutating: true, bucket: bucketEC2Mutate, handle: createLaunchTemplate},
		{name: "DescribeLaunchTemplates", bucket: bucketEC2Read, handle: describeLaunchTemplates},

		{name: "DescribeSubnets", bucket: bucketEC2Read, handle: describeSubnets},
		{name: "DescribeSecurityGroups", bucket: bucketEC2Read, handle: describeSecurityGroups},
		{name: "DescribeAvailabilityZones", bucket: bucketEC2Read, handle: describeAvailabilityZones},
		{name: "DescribeRegions", bucket: bucketEC2Read, handle: describeRegions},
	}
	for i := range ops {
		ops[i].service = serviceEC2
		if ops[i].name != "RunInstances" {
			ops[i].handle = unlessDryRun(ops[i].handle)
		}
	}
	return ops
}

// unlessDryRun answers a request with DryRun=true without running it.
func unlessDryRun(handle func(*call) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if err := c.dryRun(); err != nil {
			return nil, err
		}
		return handle(c)
	}
}

// dryRun is the answer to DryRun=true for a caller who may do what is asked:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html
func (c *call) dryRun() error {
	dry, err := c.params().boolean("DryRun", false)
	if err != nil || !dry {
		return err
	}
	return &apiError{
		Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: 412,
	}
}

// ec2Return is the answer of operations that have nothing to say but that it went well.
type ec2Return struct {
	ec2Response
	Return bool `xml:"return"`
}

// tagXML is a tag as EC2 writes it.
type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// tagsXML writes tags ordered by key, so that the same state reads the same.
func tagsXML(tags map[string]string) []tagXML {
	keys := mapKeys(tags)
	slices.Sort(keys)
	list := make([]tagXML, 0, len(keys))
	for _, k := range keys {
		list = append(list, tagXML{k, tags[k]})
	}
	return list
}

// timeXML is a moment as EC2 writes it, in milliseconds.
func timeXML(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
