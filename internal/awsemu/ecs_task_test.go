package awsemu

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// newECSHost is a fixture with the cluster mandelbox, one host and one definition.
func newECSHost(t *testing.T, change func(*types.ContainerDefinition)) (*ecsFixture, *instance) {
	t.Helper()
	f := newECSFixture(t)
	f.cluster("mandelbox")
	f.define("session", change)
	return f, f.boot(joinMandelbox)
}

func TestTaskLifecycle(t *testing.T) {
	f, host := newECSHost(t, func(c *types.ContainerDefinition) {
		c.HealthCheck = &types.HealthCheck{Command: []string{"CMD", "true"}}
	})
	d := f.server.Delays()
	arn := f.runOne("session", func(in *ecs.RunTaskInput) {
		in.StartedBy = aws.String("uid/1")
		in.Tags = []types.Tag{{Key: aws.String("session"), Value: aws.String("s1")}}
	})
	first := f.expectStatus(arn, "PENDING/RUNNING")
	if first.StartedAt != nil || len(first.Containers[0].NetworkBindings) != 0 {
		t.Errorf("a pending task has startedAt %v and bindings %v", first.StartedAt, first.Containers[0].NetworkBindings)
	}
	f.clock.Step(d.TaskPull)
	f.expectStatus(arn, "PENDING/RUNNING")
	f.clock.Step(d.TaskStart / 2)
	f.expectStatus(arn, "ACTIVATING/RUNNING")
	f.clock.Step(d.TaskStart / 2)
	running := f.expectStatus(arn, "RUNNING/RUNNING")
	if running.HealthStatus != types.HealthStatusUnknown {
		t.Errorf("health %s before the check has run", running.HealthStatus)
	}
	f.clock.Step(d.HealthCheck)
	running = f.expectStatus(arn, "RUNNING/RUNNING")
	checkRunning(t, running)
	if ci := f.containerInstance(host); ci.RunningTasksCount != 1 || *running.ContainerInstanceArn != *ci.ContainerInstanceArn {
		t.Errorf("host counts %d running tasks", ci.RunningTasksCount)
	}

	stopped := must(f, func() (*ecs.StopTaskOutput, error) {
		return f.client.StopTask(f.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: &arn, Reason: aws.String("enough")})
	})
	if *stopped.Task.LastStatus != "RUNNING" || *stopped.Task.DesiredStatus != "STOPPED" {
		t.Errorf("StopTask answered %s/%s", *stopped.Task.LastStatus, *stopped.Task.DesiredStatus)
	}
	for _, want := range []string{"DEACTIVATING/STOPPED", "STOPPING/STOPPED", "DEPROVISIONING/STOPPED", "STOPPED/STOPPED"} {
		f.clock.Step(d.TaskStop / 4)
		f.expectStatus(arn, want)
	}
	end := f.task(arn)
	if end.StopCode != types.TaskStopCodeUserInitiated || *end.StoppedReason != "enough" || *end.Containers[0].ExitCode != 0 {
		t.Errorf("stopped as %s, %q, exit %d", end.StopCode, *end.StoppedReason, *end.Containers[0].ExitCode)
	}
	if end.StoppedAt == nil || end.StoppingAt == nil || end.ExecutionStoppedAt == nil {
		t.Error("a stopped task has no moments of its end")
	}
	f.clock.Step(d.StoppedTaskRetention)
	out := must(f, func() (*ecs.DescribeTasksOutput, error) {
		return f.client.DescribeTasks(f.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("mandelbox"), Tasks: []string{arn}})
	})
	if reasons(out.Failures) != "MISSING" {
		t.Errorf("an hour later DescribeTasks says %q", reasons(out.Failures))
	}
}

func checkRunning(t *testing.T, task types.Task) {
	t.Helper()
	c := task.Containers[0]
	if len(c.NetworkBindings) != 1 {
		t.Fatalf("bindings %v", c.NetworkBindings)
	}
	b := c.NetworkBindings[0]
	if *b.ContainerPort != 6080 || *b.HostPort < 32768 || *b.HostPort > 60999 || *b.BindIP != "0.0.0.0" || b.Protocol != "tcp" {
		t.Errorf("binding %d:%d %s %s", *b.HostPort, *b.ContainerPort, *b.BindIP, b.Protocol)
	}
	if c.HealthStatus != types.HealthStatusHealthy || task.HealthStatus != types.HealthStatusHealthy {
		t.Errorf("health %s/%s", c.HealthStatus, task.HealthStatus)
	}
	if !task.StartedAt.Equal(ecsStart.Add(8*time.Second + 3*time.Second + 300*time.Millisecond)) {
		t.Errorf("started at %s", task.StartedAt)
	}
	if *task.StartedBy != "uid/1" || *task.Group != "family:session" || task.LaunchType != "EC2" ||
		task.Connectivity != types.ConnectivityConnected || *task.Tags[0].Value != "s1" {
		t.Errorf("task %+v", task)
	}
}

