package awsemu

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestClusters(t *testing.T) {
	f := newECSFixture(t)
	created := must(f, func() (*ecs.CreateClusterOutput, error) {
		return f.client.CreateCluster(t.Context(), &ecs.CreateClusterInput{
			ClusterName: aws.String("mandelbox"),
			Tags:        []types.Tag{{Key: aws.String("owner"), Value: aws.String("platform")}},
			Settings:    []types.ClusterSetting{{Name: types.ClusterSettingNameContainerInsights, Value: aws.String("enabled")}},
		})
	}).Cluster
	if want := "arn:aws:ecs:us-east-1:000000000000:cluster/mandelbox"; *created.ClusterArn != want || *created.Status != "ACTIVE" {
		t.Errorf("created %s, %s", *created.ClusterArn, *created.Status)
	}
	f.cluster("mandelbox") // a second time it is found
	f.cluster("other")
	list := must(f, func() (*ecs.ListClustersOutput, error) {
		return f.client.ListClusters(t.Context(), &ecs.ListClustersInput{})
	})
	if len(list.ClusterArns) != 2 {
		t.Errorf("clusters %v", list.ClusterArns)
	}
	describe := func(name string) *ecs.DescribeClustersOutput {
		return must(f, func() (*ecs.DescribeClustersOutput, error) {
			return f.client.DescribeClusters(t.Context(), &ecs.DescribeClustersInput{
				Clusters: []string{name},
				Include:  []types.ClusterField{types.ClusterFieldTags, types.ClusterFieldSettings},
			})
		})
	}
	f.boot(joinMandelbox)
	f.define("session", nil)
	f.runOne("session", nil)
	found := describe(*created.ClusterArn).Clusters[0]
	if found.RegisteredContainerInstancesCount != 1 || found.PendingTasksCount != 1 || *found.Tags[0].Value != "platform" || *found.Settings[0].Value != "enabled" {
		t.Errorf("described as %+v", found)
	}
	if got := reasons(describe("nope").Failures); got != "MISSING" {
		t.Errorf("a cluster that isn't there: %q", got)
	}
	_, err := f.client.DeleteCluster(t.Context(), &ecs.DeleteClusterInput{Cluster: aws.String("mandelbox")})
	if errorCode(t, err) != "ClusterContainsContainerInstancesException" {
		t.Error(err)
	}
	must(f, func() (*ecs.DeleteClusterOutput, error) {
		return f.client.DeleteCluster(t.Context(), &ecs.DeleteClusterInput{Cluster: aws.String("other")})
	})
	if got := *describe("other").Clusters[0].Status; got != "INACTIVE" {
		t.Errorf("a deleted cluster is %s", got)
	}
	_, err = f.client.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("other")})
	if errorCode(t, err) != "ClusterNotFoundException" {
		t.Error(err)
	}
	_, err = f.client.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("a b")})
	if errorCode(t, err) != "InvalidParameterException" {
		t.Error(err)
	}
}

func TestRegionsAndAccountsAreApart(t *testing.T) {
	f := newECSFixture(t)
	f.cluster("mandelbox")
	for name, change := range map[string]func(*ecs.Options){
		"region": func(o *ecs.Options) { o.Region = "eu-west-1" },
		"account": func(o *ecs.Options) {
			o.Credentials = ecsKey("123456789012")
		},
	} {
		out := must(f, func() (*ecs.ListClustersOutput, error) {
			return f.client.ListClusters(t.Context(), &ecs.ListClustersInput{}, change)
		})
		if len(out.ClusterArns) != 0 {
			t.Errorf("another %s sees %v", name, out.ClusterArns)
		}
	}
}

func TestUnknownOperation(t *testing.T) {
	f := newECSFixture(t)
	_, err := f.client.ListAccountSettings(t.Context(), &ecs.ListAccountSettingsInput{})
	if errorCode(t, err) != "UnknownOperationException" {
		t.Error(err)
	}
}

func TestTags(t *testing.T) {
	f, host := newECSHost(t, nil)
	definition := must(f, func() (*ecs.DescribeTaskDefinitionOutput, error) {
		return f.client.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("session")})
	}).TaskDefinition
	arns := map[string]*string{
		"cluster":            aws.String("arn:aws:ecs:us-east-1:000000000000:cluster/mandelbox"),
		"task":               aws.String(f.runOne("session", nil)),
		"container instance": f.containerInstance(host).ContainerInstanceArn,
		"task definition":    definition.TaskDefinitionArn,
	}
	for name, arn := range arns {
		t.Run(name, func(t *testing.T) {
			must(f, func() (*ecs.TagResourceOutput, error) {
				return f.client.TagResource(t.Context(), &ecs.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{
					{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")},
				}})
			})
			must(f, func() (*ecs.UntagResourceOutput, error) {
				return f.client.UntagResource(t.Context(), &ecs.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"a"}})
			})
			tags := must(f, func() (*ecs.ListTagsForResourceOutput, error) {
				return f.client.ListTagsForResource(t.Context(), &ecs.ListTagsForResourceInput{ResourceArn: arn})
			}).Tags
			if len(tags) != 1 || *tags[0].Key != "b" || *tags[0].Value != "2" {
				t.Errorf("tags %v", tags)
			}
		})
	}
	for arn, want := range map[string]string{
		"arn:aws:ecs:us-east-1:000000000000:task/mandelbox/0":    "ResourceNotFoundException",
		"arn:aws:ecs:us-east-1:000000000000:task-definition/x:1": "ResourceNotFoundException",
		"arn:aws:ecs:us-east-1:000000000000:cluster/nope":        "ClusterNotFoundException",
		"arn:aws:ecs:us-east-1:000000000000:task/0":              "InvalidParameterException",
		"arn:aws:s3:::bucket":                                    "InvalidParameterException",
	} {
		_, err := f.client.ListTagsForResource(t.Context(), &ecs.ListTagsForResourceInput{ResourceArn: &arn})
		if got := errorCode(t, err); got != want {
			t.Errorf("%s: %s, want %s", arn, got, want)
		}
	}
	many := map[string][]types.Tag{"reserved": {{Key: aws.String("aws:x"), Value: aws.String("")}}}
	for i := range 51 {
		many["too many"] = append(many["too many"], types.Tag{Key: aws.String(strings.Repeat("k", i+1)), Value: aws.String("")})
	}
	for _, name := range slices.Sorted(maps.Keys(many)) {
		_, err := f.client.TagResource(t.Context(), &ecs.TagResourceInput{ResourceArn: arns["cluster"], Tags: many[name]})
		if errorCode(t, err) != "InvalidParameterException" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
