// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/base64"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// TestObserveSeesWhatIs compares an observation with what was done through the SDK,
// at each step of a host's and a task's life.
func TestObserveSeesWhatIs(t *testing.T) {
	f := newECSFixture(t)
	f.cluster("mandelbox")
	f.define("session", func(c *types.ContainerDefinition) { c.Cpu, c.Memory = 4096, aws.Int32(4096) })
	cloud := f.ec2Client()
	launched := must(f, func() (*ec2.RunInstancesOutput, error) {
		return cloud.RunInstances(t.Context(), &ec2.RunInstancesInput{
			ImageId: aws.String(DefaultImageID), InstanceType: ec2types.InstanceTypeG4dn12xlarge, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			ClientToken: aws.String("token"), UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(joinMandelbox))),
			TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}},
		})
	}).Instances[0]
	host := func() ObservedHost { return f.server.Observe().Hosts[0] }
	if got := host(); got.ID != *launched.InstanceId || got.State != "pending" || got.ClientToken != "token" || got.Tags["k"] != "v" || got.ContainerInstanceARN != "" {
		t.Errorf("a new host is %+v", got)
	}
	d := f.server.Delays()
	f.clock.Step(d.InstancePending + d.AgentBoot)
	if got := host(); got.State != "running" || got.ContainerInstanceARN == "" || !got.AgentConnected {
		t.Errorf("a host that has booted is %+v", got)
	}
	task := f.run("session", func(in *ecs.RunTaskInput) {
		in.StartedBy = aws.String("somebody")
		onHost(&instance{id: *launched.InstanceId})(in)
	}).Tasks[0]
	f.clock.Step(d.TaskPull + d.TaskStart)
	got := f.server.Observe().Tasks[0]
	if got.ARN != *task.TaskArn || got.InstanceID != *launched.InstanceId || got.StartedBy != "somebody" || got.LastStatus != taskRunning || got.StartedAt.IsZero() {
		t.Errorf("a running task is %+v", got)
	}
	if err := f.server.ExitTask(got.Account, got.Region, got.ARN, 3, ""); err != nil {
		t.Fatal(err)
	}
	f.clock.Step(d.TaskStop)
	if got = f.server.Observe().Tasks[0]; got.LastStatus != taskStopped || got.StopCode != stopContainerExited || got.ExitCode == nil || *got.ExitCode != 3 {
		t.Errorf("a task that has ended is %+v", got)
	}
	if logged := f.server.Requests(RequestFilter{Operation: "Describe*"}); len(logged) != 0 {
		t.Errorf("%d requests were logged for looking", len(logged))
	}
}
