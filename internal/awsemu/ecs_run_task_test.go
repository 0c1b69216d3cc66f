package awsemu

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func resource(list []types.Resource, name string) types.Resource {
	i := slices.IndexFunc(list, func(r types.Resource) bool { return *r.Name == name })
	if i < 0 {
		return types.Resource{}
	}
	return list[i]
}

// onHost places a task on one EC2 instance.
func onHost(i *instance) func(*ecs.RunTaskInput) {
	return func(in *ecs.RunTaskInput) {
		in.PlacementConstraints = []types.PlacementConstraint{{
			Type: types.PlacementConstraintTypeMemberOf, Expression: aws.String("ec2InstanceId == " + i.id),
		}}
	}
}

func TestRunTaskOnOneHost(t *testing.T) {
	f, first := newECSHost(t, nil)
	second := f.boot(joinMandelbox)
	f.define("other", nil)
	for _, host := range []*instance{second, first, second, second, second} {
		arn := f.runOne("session", onHost(host))
		if got, want := f.task(arn).ContainerInstanceArn, f.containerInstance(host).ContainerInstanceArn; *got != *want {
			t.Fatalf("placed on %s, want %s", *got, *want)
		}
	}
	full := f.run("session", onHost(second))
	if len(full.Tasks) != 0 || reasons(full.Failures) != "RESOURCE:CPU" || *full.Failures[0].Arn != *f.containerInstance(second).ContainerInstanceArn {
		t.Errorf("a full host: %d tasks, %q", len(full.Tasks), reasons(full.Failures))
	}
	nowhere := f.run("session", onHost(&instance{id: "i-0"}))
	if reasons(nowhere.Failures) != "MemberOf placement constraint unsatisfied." {
		t.Errorf("no such host: %q", reasons(nowhere.Failures))
	}
	// Three of the ten copies find room.
	part := f.run("session", func(in *ecs.RunTaskInput) { in.Count = aws.Int32(10) })
	if len(part.Tasks) != 3 || len(part.Failures) == 0 {
		t.Errorf("%d tasks, failures %q", len(part.Tasks), reasons(part.Failures))
	}
}

func TestRunTaskShortages(t *testing.T) {
	tests := map[string]struct {
		change func(*types.ContainerDefinition)
		fits   int
		want   string
	}{
		"cpu":    {func(c *types.ContainerDefinition) { c.Cpu = 2048 }, 2, "RESOURCE:CPU"},
		"memory": {func(c *types.ContainerDefinition) { c.Cpu, c.Memory = 0, aws.Int32(8000) }, 1, "RESOURCE:MEMORY"},
		"reservation before limit": {func(c *types.ContainerDefinition) {
			c.Cpu, c.Memory, c.MemoryReservation = 0, aws.Int32(15000), aws.Int32(5000)
		}, 3, "RESOURCE:MEMORY"},
		"gpu": {func(c *types.ContainerDefinition) {
			c.ResourceRequirements = []types.ResourceRequirement{{Type: types.ResourceTypeGpu, Value: aws.String("1")}}
		}, 1, "RESOURCE:GPU"},
		"fixed port": {func(c *types.ContainerDefinition) {
			c.PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(80), HostPort: aws.Int32(8080)}}
		}, 1, "RESOURCE:PORTS"},
		"port of the agent": {func(c *types.ContainerDefinition) {
			c.PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(80), HostPort: aws.Int32(51678)}}
		}, 0, "RESOURCE:PORTS"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f, host := newECSHost(t, tc.change)
			before := f.containerInstance(host)
			var arns []string
			for range tc.fits {
				arns = append(arns, f.runOne("session", nil))
			}
			if got := reasons(f.run("session", nil).Failures); got != tc.want {
				t.Errorf("failures %q, want %q", got, tc.want)
			}
			if name == "gpu" {
				checkGPU(t, f, before, arns[0])
			}
			for _, arn := range arns {
				must(f, func() (*ecs.StopTaskOutput, error) {
					return f.client.StopTask(f.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: &arn})
				})
			}
			f.clock.Step(time.Minute)
			for _, name := range []string{"CPU", "MEMORY", "GPU", "PORTS"} {
				was, is := resource(before.RemainingResources, name), resource(f.containerInstance(host).RemainingResources, name)
				if was.IntegerValue != is.IntegerValue || !slices.Equal(was.StringSetValue, is.StringSetValue) {
					t.Errorf("%s was %+v, is %+v after all have stopped", name, was, is)
				}
			}
		})
	}
}

