// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// ecsBatch is how many tasks or container instances one describe takes, and
	// how many a page of a listing holds.
	// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeContainerInstances.html.
	ecsBatch = 100
	// stateBatch is how many container instances change state in one call.
	// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateContainerInstancesState.html.
	stateBatch = 10
	// missing is the reason of a failure for something that ECS doesn't know.
	// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html.
	missing = "MISSING"
)

// ListContainerHosts lists all container instances of the cluster, other people's
// included. ECS leaves out only those that are INACTIVE.
func (c *client) ListContainerHosts(ctx context.Context) ([]cloud.ContainerHost, error) {
	return c.findContainerHosts(ctx, nil)
}

// FindContainerHosts has ECS filter the container instances by their EC2
// instances.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html.
func (c *client) FindContainerHosts(ctx context.Context, instanceIDs []string) ([]cloud.ContainerHost, error) {
	var found []cloud.ContainerHost
	for batch := range slices.Chunk(instanceIDs, ecsBatch) {
		query := "ec2InstanceId in [" + strings.Join(batch, ", ") + "]"
		some, err := c.findContainerHosts(ctx, &query)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

func (c *client) findContainerHosts(ctx context.Context, query *string) ([]cloud.ContainerHost, error) {
	var arns []string
	pages := ecs.NewListContainerInstancesPaginator(c.ecs, &ecs.ListContainerInstancesInput{
		Cluster:    awssdk.String(c.target.ECSCluster),
		Filter:     query,
		MaxResults: awssdk.Int32(ecsBatch),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, ignoreNoCluster(wrap("ListContainerInstances", err))
		}
		arns = append(arns, page.ContainerInstanceArns...)
	}
	return c.DescribeContainerHosts(ctx, arns)
}

// DescribeContainerHosts describes container instances in full batches.
func (c *client) DescribeContainerHosts(ctx context.Context, arns []string) ([]cloud.ContainerHost, error) {
	var found []cloud.ContainerHost
	for batch := range slices.Chunk(arns, ecsBatch) {
		out, err := c.ecs.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{
			Cluster:            awssdk.String(c.target.ECSCluster),
			ContainerInstances: batch,
		})
		if err != nil {
			return nil, ignoreNoCluster(wrap("DescribeContainerInstances", err))
		}
		for i := range out.ContainerInstances {
			found = append(found, containerHost(&out.ContainerInstances[i]))
		}
	}
	return found, nil
}

// ignoreNoCluster takes a cluster that isn't there for one without anything in it.
func ignoreNoCluster(err error) error {
	if e, ok := errors.AsType[*cloud.Error](err); ok && e.Code == "ClusterNotFoundException" {
		return nil
	}
	return err
}

func containerHost(i *types.ContainerInstance) cloud.ContainerHost {
	return cloud.ContainerHost{
		ARN:            awssdk.ToString(i.ContainerInstanceArn),
		InstanceID:     awssdk.ToString(i.Ec2InstanceId),
		Status:         awssdk.ToString(i.Status),
		AgentConnected: i.AgentConnected,
		Registered:     resources(i.RegisteredResources),
		RunningTasks:   i.RunningTasksCount,
		PendingTasks:   i.PendingTasksCount,
		RegisteredAt:   awssdk.ToTime(i.RegisteredAt),
	}
}

// resources reads CPU shares, MiB of memory, and the set of GPUs by their ids.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Resource.html.
func resources(list []types.Resource) cloud.Resources {
	var r cloud.Resources
	for _, resource := range list {
		switch awssdk.ToString(resource.Name) {
		case "CPU":
			r.CPU = resource.IntegerValue
		case "MEMORY":
			r.MemoryMiB = resource.IntegerValue
		case "GPU":
			r.GPUs = int32(len(resource.StringSetValue))
		}
	}
	return r
}

// DrainHosts sets container instances to DRAINING. Those that are no longer in the
// cluster are passed over.
func (c *client) DrainHosts(ctx context.Context, containerInstanceARNs []string) error {
	const op = "UpdateContainerInstancesState"
	var errs []error
	for batch := range slices.Chunk(containerInstanceARNs, stateBatch) {
		out, err := c.ecs.UpdateContainerInstancesState(ctx, &ecs.UpdateContainerInstancesStateInput{
			Cluster:            awssdk.String(c.target.ECSCluster),
			ContainerInstances: batch,
			Status:             types.ContainerInstanceStatusDraining,
		})
		if err != nil {
			return wrap(op, err)
		}
		for _, f := range out.Failures {
			if reason := awssdk.ToString(f.Reason); reason != missing && reason != cloud.ContainerHostInactive {
				errs = append(errs, refused(op, cloud.KindHostUnavailable, reason, awssdk.ToString(f.Detail)))
			}
		}
	}
	return errors.Join(errs...)
}

// DeregisterHost takes the container instance out by force: it is called for
// hosts that are gone, whose tasks ECS may still count as running.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeregisterContainerInstance.html.
func (c *client) DeregisterHost(ctx context.Context, containerInstanceARN string) error {
	_, err := c.ecs.DeregisterContainerInstance(ctx, &ecs.DeregisterContainerInstanceInput{
		Cluster:           awssdk.String(c.target.ECSCluster),
		ContainerInstance: awssdk.String(containerInstanceARN),
		Force:             awssdk.Bool(true),
	})
	return ignoreNotFound(wrap("DeregisterContainerInstance", err))
}

// ignoreNotFound takes for done what there is nothing left to do to.
func ignoreNotFound(err error) error {
	if cloud.KindOf(err) == cloud.KindNotFound {
		return nil
	}
	return err
}
