// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"maps"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// InstanceTypes asks by filter, since one unknown name would fail the whole call.
func (c *client) InstanceTypes(ctx context.Context, names []string) (map[string]cloud.InstanceType, error) {
	found := map[string]cloud.InstanceType{}
	for batch := range slices.Chunk(names, filterValues) {
		pages := ec2.NewDescribeInstanceTypesPaginator(c.ec2, &ec2.DescribeInstanceTypesInput{
			Filters: []types.Filter{filter("instance-type", batch...)},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, wrap("DescribeInstanceTypes", err)
			}
			for i := range page.InstanceTypes {
				t := instanceType(&page.InstanceTypes[i])
				found[t.Name] = t
			}
		}
	}
	return found, nil
}

func instanceType(info *types.InstanceTypeInfo) cloud.InstanceType {
	t := cloud.InstanceType{Name: string(info.InstanceType)}
	if info.VCpuInfo != nil {
		t.VCPUs = awssdk.ToInt32(info.VCpuInfo.DefaultVCpus)
	}
	if info.MemoryInfo != nil {
		t.MemoryMiB = int32(awssdk.ToInt64(info.MemoryInfo.SizeInMiB)) //nolint:gosec // No host has two billion MiB.
	}
	if info.GpuInfo != nil {
		for _, gpu := range info.GpuInfo.Gpus {
			t.GPUs += awssdk.ToInt32(gpu.Count)
		}
	}
	return t
}

// Subnets finds subnets by id or tags, in the order of their ids.
func (c *client) Subnets(ctx context.Context, by cloud.Selector) ([]cloud.Subnet, error) {
	in := &ec2.DescribeSubnetsInput{SubnetIds: by.IDs, Filters: selectorFilters(by)}
	var subnets []cloud.Subnet
	pages := ec2.NewDescribeSubnetsPaginator(c.ec2, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrap("DescribeSubnets", err)
		}
		for _, s := range page.Subnets {
			subnets = append(subnets, cloud.Subnet{
				ID:            awssdk.ToString(s.SubnetId),
				Zone:          awssdk.ToString(s.AvailabilityZone),
				FreeAddresses: awssdk.ToInt32(s.AvailableIpAddressCount),
			})
		}
	}
	slices.SortFunc(subnets, func(a, b cloud.Subnet) int { return strings.Compare(a.ID, b.ID) })
	return subnets, nil
}

// SecurityGroups finds the ids of security groups by id or tags, in order.
func (c *client) SecurityGroups(ctx context.Context, by cloud.Selector) ([]string, error) {
	in := &ec2.DescribeSecurityGroupsInput{GroupIds: by.IDs, Filters: selectorFilters(by)}
	var groups []string
	pages := ec2.NewDescribeSecurityGroupsPaginator(c.ec2, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrap("DescribeSecurityGroups", err)
		}
		for _, g := range page.SecurityGroups {
			groups = append(groups, awssdk.ToString(g.GroupId))
		}
	}
	slices.Sort(groups)
	return groups, nil
}

// selectorFilters ask for all the tags; one without a value for its key alone.
func selectorFilters(by cloud.Selector) []types.Filter {
	var filters []types.Filter
	for _, key := range slices.Sorted(maps.Keys(by.Tags)) {
		if value := by.Tags[key]; value != "" {
			filters = append(filters, filter("tag:"+key, value))
		} else {
			filters = append(filters, filter("tag-key", key))
		}
	}
	return filters
}

// Images asks by filter, since one unknown id would fail the whole call.
func (c *client) Images(ctx context.Context, ids []string) (map[string]cloud.Image, error) {
	found := map[string]cloud.Image{}
	for batch := range slices.Chunk(ids, filterValues) {
		pages := ec2.NewDescribeImagesPaginator(c.ec2, &ec2.DescribeImagesInput{
			Filters: []types.Filter{filter("image-id", batch...), filter("state", string(types.ImageStateAvailable))},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, wrap("DescribeImages", err)
			}
			for _, image := range page.Images {
				id := awssdk.ToString(image.ImageId)
				found[id] = cloud.Image{ID: id, RootDeviceName: awssdk.ToString(image.RootDeviceName)}
			}
		}
	}
	return found, nil
}
