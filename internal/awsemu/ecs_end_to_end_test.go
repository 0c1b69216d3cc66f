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

// ec2Client talks to the fixture's server.
func (f *ecsFixture) ec2Client() *ec2.Client {
	o := f.client.Options()
	return ec2.New(ec2.Options{Region: o.Region, BaseEndpoint: o.BaseEndpoint, Retryer: o.Retryer, HTTPClient: o.HTTPClient, Credentials: o.Credentials})
}

// TestFromInstanceToTask follows a host from RunInstances to its end, and a task
// on it, by what the two services answer.
func TestFromInstanceToTask(t *testing.T) {
	f := newECSFixture(t)
	f.cluster("mandelbox")
	f.define("session", func(c *types.ContainerDefinition) { c.Cpu, c.Memory = 4096, aws.Int32(4096) })
	cloud := f.ec2Client()
	images := must(f, func() (*ec2.DescribeImagesOutput, error) {
		return cloud.DescribeImages(t.Context(), &ec2.DescribeImagesInput{})
	}).Images
	launched := must(f, func() (*ec2.RunInstancesOutput, error) {
		return cloud.RunInstances(t.Context(), &ec2.RunInstancesInput{
			ImageId: images[0].ImageId, InstanceType: ec2types.InstanceTypeG4dn12xlarge, MinCount: aws.Int32(2), MaxCount: aws.Int32(2),
			UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(joinMandelbox))),
		})
	}).Instances
	d := f.server.Delays()
	f.clock.Step(d.InstancePending)
	if got := f.listHosts(""); len(got) != 0 {
		t.Fatalf("%d agents have registered before they could boot", len(got))
	}
	f.clock.Step(d.AgentBoot)
	host := &instance{id: *launched[0].InstanceId}
	ci := f.containerInstance(host)
	if resource(ci.RegisteredResources, "CPU").IntegerValue != 48*1024 || len(resource(ci.RegisteredResources, "GPU").StringSetValue) != 4 {
		t.Errorf("registered %v", ci.RegisteredResources)
	}
	arns := map[string]struct{}{}
	out := f.run("session", func(in *ecs.RunTaskInput) {
		in.Count = aws.Int32(10)
		onHost(host)(in)
	})
	for _, task := range out.Tasks {
		arns[*task.TaskArn] = struct{}{}
	}
	f.clock.Step(d.TaskPull + d.TaskStart)
	if got := f.containerInstance(host).RunningTasksCount; got != 10 || len(arns) != 10 {
		t.Errorf("%d of %d tasks run", got, len(arns))
	}
	must(f, func() (*ec2.TerminateInstancesOutput, error) {
		return cloud.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{host.id}})
	})
	f.clock.Step(d.InstanceShuttingDown)
	if got := f.listHosts(""); len(got) != 1 {
		t.Errorf("%d hosts are registered after one of two is gone", len(got))
	}
	stopped := f.listTasks(func(in *ecs.ListTasksInput) { in.DesiredStatus = types.DesiredStatusStopped })
	if len(stopped) != 10 {
		t.Errorf("%d tasks have stopped", len(stopped))
	}
}

// TestLostAnswer has RunTask take effect while its answer is lost: the token
// makes the second try harmless.
func TestLostAnswer(t *testing.T) {
	f, _ := newECSHost(t, nil)
	if _, err := f.server.AddFault(Fault{Service: "ecs", Operation: "RunTask", Phase: PhaseAfter, Action: ActionDrop, Count: 1}); err != nil {
		t.Fatal(err)
	}
	in := runInput("session", func(in *ecs.RunTaskInput) { in.ClientToken = aws.String("token") })
	if _, err := f.client.RunTask(t.Context(), in); err == nil {
		t.Fatal("the answer wasn't lost")
	}
	lost := f.listTasks(nil)
	again := must(f, func() (*ecs.RunTaskOutput, error) { return f.client.RunTask(t.Context(), in) })
	if len(lost) != 1 || *again.Tasks[0].TaskArn != lost[0] {
		t.Errorf("lost %v, then got %s", lost, *again.Tasks[0].TaskArn)
	}
}

// TestThrottledReads empties the bucket that reads of tasks and hosts share.
func TestThrottledReads(t *testing.T) {
	f, _ := newECSHost(t, nil)
	f.server.SetLimits(Limits{Enabled: true})
	for range 50 {
		f.listTasks(nil)
		f.listHosts("")
	}
	_, err := f.client.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("mandelbox")})
	if errorCode(t, err) != "ThrottlingException" {
		t.Error(err)
	}
	f.runOne("session", nil) // another bucket
}
