// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"maps"
	"slices"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// clusterActive is the status of an ECS cluster that can be used.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html.
const clusterActive = "ACTIVE"

// Cluster returns the ARN of the ECS cluster, or "" if none is active.
func (c *client) Cluster(ctx context.Context) (string, error) {
	out, err := c.ecs.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{c.target.ECSCluster}})
	if err != nil {
		return "", wrap("DescribeClusters", err)
	}
	for _, cluster := range out.Clusters {
		if awssdk.ToString(cluster.Status) == clusterActive {
			return awssdk.ToString(cluster.ClusterArn), nil
		}
	}
	return "", nil
}

// EnsureCluster looks before it makes, since a cluster that a person made is to
// be used as it is.
func (c *client) EnsureCluster(ctx context.Context, tags map[string]string) (string, error) {
	arn, err := c.Cluster(ctx)
	if err != nil || arn != "" {
		return arn, err
	}
	out, err := c.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{
		ClusterName: awssdk.String(c.target.ECSCluster),
		Tags:        ecsTags(tags),
	})
	if err != nil {
		return "", wrap("CreateCluster", err)
	}
	return awssdk.ToString(out.Cluster.ClusterArn), nil
}

// ecsTags are in the order of their keys, since they are parameters of a client token.
func ecsTags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: awssdk.String(key), Value: awssdk.String(tags[key])})
	}
	return list
}

// environment is in the order of the names, for the same reason.
func environment(env map[string]string) []types.KeyValuePair {
	var list []types.KeyValuePair
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, types.KeyValuePair{Name: awssdk.String(name), Value: awssdk.String(env[name])})
	}
	return list
}
