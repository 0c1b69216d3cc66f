package awsemu

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// defineInNetwork registers a definition with a network mode.
func (f *ecsFixture) defineInNetwork(family string, mode types.NetworkMode, containers ...types.ContainerDefinition) {
	f.Helper()
	must(f, func() (*ecs.RegisterTaskDefinitionOutput, error) {
		return f.client.RegisterTaskDefinition(f.Context(), &ecs.RegisterTaskDefinitionInput{
			Family: &family, NetworkMode: mode, ContainerDefinitions: containers,
			Tags: []types.Tag{{Key: aws.String("channel"), Value: aws.String("stable")}},
		})
	})
}

func TestNetworkModes(t *testing.T) {
	f, _ := newECSHost(t, nil)
	d := f.server.Delays()
	web := types.ContainerDefinition{
		Name: aws.String("main"), Image: aws.String("web"), Memory: aws.Int32(64),
		PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(8443)}},
	}
	for _, mode := range []types.NetworkMode{types.NetworkModeHost, types.NetworkModeAwsvpc, types.NetworkModeNone} {
		f.defineInNetwork(string(mode), mode, web)
	}
	host := f.runOne("host", nil)
	none := f.runOne("none", nil)
	if got := reasons(f.run("host", nil).Failures); got != "RESOURCE:PORTS" {
		t.Errorf("a second task on the host's own port: %q", got)
	}
	_, err := f.client.RunTask(t.Context(), runInput("awsvpc", nil))
	if errorCode(t, err) != "InvalidParameterException" {
		t.Error(err)
	}
	own := f.runOne("awsvpc", func(in *ecs.RunTaskInput) {
		in.NetworkConfiguration = &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}}}
	})
	f.expectStatus(own, "PROVISIONING/RUNNING")
	f.clock.Step(d.TaskStart / 4)
	f.expectStatus(own, "PENDING/RUNNING")
	f.clock.Step(d.TaskPull + d.TaskStart)
	if b := f.expectStatus(host, "RUNNING/RUNNING").Containers[0].NetworkBindings; len(b) != 1 || *b[0].HostPort != 8443 {
		t.Errorf("host network: bindings %v", b)
	}
	for _, arn := range []string{none, own} {
		if b := f.expectStatus(arn, "RUNNING/RUNNING").Containers[0].NetworkBindings; len(b) != 0 {
			t.Errorf("bindings %v", b)
		}
	}
}

func TestSidecarMayExit(t *testing.T) {
	f, _ := newECSHost(t, nil)
	f.defineInNetwork("pair", types.NetworkModeBridge,
		types.ContainerDefinition{Name: aws.String("main"), Image: aws.String("web"), Memory: aws.Int32(64)},
		types.ContainerDefinition{
			Name: aws.String("init"), Image: aws.String("init"), Memory: aws.Int32(64), Essential: aws.Bool(false), Command: []string{"sleep", "1"},
		})
	arn := f.runOne("pair", func(in *ecs.RunTaskInput) {
		in.PropagateTags = types.PropagateTagsTaskDefinition
		in.EnableECSManagedTags = true
	})
	f.clock.Step(f.server.Delays().TaskPull + f.server.Delays().TaskStart + time.Second)
	task := f.expectStatus(arn, "RUNNING/RUNNING")
	if init := task.Containers[1]; *init.LastStatus != "STOPPED" || *init.ExitCode != 0 || *task.Containers[0].LastStatus != "RUNNING" {
		t.Errorf("containers %+v", task.Containers)
	}
	tags := map[string]string{}
	for _, tag := range task.Tags {
		tags[*tag.Key] = *tag.Value
	}
	if tags["channel"] != "stable" || tags["aws:ecs:clusterName"] != "mandelbox" {
		t.Errorf("tags %v", tags)
	}
}

func TestDeregisteredHostIsSeenForAWhile(t *testing.T) {
	f, host := newECSHost(t, nil)
	arn := *f.containerInstance(host).ContainerInstanceArn
	must(f, func() (*ecs.DeregisterContainerInstanceOutput, error) {
		return f.client.DeregisterContainerInstance(t.Context(), &ecs.DeregisterContainerInstanceInput{
			Cluster: aws.String("mandelbox"), ContainerInstance: &arn,
		})
	})
	describe := func() *ecs.DescribeContainerInstancesOutput {
		return must(f, func() (*ecs.DescribeContainerInstancesOutput, error) {
			return f.client.DescribeContainerInstances(t.Context(), &ecs.DescribeContainerInstancesInput{
				Cluster: aws.String("mandelbox"), ContainerInstances: []string{arn},
			})
		})
	}
	if out := describe(); len(out.ContainerInstances) != 1 || *out.ContainerInstances[0].Status != "INACTIVE" {
		t.Errorf("described as %v, failures %q", out.ContainerInstances, reasons(out.Failures))
	}
	update := must(f, func() (*ecs.UpdateContainerInstancesStateOutput, error) {
		return f.client.UpdateContainerInstancesState(t.Context(), &ecs.UpdateContainerInstancesStateInput{
			Cluster: aws.String("mandelbox"), ContainerInstances: []string{arn}, Status: types.ContainerInstanceStatusDraining,
		})
	})
	if reasons(update.Failures) != "INACTIVE" {
		t.Errorf("draining it failed with %q", reasons(update.Failures))
	}
	if err := f.server.DisconnectAgent(DefaultAccount, "us-east-1", host.id); err == nil {
		t.Error("a deregistered agent was disconnected")
	}
	f.clock.Step(f.server.Delays().StoppedTaskRetention)
	if out := describe(); reasons(out.Failures) != "MISSING" {
		t.Errorf("an hour later: %q", reasons(out.Failures))
	}
}

func TestMalformedBody(t *testing.T) {
	f := newECSFixture(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, *f.client.Options().BaseEndpoint, strings.NewReader(`{"clusters":"one"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.DescribeClusters")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing was read
	if got := res.Header.Get("X-Amzn-Errortype"); res.StatusCode != http.StatusBadRequest || got != "SerializationException" {
		t.Errorf("status %d, %s", res.StatusCode, got)
	}
}