// checkGPU sees that a GPU belongs to one container while it runs.
func checkGPU(t *testing.T, f *ecsFixture, host types.ContainerInstance, arn string) {
	t.Helper()
	ids := f.task(arn).Containers[0].GpuIds
	if all := resource(host.RegisteredResources, "GPU").StringSetValue; len(ids) != 1 || !slices.Equal(ids, all) {
		t.Errorf("the container has %v of %v", ids, all)
	}
}

func TestRunTaskClientToken(t *testing.T) {
	f, _ := newECSHost(t, nil)
	with := func(change func(*ecs.RunTaskInput)) func(*ecs.RunTaskInput) {
		return func(in *ecs.RunTaskInput) {
			in.ClientToken = aws.String("token")
			if change != nil {
				change(in)
			}
		}
	}
	arn := f.runOne("session", with(nil))
	f.clock.Step(time.Hour)
	if again := f.runOne("session", with(nil)); again != arn {
		t.Errorf("the same request made %s after %s", again, arn)
	}
	_, err := f.client.RunTask(f.Context(), runInput("session", with(func(in *ecs.RunTaskInput) { in.StartedBy = aws.String("other") })))
	var conflict *types.ConflictException
	if !errors.As(err, &conflict) || !slices.Equal(conflict.ResourceIds, []string{arn}) {
		t.Errorf("another request under the token: %v", err)
	}
	if all := f.listTasks(nil); len(all) != 1 {
		t.Errorf("%d tasks", len(all))
	}
	// In another cluster the token is another token.
	f.cluster("second")
	f.boot("ECS_CLUSTER=second\n")
	f.runOne("session", with(func(in *ecs.RunTaskInput) { in.Cluster = aws.String("second") }))

	must(f, func() (*ecs.StopTaskOutput, error) {
		return f.client.StopTask(f.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: &arn})
	})
	f.clock.Step(f.server.Delays().TaskStop)
	if again := f.runOne("session", with(nil)); again != arn {
		t.Error("the token was forgotten as soon as its task had stopped")
	}
	f.clock.Step(tokenAfterTaskEnd)
	fresh := f.runOne("session", with(nil))
	if fresh == arn {
		t.Error("the token still stands for a task that ended a while ago")
	}
	f.clock.Step(tokenLifetime)
	if f.runOne("session", with(nil)) == fresh {
		t.Error("the token outlived its day")
	}
}

func TestRunTaskRefusals(t *testing.T) {
	tests := map[string]struct {
		change func(*ecs.RunTaskInput)
		want   string
	}{
		"no such cluster":     {func(in *ecs.RunTaskInput) { in.Cluster = aws.String("nope") }, "ClusterNotFoundException"},
		"no such definition":  {func(in *ecs.RunTaskInput) { in.TaskDefinition = aws.String("nope") }, "ClientException"},
		"too many copies":     {func(in *ecs.RunTaskInput) { in.Count = aws.Int32(11) }, "InvalidParameterException"},
		"long token":          {func(in *ecs.RunTaskInput) { in.ClientToken = aws.String(strings.Repeat("x", 65)) }, "InvalidParameterException"},
		"bad startedBy":       {func(in *ecs.RunTaskInput) { in.StartedBy = aws.String("a b") }, "InvalidParameterException"},
		"long overrides":      {env("A", strings.Repeat("x", 8192)), "InvalidParameterException"},
		"unreadable behavior": {env("MANDELBOX_EMU_EXIT_AFTER", "soon"), "ClientException"},
		"override of another container": {func(in *ecs.RunTaskInput) {
			in.Overrides = &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("nope")}}}
		}, "InvalidParameterException"},
		"bad expression": {func(in *ecs.RunTaskInput) {
			in.PlacementConstraints = []types.PlacementConstraint{{Type: types.PlacementConstraintTypeMemberOf, Expression: aws.String("a ==")}}
		}, "InvalidParameterException"},
		"Fargate": {func(in *ecs.RunTaskInput) { in.LaunchType = types.LaunchTypeFargate }, "PlatformUnknownException"},
	}
	f, _ := newECSHost(t, nil)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := f.client.RunTask(t.Context(), runInput("session", tc.change))
			if got := errorCode(t, err); got != tc.want {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
	f.cluster("empty")
	_, err := f.client.RunTask(f.Context(), runInput("session", func(in *ecs.RunTaskInput) { in.Cluster = aws.String("empty") }))
	if errorCode(t, err) != "InvalidParameterException" {
		t.Errorf("a cluster without hosts: %v", err)
	}
}

