// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"slices"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// ec2PageSize is the most that a page of DescribeInstances holds. Calls with
	// pages or filters are charged against the larger of the two read budgets.
	// See https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html.
	ec2PageSize = 1000
	// filterValues is the most values that one filter takes.
	// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html.
	filterValues = 200
)

// ListHosts lists all hosts that carry the target's tags.
func (c *client) ListHosts(ctx context.Context) ([]cloud.Host, error) {
	return c.describeHosts(ctx, c.tagFilters()...)
}

// DescribeHosts asks for the ids by filter, not by name: a name that EC2 doesn't
// know makes the whole call fail, and just after a launch that is normal.
func (c *client) DescribeHosts(ctx context.Context, instanceIDs []string) ([]cloud.Host, error) {
	var hosts []cloud.Host
	for batch := range slices.Chunk(instanceIDs, filterValues) {
		found, err := c.describeHosts(ctx, filter("instance-id", batch...))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, found...)
	}
	return hosts, nil
}

// HostsOfLaunch finds the hosts of a client token. Tags are not asked for: they
// may become visible later than the host.
func (c *client) HostsOfLaunch(ctx context.Context, token string) ([]cloud.Host, error) {
	return c.describeHosts(ctx, filter("client-token", token))
}

func (c *client) describeHosts(ctx context.Context, filters ...types.Filter) ([]cloud.Host, error) {
	var hosts []cloud.Host
	pages := ec2.NewDescribeInstancesPaginator(c.ec2, &ec2.DescribeInstancesInput{
		Filters:    filters,
		MaxResults: awssdk.Int32(ec2PageSize),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrap("DescribeInstances", err)
		}
		for _, reservation := range page.Reservations {
			for i := range reservation.Instances {
				hosts = append(hosts, host(&reservation.Instances[i]))
			}
		}
	}
	return hosts, nil
}

// tagFilters find what is the target's.
func (c *client) tagFilters() []types.Filter {
	return []types.Filter{
		filter("tag:"+cloud.TagCluster, c.target.ClusterID),
		filter("tag:"+cloud.TagRegion, c.target.Region),
	}
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: awssdk.String(name), Values: values}
}

func host(i *types.Instance) cloud.Host {
	h := cloud.Host{
		InstanceID:   awssdk.ToString(i.InstanceId),
		Token:        awssdk.ToString(i.ClientToken),
		Index:        awssdk.ToInt32(i.AmiLaunchIndex),
		StateReason:  stateReason(i),
		InstanceType: string(i.InstanceType),
		ImageID:      awssdk.ToString(i.ImageId),
		SubnetID:     awssdk.ToString(i.SubnetId),
		PrivateIP:    awssdk.ToString(i.PrivateIpAddress),
		PublicIP:     awssdk.ToString(i.PublicIpAddress),
		Spot:         i.InstanceLifecycle == types.InstanceLifecycleTypeSpot,
		LaunchTime:   awssdk.ToTime(i.LaunchTime),
		Tags:         make(map[string]string, len(i.Tags)),
	}
	if i.State != nil {
		h.State = cloud.HostState(i.State.Name)
	}
	if i.Placement != nil {
		h.Zone = awssdk.ToString(i.Placement.AvailabilityZone)
	}
	for _, tag := range i.Tags {
		h.Tags[awssdk.ToString(tag.Key)] = awssdk.ToString(tag.Value)
	}
	return h
}

// stateReason prefers the structured reason, e.g.
// "Server.SpotInstanceTermination: Spot instance termination".
func stateReason(i *types.Instance) string {
	if i.StateReason != nil {
		return awssdk.ToString(i.StateReason.Message)
	}
	return awssdk.ToString(i.StateTransitionReason)
}
