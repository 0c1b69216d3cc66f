package awsemu

import (
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestAgentRegistration(t *testing.T) {
	f := newECSFixture(t)
	f.cluster("mandelbox")
	i := f.boot("#!/bin/bash\ncat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER=mandelbox\n" +
		"ECS_INSTANCE_ATTRIBUTES={\"mandelbox.dev/region\":\"r1\"}\n" +
		"ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM=ec2_instance\nEOF\n")
	ci := f.containerInstance(i)
	if *ci.Status != "ACTIVE" || !ci.AgentConnected || *ci.Ec2InstanceId != i.id || *ci.VersionInfo.AgentVersion == "" {
		t.Errorf("registered as %+v", ci)
	}
	if got := resource(ci.RegisteredResources, "CPU").IntegerValue; got != 4096 {
		t.Errorf("CPU %d", got)
	}
	if got := resource(ci.RemainingResources, "MEMORY").IntegerValue; got != 16384-16384/20 {
		t.Errorf("memory %d", got)
	}
	if got := resource(ci.RegisteredResources, "GPU").StringSetValue; len(got) != 1 {
		t.Errorf("GPUs %v", got)
	}
	if got := resource(ci.RegisteredResources, "PORTS").StringSetValue; !slices.Contains(got, "22") {
		t.Errorf("ports %v", got)
	}
	attributes := map[string]string{}
	for _, a := range ci.Attributes {
		attributes[*a.Name] = aws.ToString(a.Value)
	}
	for name, want := range map[string]string{
		"ecs.instance-type": "g4dn.xlarge", "ecs.availability-zone": "us-east-1a", "ecs.ami-id": "ami-1",
		"mandelbox.dev/region": "r1", "ecs.capability.container-health-check": "",
	} {
		if got, there := attributes[name]; !there || got != want {
			t.Errorf("attribute %s is %q of %v", name, got, slices.Sorted(maps.Keys(attributes)))
		}
	}
	if len(ci.Tags) != 1 || *ci.Tags[0].Key != "team" {
		t.Errorf("tags %v", ci.Tags)
	}
}

func TestAgentThatNeverRegisters(t *testing.T) {
	f := newECSFixture(t)
	f.cluster("mandelbox")
	f.boot("ECS_CLUSTER=nowhere\n")
	f.boot("ECS_CLUSTER=mandelbox\nECS_INSTANCE_ATTRIBUTES={nonsense}\n")
	f.boot("") // the cluster "default" doesn't exist
	gone := &instance{id: "i-gone", state: stateRunning, userData: joinMandelbox}
	f.in(func(r *region) {
		r.hostBooted(gone)
		gone.state = stateShuttingDown
		r.hostTerminated(gone)
	})
	f.clock.Step(f.server.Delays().AgentBoot)
	out := must(f, func() (*ecs.ListContainerInstancesOutput, error) {
		return f.client.ListContainerInstances(t.Context(), &ecs.ListContainerInstancesInput{Cluster: aws.String("mandelbox")})
	})
	if len(out.ContainerInstanceArns) != 0 {
		t.Errorf("%d have registered", len(out.ContainerInstanceArns))
	}
}

func TestHostStoppedAndStartedAgain(t *testing.T) {
	f, i := newECSHost(t, nil)
	arn := f.runOne("session", nil)
	f.clock.Step(f.server.Delays().TaskPull + f.server.Delays().TaskStart)
	f.in(func(r *region) {
		i.state = stateStopped
		i.generation++
		r.hostStopped(i)
	})
	f.clock.Step(f.server.Delays().TaskStop)
	if task := f.expectStatus(arn, "STOPPED/STOPPED"); *task.StoppedReason != "Host EC2 (instance "+i.id+") stopped." {
		t.Errorf("reason %q", *task.StoppedReason)
	}
	before := f.containerInstance(i)
	if before.AgentConnected || *before.Status != "ACTIVE" {
		t.Errorf("a stopped host is %s, connected %v", *before.Status, before.AgentConnected)
	}
	f.in(func(r *region) {
		i.state = stateRunning
		r.hostBooted(i)
	})
	f.clock.Step(f.server.Delays().AgentBoot)
	after := f.containerInstance(i)
	if !after.AgentConnected || *after.ContainerInstanceArn != *before.ContainerInstanceArn {
		t.Errorf("started again it is %s, connected %v", *after.ContainerInstanceArn, after.AgentConnected)
	}
}

func TestContainerInstanceFilters(t *testing.T) {
	f, first := newECSHost(t, nil)
	second := f.boot(joinMandelbox)
	f.runOne("session", onHost(second))
	f.clock.Step(f.server.Delays().TaskPull + f.server.Delays().TaskStart)
	for expression, want := range map[string][]*instance{
		"":                              {first, second},
		"runningTasksCount == 0":        {first},
		"task:group == family:session":  {second},
		"not task:group == family:none": {first, second},
		"agentConnected == true and ec2InstanceId != " + first.id: {second},
	} {
		var arns []string
		for _, i := range want {
			arns = append(arns, *f.containerInstance(i).ContainerInstanceArn)
		}
		if got := f.listHosts(expression); !slices.Equal(got, arns) {
			t.Errorf("%q lists %v, want %v", expression, got, arns)
		}
	}
	_, err := f.client.ListContainerInstances(t.Context(), &ecs.ListContainerInstancesInput{
		Cluster: aws.String("mandelbox"), Filter: aws.String("nonsense == 1"),
	})
	if errorCode(t, err) != "InvalidParameterException" {
		t.Error(err)
	}
	draining := must(f, func() (*ecs.ListContainerInstancesOutput, error) {
		return f.client.ListContainerInstances(t.Context(), &ecs.ListContainerInstancesInput{
			Cluster: aws.String("mandelbox"), Status: types.ContainerInstanceStatusDraining, MaxResults: aws.Int32(1),
		})
	})
	if len(draining.ContainerInstanceArns) != 0 || draining.NextToken != nil {
		t.Errorf("draining: %v", draining.ContainerInstanceArns)
	}
}

func TestRegisterContainerInstance(t *testing.T) {
	f := newECSFixture(t)
	f.cluster("mandelbox")
	out := must(f, func() (*ecs.RegisterContainerInstanceOutput, error) {
		return f.client.RegisterContainerInstance(t.Context(), &ecs.RegisterContainerInstanceInput{
			Cluster:                  aws.String("mandelbox"),
			InstanceIdentityDocument: aws.String(`{"instanceId":"i-manual","availabilityZone":"us-east-1c"}`),
			Attributes:               []types.Attribute{{Name: aws.String("rack"), Value: aws.String("7")}},
			TotalResources: []types.Resource{
				{Name: aws.String("CPU"), Type: aws.String("INTEGER"), IntegerValue: 1024},
				{Name: aws.String("MEMORY"), Type: aws.String("INTEGER"), IntegerValue: 4096},
				{Name: aws.String("PORTS_UDP"), Type: aws.String("STRINGSET"), StringSetValue: []string{"53"}},
			},
		})
	})
	if *out.ContainerInstance.Ec2InstanceId != "i-manual" || resource(out.ContainerInstance.RemainingResources, "CPU").IntegerValue != 1024 {
		t.Errorf("registered %+v", out.ContainerInstance)
	}
	f.define("session", nil)
	task := f.run("session", func(in *ecs.RunTaskInput) {
		in.PlacementConstraints = []types.PlacementConstraint{{
			Type: types.PlacementConstraintTypeMemberOf, Expression: aws.String("attribute:rack == 7"),
		}}
	}).Tasks[0]
	if *task.AvailabilityZone != "us-east-1c" {
		t.Errorf("zone %s", *task.AvailabilityZone)
	}
	must(f, func() (*ecs.StopTaskOutput, error) {
		return f.client.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: task.TaskArn})
	})
	f.clock.Step(f.server.Delays().TaskStop)
	must(f, func() (*ecs.DeregisterContainerInstanceOutput, error) {
		return f.client.DeregisterContainerInstance(t.Context(), &ecs.DeregisterContainerInstanceInput{
			Cluster: aws.String("mandelbox"), ContainerInstance: out.ContainerInstance.ContainerInstanceArn,
		})
	})
	_, err := f.client.DeregisterContainerInstance(t.Context(), &ecs.DeregisterContainerInstanceInput{
		Cluster: aws.String("mandelbox"), ContainerInstance: out.ContainerInstance.ContainerInstanceArn,
	})
	if errorCode(t, err) != "InvalidParameterException" {
		t.Error(err)
	}
}