func TestSecondStartOfAnImageIsFast(t *testing.T) {
	f, _ := newECSHost(t, nil)
	d := f.server.Delays()
	slow := f.runOne("session", nil)
	f.clock.Step(d.TaskPull / 2)
	// It waits for the pull that is on its way.
	joins := f.runOne("session", nil)
	f.clock.Step(d.TaskPull/2 + d.TaskStart)
	f.expectStatus(slow, "RUNNING/RUNNING")
	f.expectStatus(joins, "RUNNING/RUNNING")
	warm := f.runOne("session", nil)
	f.clock.Step(d.TaskStart)
	second := f.expectStatus(warm, "RUNNING/RUNNING")
	ports := map[int32]struct{}{}
	for _, task := range []types.Task{f.task(slow), f.task(joins), second} {
		ports[*task.Containers[0].NetworkBindings[0].HostPort] = struct{}{}
	}
	if len(ports) != 3 {
		t.Errorf("three tasks share ports: %v", ports)
	}
}

func TestContainerBehaviour(t *testing.T) {
	tests := map[string]struct {
		change   func(*ecs.RunTaskInput)
		stop     bool
		after    time.Duration
		stopCode types.TaskStopCode
		reason   string // the container's
		exit     *int32
	}{
		"exits by itself": {
			change: env("MANDELBOX_EMU_EXIT_AFTER", "5s", "MANDELBOX_EMU_EXIT_CODE", "3"), after: 5 * time.Second,
			stopCode: types.TaskStopCodeEssentialContainerExited, exit: aws.Int32(3),
		},
		"command that ends": {
			change: func(in *ecs.RunTaskInput) {
				in.Overrides = &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{
					Name: aws.String("main"), Command: []string{"sh", "-c", "sleep 2; exit 7"},
				}}}
			},
			after: 2 * time.Second, stopCode: types.TaskStopCodeEssentialContainerExited, exit: aws.Int32(7),
		},
		"no image": {
			change:   env("MANDELBOX_EMU_FAIL_PULL", "1"),
			stopCode: types.TaskStopCodeTaskFailedToStart, reason: "CannotPullContainerError",
		},
		"no start": {
			change:   env("MANDELBOX_EMU_FAIL_START", "1"),
			stopCode: types.TaskStopCodeTaskFailedToStart, reason: "CannotStartContainerError",
		},
		"killed when it won't stop": {
			change: env("MANDELBOX_EMU_IGNORE_SIGTERM", "1"), stop: true, after: defaultStopTimeout,
			stopCode: types.TaskStopCodeUserInitiated, exit: aws.Int32(137),
		},
		"stops with its own code": {
			change: env("MANDELBOX_EMU_STOP_EXIT_CODE", "143"), stop: true,
			stopCode: types.TaskStopCodeUserInitiated, exit: aws.Int32(143),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f, host := newECSHost(t, nil)
			d := f.server.Delays()
			arn := f.runOne("session", tc.change)
			f.clock.Step(d.TaskPull + d.TaskStart)
			if tc.stop {
				must(f, func() (*ecs.StopTaskOutput, error) {
					return f.client.StopTask(f.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: &arn})
				})
			}
			f.clock.Step(tc.after + d.TaskStop)
			task := f.expectStatus(arn, "STOPPED/STOPPED")
			c := task.Containers[0]
			if task.StopCode != tc.stopCode {
				t.Errorf("stop code %s, want %s", task.StopCode, tc.stopCode)
			}
			if (c.ExitCode == nil) != (tc.exit == nil) || (tc.exit != nil && *c.ExitCode != *tc.exit) {
				t.Errorf("exit code %v, want %v", c.ExitCode, tc.exit)
			}
			if got := aws.ToString(c.Reason); (tc.reason == "") != (got == "") || len(got) < len(tc.reason) || got[:len(tc.reason)] != tc.reason {
				t.Errorf("container's reason %q, want %q", got, tc.reason)
			}
			if ci := f.containerInstance(host); resource(ci.RemainingResources, "CPU").IntegerValue != 4096 {
				t.Error("the host's CPU isn't free again")
			}
		})
	}
}

