// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// maxReason is how long a reason to stop a task may be.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StopTask.html.
const maxReason = 255

// ListTasks lists the tasks that run or are to run, and those that stopped within
// the last hour or so. Others may use the cluster too: only what carries the
// target's tags is returned.
func (c *client) ListTasks(ctx context.Context, settled func(arn string) bool) (cloud.TaskListing, error) {
	var listing cloud.TaskListing
	var pages pager
	running, err := c.taskARNs(ctx, &pages, types.DesiredStatusRunning)
	if err != nil {
		return listing, err
	}
	// A task that is told to stop meanwhile is in both.
	arns, err := c.taskARNs(ctx, &pages, types.DesiredStatusStopped)
	if err != nil {
		return listing, err
	}
	for arn := range running {
		if _, stops := arns[arn]; !stops && settled != nil && settled(arn) {
			listing.Settled = append(listing.Settled, arn)
			continue
		}
		arns[arn] = struct{}{}
	}
	ended := c.ended.keep(arns)
	maps.DeleteFunc(arns, func(arn string, _ struct{}) bool {
		_, known := ended[arn]
		return known
	})
	listing.Tasks = make([]cloud.Task, 0, len(arns))
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(arns)), ecsBatch) {
		if err := pages.next(ctx); err != nil {
			return listing, wrap("DescribeTasks", err)
		}
		some, err := c.DescribeTasks(ctx, batch)
		if err != nil {
			return listing, err
		}
		c.ended.add(some) // A listing that fails later on has done so much of the next.
		listing.Tasks = append(listing.Tasks, some...)
	}
	listing.Tasks = slices.AppendSeq(listing.Tasks, maps.Values(ended))
	listing.Tasks = slices.DeleteFunc(listing.Tasks, func(t cloud.Task) bool {
		return !c.target.Owns(t.Tags)
	})
	return listing, nil
}

// taskARNs lists the tasks that are to run, or to be stopped; none if there is no such
// cluster.
func (c *client) taskARNs(ctx context.Context, pages *pager, desired types.DesiredStatus) (map[string]struct{}, error) {
	arns := map[string]struct{}{}
	tasks := ecs.NewListTasksPaginator(c.ecs, &ecs.ListTasksInput{
		Cluster:       awssdk.String(c.target.ECSCluster),
		DesiredStatus: desired,
		MaxResults:    awssdk.Int32(ecsBatch),
	})
	for tasks.HasMorePages() {
		if err := pages.next(ctx); err != nil {
			return nil, wrap("ListTasks", err)
		}
		page, err := tasks.NextPage(ctx)
		if err != nil {
			return map[string]struct{}{}, ignoreNoCluster(wrap("ListTasks", err))
		}
		for _, arn := range page.TaskArns {
			arns[arn] = struct{}{}
		}
	}
	return arns, nil
}

// listPause is the least time from one page of a full listing of tasks, which has a page
// for each hundred, to the next. At 20 a second it takes no more than what ECS gives back
// of its limit; and a region's thousands of tasks are not decoded all at once, on
// processors that sessions wait for.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html.
const listPause = 50 * time.Millisecond

// pager paces the pages of one listing.
type pager struct {
	// asked is when the last page was asked for; zero before the first.
	asked time.Time
}

// next waits until the next page may be asked for.
func (p *pager) next(ctx context.Context) error {
	select {
	case <-time.After(time.Until(p.asked.Add(listPause))):
		p.asked = time.Now()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endedTasks remembers the tasks that stopped, for as long as ECS lists them. They
// never change again; over an hour they may be many more than those that run, and
// describing them with each listing would be most of its cost.
type endedTasks struct {
	mu    sync.Mutex
	tasks map[string]cloud.Task
}

// keep forgets those that are not listed any more and returns the others.
func (e *endedTasks) keep(listed map[string]struct{}) map[string]cloud.Task {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.tasks, func(arn string, _ cloud.Task) bool {
		_, ok := listed[arn]
		return !ok
	})
	return maps.Clone(e.tasks)
}

// add remembers those of the tasks that have stopped.
func (e *endedTasks) add(tasks []cloud.Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tasks == nil {
		e.tasks = map[string]cloud.Task{}
	}
	for _, t := range tasks {
		if t.Stopped() {
			e.tasks[t.ARN] = t
		}
	}
}

// DescribeTasks describes tasks in full batches.
func (c *client) DescribeTasks(ctx context.Context, arns []string) ([]cloud.Task, error) {
	var found []cloud.Task
	for batch := range slices.Chunk(arns, ecsBatch) {
		out, err := c.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{
			Cluster: awssdk.String(c.target.ECSCluster),
			Tasks:   batch,
			Include: []types.TaskField{types.TaskFieldTags},
		})
		if err != nil {
			return nil, ignoreNoCluster(wrap("DescribeTasks", err))
		}
		for i := range out.Tasks {
			found = append(found, task(&out.Tasks[i]))
		}
	}
	return found, nil
}

