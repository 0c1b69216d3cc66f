package awsemu

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	testingclock "k8s.io/utils/clock/testing"
)

// ecsFixture is a server on a fake clock and the real SDK client that talks to
// it over HTTP.
type ecsFixture struct {
	*testing.T
	clock  *testingclock.FakeClock
	server *Server
	client *ecs.Client
	region *region
	hosts  int
}

var ecsStart = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newECSFixture(t *testing.T) *ecsFixture {
	t.Helper()
	clk := testingclock.NewFakeClock(ecsStart)
	s := New(Options{Clock: clk, Seed: 1})
	listener := httptest.NewServer(s)
	t.Cleanup(func() {
		listener.Close()
		s.Close()
	})
	client := ecs.New(ecs.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(listener.URL),
		Retryer:      aws.NopRetryer{},
		HTTPClient:   steadyClient{},
		Credentials:  ecsKey("test"),
	})
	return &ecsFixture{T: t, clock: clk, server: s, client: client, region: s.region(scope{DefaultAccount, "us-east-1"})}
}

// ecsKey are credentials with one access key id.
func ecsKey(id string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: "test"}, nil
	})
}

// in runs f with the region locked, as the other half of the package would.
func (f *ecsFixture) in(do func(r *region)) {
	f.region.lock()
	defer f.region.unlock()
	do(f.region)
}

func (f *ecsFixture) cluster(name string) {
	f.Helper()
	must(f, func() (*ecs.CreateClusterOutput, error) {
		return f.client.CreateCluster(f.Context(), &ecs.CreateClusterInput{ClusterName: &name})
	})
}

// boot has a g4dn.xlarge run and its agent register.
func (f *ecsFixture) boot(userData string) *instance {
	f.Helper()
	f.hosts++
	i := &instance{
		id: fmt.Sprintf("i-%017d", f.hosts), imageID: "ami-1", zone: "us-east-1a", subnetID: "subnet-1",
		typ:   instanceType{name: "g4dn.xlarge", vcpus: 4, memoryMiB: 16384, gpus: 1},
		state: stateRunning, userData: userData, tags: map[string]string{"team": "a"},
	}
	f.in(func(r *region) { r.hostBooted(i) })
	f.clock.Step(f.server.Delays().AgentBoot)
	return i
}

const joinMandelbox = "#!/bin/bash\necho ECS_CLUSTER=mandelbox >> /etc/ecs/ecs.config\n"

// define registers a task definition of one container with a port, changed as asked.
func (f *ecsFixture) define(family string, change func(*types.ContainerDefinition)) {
	f.Helper()
	c := types.ContainerDefinition{
		Name: aws.String("main"), Image: aws.String("example/" + family), Cpu: 1024, Memory: aws.Int32(2048),
		PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(6080)}},
	}
	if change != nil {
		change(&c)
	}
	must(f, func() (*ecs.RegisterTaskDefinitionOutput, error) {
		return f.client.RegisterTaskDefinition(f.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: &family, ContainerDefinitions: []types.ContainerDefinition{c},
		})
	})
}

// run calls RunTask on the cluster mandelbox.
func (f *ecsFixture) run(family string, change func(*ecs.RunTaskInput)) *ecs.RunTaskOutput {
	f.Helper()
	return must(f, func() (*ecs.RunTaskOutput, error) { return f.client.RunTask(f.Context(), runInput(family, change)) })
}

func runInput(family string, change func(*ecs.RunTaskInput)) *ecs.RunTaskInput {
	in := &ecs.RunTaskInput{Cluster: aws.String("mandelbox"), TaskDefinition: &family}
	if change != nil {
		change(in)
	}
	return in
}

// runOne runs one task and returns its ARN.
func (f *ecsFixture) runOne(family string, change func(*ecs.RunTaskInput)) string {
	f.Helper()
	out := f.run(family, change)
	if len(out.Tasks) != 1 {
		f.Fatalf("RunTask placed %d tasks, failures %v", len(out.Tasks), reasons(out.Failures))
	}
	return *out.Tasks[0].TaskArn
}

func (f *ecsFixture) task(arn string) types.Task {
	f.Helper()
	out := must(f, func() (*ecs.DescribeTasksOutput, error) {
		return f.client.DescribeTasks(f.Context(), &ecs.DescribeTasksInput{
			Cluster: aws.String("mandelbox"), Tasks: []string{arn}, Include: []types.TaskField{types.TaskFieldTags},
		})
	})
	if len(out.Tasks) != 1 {
		f.Fatalf("DescribeTasks found %d tasks, failures %v", len(out.Tasks), reasons(out.Failures))
	}
	return out.Tasks[0]
}

// expectStatus compares a task's last and desired status, as "RUNNING/RUNNING".
func (f *ecsFixture) expectStatus(arn, want string) types.Task {
	f.Helper()
	t := f.task(arn)
	if got := *t.LastStatus + "/" + *t.DesiredStatus; got != want {
		f.Fatalf("status %s, want %s", got, want)
	}
	return t
}

func (f *ecsFixture) containerInstance(i *instance) types.ContainerInstance {
	f.Helper()
	arns := f.listHosts("ec2InstanceId == " + i.id)
	if len(arns) != 1 {
		f.Fatalf("%s has %d container instances", i.id, len(arns))
	}
	out := must(f, func() (*ecs.DescribeContainerInstancesOutput, error) {
		return f.client.DescribeContainerInstances(f.Context(), &ecs.DescribeContainerInstancesInput{
			Cluster: aws.String("mandelbox"), ContainerInstances: arns,
			Include: []types.ContainerInstanceField{types.ContainerInstanceFieldTags},
		})
	})
	return out.ContainerInstances[0]
}

func (f *ecsFixture) listHosts(filter string) []string {
	f.Helper()
	return must(f, func() (*ecs.ListContainerInstancesOutput, error) {
		return f.client.ListContainerInstances(f.Context(), &ecs.ListContainerInstancesInput{
			Cluster: aws.String("mandelbox"), Filter: &filter,
		})
	}).ContainerInstanceArns
}

func (f *ecsFixture) listTasks(change func(*ecs.ListTasksInput)) []string {
	f.Helper()
	in := &ecs.ListTasksInput{Cluster: aws.String("mandelbox")}
	if change != nil {
		change(in)
	}
	return must(f, func() (*ecs.ListTasksOutput, error) { return f.client.ListTasks(f.Context(), in) }).TaskArns
}

// must fails the test on an error.
func must[T any](f *ecsFixture, do func() (T, error)) T {
	f.Helper()
	out, err := do()
	if err != nil {
		f.Fatal(err)
	}
	return out
}

// errorCode returns AWS's code of an error, or fails.
func errorCode(t *testing.T, err error) string {
	t.Helper()
	var refusal smithy.APIError
	if !errors.As(err, &refusal) {
		t.Fatalf("not an AWS error: %v", err)
	}
	return refusal.ErrorCode()
}

func reasons(failures []types.Failure) string {
	var out []string
	for _, failure := range failures {
		out = append(out, aws.ToString(failure.Reason))
	}
	return strings.Join(out, ",")
}

// env overrides the environment of the container named main.
func env(pairs ...string) func(*ecs.RunTaskInput) {
	o := types.ContainerOverride{Name: aws.String("main")}
	for i := 0; i < len(pairs); i += 2 {
		o.Environment = append(o.Environment, types.KeyValuePair{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return func(in *ecs.RunTaskInput) {
		in.Overrides = &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{o}}
	}
}