func TestCrash(t *testing.T) {
	f, _ := newECSHost(t, nil)
	d := f.server.Delays()
	arn := f.runOne("session", nil)
	if err := f.server.CrashTask(DefaultAccount, "us-east-1", arn); err == nil {
		t.Error("a task that doesn't run crashed")
	}
	f.clock.Step(d.TaskPull + d.TaskStart)
	if err := f.server.CrashTask(DefaultAccount, "us-east-1", arn); err != nil {
		t.Fatal(err)
	}
	f.expectStatus(arn, "DEPROVISIONING/STOPPED")
	f.clock.Step(d.TaskStop)
	task := f.expectStatus(arn, "STOPPED/STOPPED")
	if *task.Containers[0].ExitCode != 139 || *task.StoppedReason != "Essential container in task exited" {
		t.Errorf("exit %d, %q", *task.Containers[0].ExitCode, *task.StoppedReason)
	}
}

func TestHostLoss(t *testing.T) {
	f, host := newECSHost(t, nil)
	d := f.server.Delays()
	arn := f.runOne("session", nil)
	f.clock.Step(d.TaskPull + d.TaskStart)
	f.in(func(r *region) {
		host.state = stateShuttingDown
		r.hostTerminated(host)
	})
	if hosts := f.listHosts("ec2InstanceId == " + host.id); len(hosts) != 0 {
		t.Errorf("a terminated host is still registered: %v", hosts)
	}
	f.clock.Step(d.TaskStop)
	task := f.expectStatus(arn, "STOPPED/STOPPED")
	if task.StopCode != types.TaskStopCodeTerminationNotice || *task.StoppedReason != "Host EC2 (instance "+host.id+") terminated." {
		t.Errorf("stopped as %s, %q", task.StopCode, *task.StoppedReason)
	}
	if task.Containers[0].ExitCode != nil {
		t.Errorf("a lost container has exit code %d", *task.Containers[0].ExitCode)
	}
}

func TestDisconnectedAgent(t *testing.T) {
	f, host := newECSHost(t, nil)
	d := f.server.Delays()
	arn := f.runOne("session", nil)
	f.clock.Step(d.TaskPull + d.TaskStart)
	if err := f.server.DisconnectAgent(DefaultAccount, "us-east-1", host.id); err != nil {
		t.Fatal(err)
	}
	if got := reasons(f.run("session", nil).Failures); got != "AGENT" {
		t.Errorf("RunTask failed with %q", got)
	}
	must(f, func() (*ecs.StopTaskOutput, error) {
		return f.client.StopTask(f.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: &arn})
	})
	f.clock.Step(d.TaskStop)
	task := f.expectStatus(arn, "RUNNING/STOPPED")
	if task.Connectivity != types.ConnectivityDisconnected {
		t.Errorf("connectivity %s", task.Connectivity)
	}
	if err := f.server.ReconnectAgent(DefaultAccount, "us-east-1", host.id); err != nil {
		t.Fatal(err)
	}
	f.clock.Step(d.TaskStop)
	f.expectStatus(arn, "STOPPED/STOPPED")

	// A host that goes while nobody hears of it stays registered until it is deregistered.
	arn = f.runOne("session", nil)
	f.clock.Step(d.TaskStart)
	f.in(func(r *region) {
		r.disconnectAgent(r.ecs.agents[host.id])
		host.state = stateTerminated
		r.hostTerminated(host)
	})
	f.clock.Step(time.Minute)
	ci := f.containerInstance(host)
	if *ci.Status != "ACTIVE" || ci.AgentConnected {
		t.Errorf("status %s, connected %v", *ci.Status, ci.AgentConnected)
	}
	deregister := &ecs.DeregisterContainerInstanceInput{Cluster: aws.String("mandelbox"), ContainerInstance: ci.ContainerInstanceArn}
	if _, err := f.client.DeregisterContainerInstance(f.Context(), deregister); errorCode(t, err) != "InvalidParameterException" {
		t.Error(err)
	}
	deregister.Force = aws.Bool(true)
	gone := must(f, func() (*ecs.DeregisterContainerInstanceOutput, error) {
		return f.client.DeregisterContainerInstance(f.Context(), deregister)
	})
	if *gone.ContainerInstance.Status != "INACTIVE" {
		t.Errorf("status %s", *gone.ContainerInstance.Status)
	}
	f.expectStatus(arn, "STOPPED/STOPPED")
}
