package awsemu

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestListTasks(t *testing.T) {
	f, first := newECSHost(t, nil)
	second := f.boot(joinMandelbox)
	f.define("warmup", nil)
	by := func(name string, host *instance) func(*ecs.RunTaskInput) {
		return func(in *ecs.RunTaskInput) {
			in.StartedBy = &name
			onHost(host)(in)
		}
	}
	a := f.runOne("session", by("one", first))
	b := f.runOne("session", by("two", second))
	w := f.runOne("warmup", by("two", second))
	f.clock.Step(time.Minute)
	must(f, func() (*ecs.StopTaskOutput, error) {
		return f.client.StopTask(f.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: &b})
	})
	tests := map[string]struct {
		change func(*ecs.ListTasksInput)
		want   []string
	}{
		"running by default": {nil, []string{a, w}},
		"stopped":            {func(in *ecs.ListTasksInput) { in.DesiredStatus = types.DesiredStatusStopped }, []string{b}},
		"pending is nobody's desire": {
			func(in *ecs.ListTasksInput) { in.DesiredStatus = types.DesiredStatusPending }, nil,
		},
		"family":      {func(in *ecs.ListTasksInput) { in.Family = aws.String("warmup") }, []string{w}},
		"started by":  {func(in *ecs.ListTasksInput) { in.StartedBy = aws.String("two") }, []string{w}},
		"host":        {func(in *ecs.ListTasksInput) { in.ContainerInstance = f.containerInstance(first).ContainerInstanceArn }, []string{a}},
		"launch type": {func(in *ecs.ListTasksInput) { in.LaunchType = types.LaunchTypeFargate }, nil},
		"stopped and started by": {func(in *ecs.ListTasksInput) {
			in.StartedBy, in.DesiredStatus = aws.String("two"), types.DesiredStatusStopped
		}, []string{b}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := f.listTasks(tc.change); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	_, err := f.client.ListTasks(t.Context(), &ecs.ListTasksInput{
		Cluster: aws.String("mandelbox"), StartedBy: aws.String("two"), Family: aws.String("session"),
	})
	if errorCode(t, err) != "InvalidParameterException" {
		t.Error(err)
	}
}

func TestListTasksByPages(t *testing.T) {
	f, _ := newECSHost(t, func(c *types.ContainerDefinition) { c.Cpu, c.Memory = 1, aws.Int32(4) })
	var want []string
	for range 13 {
		for _, task := range f.run("session", func(in *ecs.RunTaskInput) { in.Count = aws.Int32(10) }).Tasks {
			want = append(want, *task.TaskArn)
		}
	}
	var got []string
	pages := ecs.NewListTasksPaginator(f.client, &ecs.ListTasksInput{Cluster: aws.String("mandelbox")})
	var token *string
	for n := 0; pages.HasMorePages(); n++ {
		page := must(f, func() (*ecs.ListTasksOutput, error) { return pages.NextPage(t.Context()) })
		if n == 0 && len(page.TaskArns) != 100 {
			t.Errorf("the first page has %d tasks", len(page.TaskArns))
		}
		got = append(got, page.TaskArns...)
		if page.NextToken != nil {
			token = page.NextToken
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d tasks by pages, want %d", len(got), len(want))
	}
	for name, in := range map[string]*ecs.ListTasksInput{
		"token of another listing": {Cluster: aws.String("mandelbox"), NextToken: token, Family: aws.String("session")},
		"nonsense token":           {Cluster: aws.String("mandelbox"), NextToken: aws.String("nonsense")},
		"too large a page":         {Cluster: aws.String("mandelbox"), MaxResults: aws.Int32(101)},
	} {
		if _, err := f.client.ListTasks(t.Context(), in); errorCode(t, err) != "InvalidParameterException" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVisibilityLag(t *testing.T) {
	f, host := newECSHost(t, nil)
	d := f.server.Delays()
	d.VisibilityLag = 5 * time.Second
	f.server.SetDelays(d)
	arn := f.runOne("session", nil)
	out := must(f, func() (*ecs.DescribeTasksOutput, error) {
		return f.client.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("mandelbox"), Tasks: []string{arn}})
	})
	if reasons(out.Failures) != "MISSING" || len(f.listTasks(nil)) != 0 {
		t.Error("a task is seen at once, in spite of the lag")
	}
	late := f.boot(joinMandelbox)
	if hosts := f.listHosts("ec2InstanceId in [" + host.id + ", " + late.id + "]"); len(hosts) != 1 {
		t.Errorf("%d hosts are seen", len(hosts))
	}
	f.clock.Step(d.VisibilityLag)
	f.task(arn)
	f.containerInstance(late)
}

func TestDescribeTasksRefusals(t *testing.T) {
	f, _ := newECSHost(t, nil)
	for name, tasks := range map[string][]string{"none": {}, "too many": make([]string, 101)} {
		for i := range tasks {
			tasks[i] = "0"
		}
		_, err := f.client.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("mandelbox"), Tasks: tasks})
		if errorCode(t, err) != "InvalidParameterException" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := f.client.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("mandelbox"), Task: aws.String("0123")})
	if errorCode(t, err) != "InvalidParameterException" {
		t.Error(err)
	}
}