// RunTask runs one task on one host. ECS answers the same token and parameters
// with the same task.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html.
func (c *client) RunTask(ctx context.Context, run cloud.TaskRun) (cloud.Task, error) {
	const op = "RunTask"
	out, err := c.ecs.RunTask(ctx, c.runTaskInput(run))
	if err != nil {
		if conflict, ok := errors.AsType[*types.ConflictException](err); ok {
			return c.settleConflict(ctx, run, conflict.ResourceIds, wrap(op, err))
		}
		return cloud.Task{}, wrap(op, err)
	}
	if len(out.Tasks) > 0 {
		t := task(&out.Tasks[0])
		if len(t.Tags) == 0 {
			t.Tags = maps.Clone(run.Tags)
		}
		return t, nil
	}
	for _, f := range out.Failures {
		return cloud.Task{}, placementFailure(op, run, f)
	}
	return cloud.Task{}, refused(op, cloud.KindUnknown, "", "ECS reported neither a task nor a failure")
}

func (c *client) runTaskInput(run cloud.TaskRun) *ecs.RunTaskInput {
	in := &ecs.RunTaskInput{
		Cluster:        awssdk.String(c.target.ECSCluster),
		TaskDefinition: awssdk.String(run.TaskDefinition),
		Count:          awssdk.Int32(1),
		LaunchType:     types.LaunchTypeEc2,
		ClientToken:    awssdk.String(run.Token),
		StartedBy:      optional(run.StartedBy),
		Tags:           ecsTags(run.Tags),
		PlacementConstraints: []types.PlacementConstraint{{
			Type:       types.PlacementConstraintTypeMemberOf,
			Expression: awssdk.String("ec2InstanceId == " + run.InstanceID),
		}},
	}
	if len(run.Env) > 0 || len(run.Command) > 0 {
		in.Overrides = &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{
			Name:        awssdk.String(run.ContainerName),
			Command:     run.Command,
			Environment: environment(run.Env),
		}}}
	}
	return in
}

// settleConflict deals with a token that was used with other parameters, e.g. on
// another host before the operator was killed. A live task on the claimed host is
// the one that was asked for; any other is stopped.
func (c *client) settleConflict(ctx context.Context, run cloud.TaskRun, ids []string, conflict error) (cloud.Task, error) {
	tasks, err := c.DescribeTasks(ctx, ids)
	if err != nil {
		return cloud.Task{}, fmt.Errorf("looking at the tasks of a token used before: %w", err)
	}
	var adopted *cloud.Task
	for i, t := range tasks {
		live := t.LastStatus != cloud.TaskStopped && t.DesiredStatus != cloud.TaskStopped
		switch {
		case live && t.ContainerHostARN == run.ContainerHostARN && adopted == nil:
			adopted = &tasks[i]
		case t.LastStatus != cloud.TaskStopped:
			if err := c.StopTask(ctx, t.ARN, "Started under the same token on another host"); err != nil {
				return cloud.Task{}, fmt.Errorf("stopping %s, which was started under the same token: %w", t.ARN, err)
			}
		}
	}
	if adopted == nil {
		return cloud.Task{}, conflict
	}
	return *adopted, nil
}

// placementFailure is the error of a task that ECS could not place.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html.
func placementFailure(op string, run cloud.TaskRun, f types.Failure) error {
	reason := awssdk.ToString(f.Reason)
	kind := cloud.KindUnknown
	switch {
	case strings.HasPrefix(reason, "RESOURCE"):
		kind = cloud.KindNoRoom
	case strings.HasPrefix(reason, "AGENT"), strings.HasPrefix(reason, missing), strings.HasPrefix(reason, cloud.ContainerHostInactive),
		strings.HasPrefix(reason, cloud.ContainerHostDraining), strings.HasPrefix(reason, "MemberOf placement constraint unsatisfied"):
		kind = cloud.KindHostUnavailable
	case strings.HasPrefix(reason, "ATTRIBUTE"), strings.HasPrefix(reason, "LOCATION"):
		kind = cloud.KindInvalid
	}
	detail := awssdk.ToString(f.Detail)
	if detail == "" {
		detail = "the task was not placed on " + run.InstanceID
	}
	return refused(op, kind, reason, detail)
}

