package awsemu

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func (f *ecsFixture) definition(name string) *types.TaskDefinition {
	f.Helper()
	return must(f, func() (*ecs.DescribeTaskDefinitionOutput, error) {
		return f.client.DescribeTaskDefinition(f.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: &name})
	}).TaskDefinition
}

func TestTaskDefinitions(t *testing.T) {
	f := newECSFixture(t)
	for range 2 {
		f.define("session", func(c *types.ContainerDefinition) {
			// Members that the local AWS has no use for are kept.
			c.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "g"}}
			c.StopTimeout = aws.Int32(60)
		})
	}
	f.define("warmup", nil)
	latest := f.definition("session")
	if latest.Revision != 2 || latest.Status != "ACTIVE" || latest.NetworkMode != types.NetworkModeBridge || latest.RegisteredAt == nil ||
		*latest.TaskDefinitionArn != "arn:aws:ecs:us-east-1:000000000000:task-definition/session:2" {
		t.Errorf("latest is %+v", latest)
	}
	if c := latest.ContainerDefinitions[0]; c.LogConfiguration.Options["awslogs-group"] != "g" || *c.StopTimeout != 60 || c.Cpu != 1024 {
		t.Errorf("container definition %+v", c)
	}
}

func TestDeregisteredRevision(t *testing.T) {
	f := newECSFixture(t)
	f.define("session", nil)
	f.define("session", nil)
	must(f, func() (*ecs.DeregisterTaskDefinitionOutput, error) {
		return f.client.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: f.definition("session:2").TaskDefinitionArn})
	})
	if got := f.definition("session").Revision; got != 1 {
		t.Errorf("the latest active revision is %d", got)
	}
	if got := f.definition("session:2"); got.Status != "INACTIVE" || got.DeregisteredAt == nil {
		t.Errorf("a deregistered revision is %s", got.Status)
	}
	f.cluster("mandelbox")
	_, err := f.client.RunTask(t.Context(), runInput("session:2", nil))
	if errorCode(t, err) != "ClientException" {
		t.Error(err)
	}
	f.define("session", nil)
	if got := f.definition("session").Revision; got != 3 {
		t.Errorf("after two revisions comes %d", got)
	}
}

func TestUnknownTaskDefinitions(t *testing.T) {
	f := newECSFixture(t)
	f.define("session", nil)
	for _, name := range []string{"nope", "session:9", "session:x", "arn:aws:ecs:eu-west-1:000000000000:task-definition/session:1"} {
		_, err := f.client.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: &name})
		if errorCode(t, err) != "ClientException" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"session", "session:9"} {
		_, err := f.client.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: &name})
		if errorCode(t, err) != "ClientException" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListTaskDefinitions(t *testing.T) {
	f := newECSFixture(t)
	for _, family := range []string{"b", "a", "b", "b"} {
		f.define(family, nil)
	}
	must(f, func() (*ecs.DeregisterTaskDefinitionOutput, error) {
		return f.client.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("b:2")})
	})
	const prefix = "arn:aws:ecs:us-east-1:000000000000:task-definition/"
	tests := map[string]struct {
		in   ecs.ListTaskDefinitionsInput
		want []string
	}{
		"active":    {ecs.ListTaskDefinitionsInput{}, []string{"a:1", "b:1", "b:3"}},
		"inactive":  {ecs.ListTaskDefinitionsInput{Status: types.TaskDefinitionStatusInactive}, []string{"b:2"}},
		"family":    {ecs.ListTaskDefinitionsInput{FamilyPrefix: aws.String("b")}, []string{"b:1", "b:3"}},
		"backwards": {ecs.ListTaskDefinitionsInput{Sort: types.SortOrderDesc}, []string{"b:3", "b:1", "a:1"}},
		"by pages":  {ecs.ListTaskDefinitionsInput{MaxResults: aws.Int32(2)}, []string{"a:1", "b:1", "b:3"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			pages := ecs.NewListTaskDefinitionsPaginator(f.client, &tc.in)
			for pages.HasMorePages() {
				page := must(f, func() (*ecs.ListTaskDefinitionsOutput, error) { return pages.NextPage(t.Context()) })
				for _, arn := range page.TaskDefinitionArns {
					got = append(got, arn[len(prefix):])
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestTaskDefinitionRefusals(t *testing.T) {
	one := func(change func(*types.ContainerDefinition)) *ecs.RegisterTaskDefinitionInput {
		c := types.ContainerDefinition{Name: aws.String("main"), Image: aws.String("x"), Memory: aws.Int32(128)}
		change(&c)
		return &ecs.RegisterTaskDefinitionInput{Family: aws.String("f"), ContainerDefinitions: []types.ContainerDefinition{c}}
	}
	tests := map[string]*ecs.RegisterTaskDefinitionInput{
		"no container":    {Family: aws.String("f"), ContainerDefinitions: []types.ContainerDefinition{}},
		"bad family":      {Family: aws.String("a b"), ContainerDefinitions: one(func(*types.ContainerDefinition) {}).ContainerDefinitions},
		"no image":        one(func(c *types.ContainerDefinition) { c.Image = nil }),
		"no memory":       one(func(c *types.ContainerDefinition) { c.Memory = nil }),
		"bad name":        one(func(c *types.ContainerDefinition) { c.Name = aws.String("a b") }),
		"nothing needed":  one(func(c *types.ContainerDefinition) { c.Essential = aws.Bool(false) }),
		"more than limit": one(func(c *types.ContainerDefinition) { c.MemoryReservation = aws.Int32(256) }),
		"bad port": one(func(c *types.ContainerDefinition) {
			c.PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(70000)}}
		}),
		"bad protocol": one(func(c *types.ContainerDefinition) {
			c.PortMappings = []types.PortMapping{{ContainerPort: aws.Int32(1), Protocol: "icmp"}}
		}),
		"bad GPU": one(func(c *types.ContainerDefinition) {
			c.ResourceRequirements = []types.ResourceRequirement{{Type: "GPU", Value: aws.String("half")}}
		}),
		"bad accelerator": one(func(c *types.ContainerDefinition) {
			c.ResourceRequirements = []types.ResourceRequirement{{Type: "TPU", Value: aws.String("1")}}
		}),
		"bad task CPU":     one(func(*types.ContainerDefinition) {}),
		"bad network mode": one(func(*types.ContainerDefinition) {}),
		"bad constraint":   one(func(*types.ContainerDefinition) {}),
	}
	tests["bad task CPU"].Cpu = aws.String("much")
	tests["bad network mode"].NetworkMode = "overlay"
	tests["bad constraint"].PlacementConstraints = []types.TaskDefinitionPlacementConstraint{{Type: "distinctInstance"}}
	f := newECSFixture(t)
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := f.client.RegisterTaskDefinition(t.Context(), in)
			if got := errorCode(t, err); got != "ClientException" {
				t.Error(err)
			}
		})
	}
}
