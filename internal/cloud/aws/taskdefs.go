// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// EnsureTaskDefinition registers the definition if its family has no active
// revision. Two managers that do so at once register the same content twice,
// which harms nobody.
func (c *client) EnsureTaskDefinition(ctx context.Context, def cloud.TaskDefinition) (cloud.RegisteredTask, error) {
	known, err := c.DescribeTaskDefinition(ctx, def.Family)
	if cloud.KindOf(err) != cloud.KindNotFound {
		return known, err
	}
	out, err := c.ecs.RegisterTaskDefinition(ctx, registerInput(def))
	if err != nil {
		return cloud.RegisteredTask{}, wrap("RegisterTaskDefinition", err)
	}
	return registeredTask(out.TaskDefinition)
}

// DescribeTaskDefinition returns one by ARN, by "family:revision", or the newest
// active one of a family.
func (c *client) DescribeTaskDefinition(ctx context.Context, name string) (cloud.RegisteredTask, error) {
	out, err := c.ecs.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: awssdk.String(name)})
	if err != nil {
		return cloud.RegisteredTask{}, wrap("DescribeTaskDefinition", err)
	}
	if out.TaskDefinition.Status != types.TaskDefinitionStatusActive {
		return cloud.RegisteredTask{}, refused("DescribeTaskDefinition", cloud.KindNotFound, "",
			fmt.Sprintf("task definition %s is %s", name, out.TaskDefinition.Status))
	}
	return registeredTask(out.TaskDefinition)
}

// registerInput asks for bridge networking with host port 0, so that several
// sessions with the same container port share a host.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html.
func registerInput(def cloud.TaskDefinition) *ecs.RegisterTaskDefinitionInput {
	container := types.ContainerDefinition{
		Name:         awssdk.String(def.ContainerName),
		Image:        awssdk.String(def.Image),
		Essential:    awssdk.Bool(true),
		Cpu:          def.Resources.CPU,
		Memory:       awssdk.Int32(def.Resources.MemoryMiB),
		Environment:  environment(def.Env),
		PortMappings: portMappings(def.Ports),
		HealthCheck:  healthCheck(def.HealthCheck),
	}
	if def.Resources.GPUs > 0 {
		container.ResourceRequirements = []types.ResourceRequirement{{
			Type: types.ResourceTypeGpu, Value: awssdk.String(strconv.Itoa(int(def.Resources.GPUs))),
		}}
	}
	if def.LogDriver != "" {
		container.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriver(def.LogDriver), Options: def.LogOptions}
	}
	return &ecs.RegisterTaskDefinitionInput{
		Family:                  awssdk.String(def.Family),
		ContainerDefinitions:    []types.ContainerDefinition{container},
		NetworkMode:             types.NetworkModeBridge,
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityEc2},
		TaskRoleArn:             optional(def.TaskRoleARN),
		ExecutionRoleArn:        optional(def.ExecutionRoleARN),
		Tags:                    ecsTags(def.Tags),
	}
}

func portMappings(ports []cloud.Port) []types.PortMapping {
	var mappings []types.PortMapping
	for _, p := range ports {
		mappings = append(mappings, types.PortMapping{
			ContainerPort: awssdk.Int32(p.ContainerPort),
			HostPort:      awssdk.Int32(0),
			Protocol:      types.TransportProtocol(cmp.Or(p.Protocol, "tcp")),
		})
	}
	return mappings
}

func healthCheck(check *cloud.HealthCheck) *types.HealthCheck {
	if check == nil {
		return nil
	}
	seconds := func(n int32) *int32 {
		if n == 0 {
			return nil // ECS's default.
		}
		return awssdk.Int32(n)
	}
	return &types.HealthCheck{
		Command:  check.Command,
		Interval: seconds(check.Interval),
		Timeout:  seconds(check.Timeout),
		Retries:  seconds(check.Retries),
	}
}

// registeredTask reads a definition, a person's own included: what a task of it
// needs is the task's size if it has one, else the sum of its containers.
func registeredTask(def *types.TaskDefinition) (cloud.RegisteredTask, error) {
	t := cloud.RegisteredTask{ARN: awssdk.ToString(def.TaskDefinitionArn)}
	for _, container := range def.ContainerDefinitions {
		essential := container.Essential == nil || *container.Essential
		if essential && t.ContainerName == "" {
			t.ContainerName = awssdk.ToString(container.Name)
		}
		t.HealthCheck = t.HealthCheck || essential && container.HealthCheck != nil
		t.Resources.CPU += container.Cpu
		t.Resources.MemoryMiB += awssdk.ToInt32(cmp.Or(container.Memory, container.MemoryReservation))
		gpus, err := requiredGPUs(container.ResourceRequirements)
		if err != nil {
			return cloud.RegisteredTask{}, fmt.Errorf("reading task definition %s: %w", t.ARN, err)
		}
		t.Resources.GPUs += gpus
		for _, p := range container.PortMappings {
			t.Ports = append(t.Ports, cloud.Port{
				ContainerPort: awssdk.ToInt32(p.ContainerPort),
				HostPort:      awssdk.ToInt32(p.HostPort),
				Protocol:      cmp.Or(string(p.Protocol), "tcp"),
			})
		}
	}
	slices.SortFunc(t.Ports, comparePorts)
	for _, size := range []struct {
		of   *string
		into *int32
	}{{def.Cpu, &t.Resources.CPU}, {def.Memory, &t.Resources.MemoryMiB}} {
		if size.of == nil {
			continue
		}
		n, err := strconv.ParseInt(*size.of, 10, 32)
		if err != nil {
			return cloud.RegisteredTask{}, fmt.Errorf("reading the size of task definition %s: %w", t.ARN, err)
		}
		*size.into = int32(n)
	}
	return t, nil
}

func requiredGPUs(requirements []types.ResourceRequirement) (int32, error) {
	var sum int32
	for _, r := range requirements {
		if r.Type != types.ResourceTypeGpu {
			continue
		}
		n, err := strconv.ParseInt(awssdk.ToString(r.Value), 10, 32)
		if err != nil {
			return 0, fmt.Errorf("reading the number of GPUs: %w", err)
		}
		sum += int32(n)
	}
	return sum, nil
}

func comparePorts(a, b cloud.Port) int {
	return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.HostPort, b.HostPort))
}
