// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// agreeWithin is how long the two sides may take to agree: the manager sees what
// AWS did a moment later.
const agreeWithin = 10 * time.Second

// comparison is what Kubernetes and AWS say, a row for each sort and region.
type comparison []compared

// compared are the ids of one sort of thing on both sides, in order.
type compared struct {
	what, region    string
	kubernetes, aws []string
}

func (c compared) agrees() bool { return slices.Equal(c.kubernetes, c.aws) }

// compare asks both sides, until they agree or time is up.
func (d *demo) compare(ctx context.Context) (comparison, error) {
	ctx, cancel := context.WithTimeout(ctx, agreeWithin)
	defer cancel()
	var all comparison
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		now, err := d.lookAtBothSides(ctx)
		if err != nil {
			return false, err
		}
		all = now
		return all.err() == nil, nil
	})
	if err != nil && (len(all) == 0 || !wait.Interrupted(err)) {
		return nil, fmt.Errorf("comparing AWS with the API server: %w", err)
	}
	return all, nil
}

func (d *demo) lookAtBothSides(ctx context.Context) (comparison, error) {
	var hosts v1alpha1.InstanceList
	var sessions v1alpha1.MandelboxList
	if err := errors.Join(d.api.List(ctx, &hosts), d.api.List(ctx, &sessions)); err != nil {
		return nil, err
	}
	var all comparison
	for _, region := range d.samples.regions {
		instances := compared{what: "hosts", region: region.Name}
		tasks := compared{what: "sessions", region: region.Name}
		for i := range hosts.Items {
			if hosts.Items[i].Spec.RegionName == region.Name && hosts.Items[i].Status.Phase != v1alpha1.InstanceTerminating {
				instances.kubernetes = append(instances.kubernetes, hosts.Items[i].Status.InstanceID)
			}
		}
		for i := range sessions.Items {
			if status := sessions.Items[i].Status; status.Region == region.Name && status.Phase != v1alpha1.MandelboxFinished {
				tasks.kubernetes = append(tasks.kubernetes, status.TaskARN)
			}
		}
		var err error
		if instances.aws, err = d.liveInstances(ctx, region); err != nil {
			return nil, err
		}
		if tasks.aws, err = d.liveTasks(ctx, region); err != nil {
			return nil, err
		}
		for _, c := range []compared{instances, tasks} {
			slices.Sort(c.kubernetes)
			slices.Sort(c.aws)
			all = append(all, c)
		}
	}
	return all, nil
}

// liveInstances are the ids of this cluster's hosts in EC2.
func (d *demo) liveInstances(ctx context.Context, region *v1alpha1.Region) ([]string, error) {
	var ids []string
	pages := ec2.NewDescribeInstancesPaginator(d.aws.ec2(region), &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: awssdk.String("tag:" + cloud.TagCluster), Values: []string{string(d.plane.ClusterUID())}},
		{Name: awssdk.String("instance-state-name"), Values: []string{"pending", "running"}},
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describing the instances in %s: %w", region.Name, err)
		}
		for _, reservation := range page.Reservations {
			for _, instance := range reservation.Instances {
				ids = append(ids, awssdk.ToString(instance.InstanceId))
			}
		}
	}
	return ids, nil
}

// liveTasks are the ARNs of the tasks in the region's ECS cluster.
func (d *demo) liveTasks(ctx context.Context, region *v1alpha1.Region) ([]string, error) {
	var arns []string
	pages := ecs.NewListTasksPaginator(d.aws.ecs(region), &ecs.ListTasksInput{
		Cluster: awssdk.String(region.Spec.ECSCluster), DesiredStatus: ecstypes.DesiredStatusRunning,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the tasks in %s: %w", region.Name, err)
		}
		arns = append(arns, page.TaskArns...)
	}
	return arns, nil
}

// table shows the counts of both sides.
func (c comparison) table() []string {
	grid := [][]terminal.Cell{terminal.Titles("WHAT", "REGION", "KUBERNETES", "AWS", "THE SAME")}
	for _, row := range c {
		same := "yes"
		if !row.agrees() {
			same = "no"
		}
		grid = append(grid, []terminal.Cell{
			{Text: row.what}, {Text: row.region}, {Text: strconv.Itoa(len(row.kubernetes))}, {Text: strconv.Itoa(len(row.aws))}, {Text: same},
		})
	}
	return append(append([]string{""}, terminal.Table(grid, false)...), "")
}

// err says where the two sides differ.
func (c comparison) err() error {
	var errs []error
	for _, row := range c {
		if !row.agrees() {
			errs = append(errs, fmt.Errorf("the %s in %s differ: Kubernetes has %v, AWS has %v", row.what, row.region, row.kubernetes, row.aws))
		}
	}
	return errors.Join(errs...)
}