func TestDrainingHost(t *testing.T) {
	f, host := newECSHost(t, nil)
	arn := f.runOne("session", nil)
	f.clock.Step(time.Minute)
	out := must(f, func() (*ecs.UpdateContainerInstancesStateOutput, error) {
		return f.client.UpdateContainerInstancesState(f.Context(), &ecs.UpdateContainerInstancesStateInput{
			Cluster: aws.String("mandelbox"), Status: types.ContainerInstanceStatusDraining,
			ContainerInstances: []string{*f.containerInstance(host).ContainerInstanceArn, "0123"},
		})
	})
	if len(out.ContainerInstances) != 1 || *out.ContainerInstances[0].Status != "DRAINING" || reasons(out.Failures) != "MISSING" {
		t.Errorf("%d updated, failures %q", len(out.ContainerInstances), reasons(out.Failures))
	}
	if got := reasons(f.run("session", nil).Failures); got != "INACTIVE" {
		t.Errorf("RunTask on a draining host failed with %q", got)
	}
	f.expectStatus(arn, "RUNNING/RUNNING")
	must(f, func() (*ecs.UpdateContainerInstancesStateOutput, error) {
		return f.client.UpdateContainerInstancesState(f.Context(), &ecs.UpdateContainerInstancesStateInput{
			Cluster: aws.String("mandelbox"), Status: types.ContainerInstanceStatusActive,
			ContainerInstances: []string{*f.containerInstance(host).ContainerInstanceArn},
		})
	})
	f.runOne("session", nil)
}

func TestPlacementStrategies(t *testing.T) {
	f, first := newECSHost(t, nil)
	second := f.boot(joinMandelbox)
	f.runOne("session", onHost(second))
	strategy := func(kind types.PlacementStrategyType, field string) func(*ecs.RunTaskInput) {
		return func(in *ecs.RunTaskInput) {
			in.PlacementStrategy = []types.PlacementStrategy{{Type: kind, Field: &field}}
		}
	}
	hostOf := func(arn string) string { return *f.task(arn).ContainerInstanceArn }
	if got := hostOf(f.runOne("session", strategy(types.PlacementStrategyTypeBinpack, "cpu"))); got != *f.containerInstance(second).ContainerInstanceArn {
		t.Errorf("binpack placed on %s", got)
	}
	if got := hostOf(f.runOne("session", strategy(types.PlacementStrategyTypeSpread, "instanceId"))); got != *f.containerInstance(first).ContainerInstanceArn {
		t.Errorf("spread placed on %s", got)
	}
	distinct := f.run("session", func(in *ecs.RunTaskInput) {
		in.PlacementConstraints = []types.PlacementConstraint{{Type: types.PlacementConstraintTypeDistinctInstance}}
	})
	if !strings.HasPrefix(reasons(distinct.Failures), "DistinctInstance") {
		t.Errorf("distinctInstance: %q", reasons(distinct.Failures))
	}
}