// StopTask stops a task. One that has stopped already is answered as if it were
// stopped again; one that ECS no longer knows is no error.
func (c *client) StopTask(ctx context.Context, taskARN, reason string) error {
	if runes := []rune(reason); len(runes) > maxReason {
		reason = string(runes[:maxReason])
	}
	_, err := c.ecs.StopTask(ctx, &ecs.StopTaskInput{
		Cluster: awssdk.String(c.target.ECSCluster),
		Task:    awssdk.String(taskARN),
		Reason:  optional(reason),
	})
	return ignoreNotFound(wrap("StopTask", err))
}

func task(t *types.Task) cloud.Task {
	result := cloud.Task{
		ARN:              own(t.TaskArn),
		ContainerHostARN: shared(t.ContainerInstanceArn),
		StartedBy:        own(t.StartedBy),
		TaskDefinition:   shared(t.TaskDefinitionArn),
		LastStatus:       shared(t.LastStatus),
		DesiredStatus:    shared(t.DesiredStatus),
		Health:           shared((*string)(&t.HealthStatus)),
		StopCode:         shared((*string)(&t.StopCode)),
		StoppedReason:    own(t.StoppedReason),
		Ports:            hostPorts(t.Containers),
		CreatedAt:        awssdk.ToTime(t.CreatedAt),
		StartedAt:        awssdk.ToTime(t.StartedAt),
		StoppedAt:        awssdk.ToTime(t.StoppedAt),
		Tags:             make(map[string]string, len(t.Tags)),
	}
	for _, tag := range t.Tags {
		value := shared
		if awssdk.ToString(tag.Key) == cloud.TagMandelbox {
			value = own
		}
		result.Tags[shared(tag.Key)] = value(tag.Value)
	}
	if main := mainContainer(t); main != nil {
		result.ExitCode = main.ExitCode
		if reason := awssdk.ToString(main.Reason); reason != "" {
			// E.g. "OutOfMemoryError: Container killed due to memory usage".
			result.StoppedReason = strings.TrimPrefix(result.StoppedReason+": "+reason, ": ")
		}
	}
	return result
}

// own is a string of its own. The SDK cuts the strings of an answer out of a few large
// pieces, and a task that is kept would keep the pieces of its whole page.
func own(s *string) string { return strings.Clone(awssdk.ToString(s)) }

// shared is the same for a string that many tasks have: all of them have one copy.
func shared(s *string) string { return unique.Make(awssdk.ToString(s)).Value() }

// mainContainer is the container that the session runs in: the one whose
// environment was overridden, or else the first, as ECS doesn't say of a task's
// containers which of them is essential.
func mainContainer(t *types.Task) *types.Container {
	if len(t.Containers) == 0 {
		return nil
	}
	if t.Overrides != nil {
		for _, override := range t.Overrides.ContainerOverrides {
			for i := range t.Containers {
				if awssdk.ToString(t.Containers[i].Name) == awssdk.ToString(override.Name) && len(override.Environment) > 0 {
					return &t.Containers[i]
				}
			}
		}
	}
	return &t.Containers[0]
}

// hostPorts are the ports of all containers, each once: ECS names a binding for
// IPv4 and another for IPv6, on the same port.
func hostPorts(containers []types.Container) []cloud.Port {
	var ports []cloud.Port
	for _, container := range containers {
		for _, b := range container.NetworkBindings {
			ports = append(ports, cloud.Port{
				ContainerPort: awssdk.ToInt32(b.ContainerPort),
				HostPort:      awssdk.ToInt32(b.HostPort),
				Protocol:      shared((*string)(&b.Protocol)),
			})
		}
	}
	slices.SortFunc(ports, comparePorts)
	return slices.CompactFunc(ports, func(a, b cloud.Port) bool {
		return a.ContainerPort == b.ContainerPort && a.Protocol == b.Protocol
	})
}
