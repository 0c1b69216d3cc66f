// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"strconv"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu/iam"
)

// accessOf makes the access of an operation out of a function that takes its request
// as a struct. A body of another shape needs none: the operation refuses it.
func accessOf[In any](needs func(*call, In) []access) func(*call) ([]access, error) {
	return func(c *call) ([]access, error) {
		var in In
		if err := json.Unmarshal(c.body, &in); err != nil {
			return nil, serializationError(err)
		}
		return needs(c, in), nil
	}
}

// ecsAccess are those of the operations of ECS that are checked on something, with the
// resources of
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
var ecsAccess = map[string]func(*call) ([]access, error){
	"CreateCluster":                 accessOf(accessCreateCluster),
	"DeleteCluster":                 accessOf(accessCluster),
	"DescribeClusters":              accessOf(accessClusters),
	"ListContainerInstances":        accessOf(accessCluster),
	"RegisterContainerInstance":     accessOf(accessRegisterHost),
	"DeregisterContainerInstance":   accessOf(accessCluster),
	"DescribeContainerInstances":    accessOf(accessHosts),
	"UpdateContainerInstancesState": accessOf(accessHosts),
	"RegisterTaskDefinition":        accessOf(accessRegister),
	"RunTask":                       accessOf(accessRun),
	"StopTask":                      accessOf(accessTasks),
	"DescribeTasks":                 accessOf(accessTasks),
	"ListTasks":                     accessOf(accessListTasks),
	"TagResource":                   accessOf(accessTagged),
	"UntagResource":                 accessOf(accessTagged),
	"ListTagsForResource":           accessOf(accessTagged),
}

// clusterIn is the part of a request that names its cluster.
type clusterIn struct {
	Cluster string `json:"cluster"`
}

// clusterNamed is what a request calls a cluster, and its ARN.
func (c *call) clusterNamed(ref string) (name, arn string) {
	if ref == "" {
		ref = "default"
	}
	name, ok := c.region.ecsResourceName("cluster", ref)
	if !ok {
		return "", ref
	}
	return name, c.region.ecsARN("cluster/" + name)
}

// onCluster is an access on a cluster.
func (c *call) onCluster(ref string, context iam.Context) access {
	name, arn := c.clusterNamed(ref)
	if cl := c.region.ecs.clusters[name]; cl != nil {
		context = resourceTags(context, cl.tags)
	}
	return access{action: "ecs:" + c.operation.name, resource: arn, context: context}
}

// inCluster is an access on something in a cluster.
func (c *call) inCluster(cluster, kind, ref string) access {
	name, arn := c.clusterNamed(cluster)
	resource := ref
	if id, ok := c.region.ecsResourceName(kind, ref); ok && id == ref {
		resource = c.region.ecsARN(kind + "/" + name + "/" + id)
	}
	context := iam.Context{"ecs:cluster": {arn}}
	if tags, err := c.region.taggable(resource); err == nil {
		context = resourceTags(context, tags)
	}
	return access{action: "ecs:" + c.operation.name, resource: resource, context: context}
}

// tagging is what it takes to tag what an operation makes, where it is to have tags:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
func (c *call) tagging(resource string, tags map[string]string) []access {
	if len(tags) == 0 {
		return nil
	}
	return []access{{
		action: "ecs:TagResource", resource: c.region.ecsARN(resource),
		context: requestTags(iam.Context{"ecs:CreateAction": {c.operation.name}}, tags),
	}}
}

func tagMap(list []ecsTag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, t := range list {
		tags[t.Key] = t.Value
	}
	return tags
}

// accessCreateCluster is on every resource: a cluster that isn't there yet is none. Only
// its tags are put on the cluster of that name.
func accessCreateCluster(c *call, in struct {
	Name string   `json:"clusterName"`
	Tags []ecsTag `json:"tags"`
}) []access {
	tags := tagMap(in.Tags)
	name, _ := c.clusterNamed(in.Name)
	needs := append([]access{{
		action: "ecs:CreateCluster", resource: "*", context: requestTags(iam.Context{}, tags),
	}}, c.tagging("cluster/"+name, tags)...)
	return append(needs, c.linkedRole("ecs.amazonaws.com", "AWSServiceRoleForECS",
		refuse("InvalidParameterException",
			"Unable to assume the service linked role. Please verify that the ECS service linked role exists."))...)
}

func accessCluster(c *call, in clusterIn) []access {
	return []access{c.onCluster(in.Cluster, iam.Context{})}
}

func accessClusters(c *call, in struct {
	Clusters []string `json:"clusters"`
}) []access {
	if len(in.Clusters) == 0 {
		in.Clusters = []string{""}
	}
	var needs []access
	for _, ref := range in.Clusters {
		needs = append(needs, c.onCluster(ref, iam.Context{}))
	}
	return needs
}

func accessRegisterHost(c *call, in struct {
	clusterIn
	Tags []ecsTag `json:"tags"`
}) []access {
	name, _ := c.clusterNamed(in.Cluster)
	tags := tagMap(in.Tags)
	return append([]access{c.onCluster(in.Cluster, requestTags(iam.Context{}, tags))}, c.tagging("container-instance/"+name+"/*", tags)...)
}

func accessHosts(c *call, in struct {
	clusterIn
	Hosts []string `json:"containerInstances"`
}) []access {
	var needs []access
	for _, ref := range in.Hosts {
		needs = append(needs, c.inCluster(in.Cluster, "container-instance", ref))
	}
	return needs
}

// accessTasks is for operations that name one task, and for those that name several.
func accessTasks(c *call, in struct {
	clusterIn
	Task  string   `json:"task"`
	Tasks []string `json:"tasks"`
}) []access {
	if in.Task != "" {
		in.Tasks = append(in.Tasks, in.Task)
	}
	var needs []access
	for _, ref := range in.Tasks {
		needs = append(needs, c.inCluster(in.Cluster, "task", ref))
	}
	return needs
}

// accessListTasks is on the host that is asked for, or on all of the cluster: ECS
// checks this operation on container instances and not on tasks.
func accessListTasks(c *call, in struct {
	clusterIn
	Host string `json:"containerInstance"`
}) []access {
	if in.Host == "" {
		in.Host = "*"
	}
	return []access{c.inCluster(in.Cluster, "container-instance", in.Host)}
}

// taskRoles are the roles that a task definition, or what overrides it, gives to a task.
type taskRoles struct {
	Task      string `json:"taskRoleArn"`
	Execution string `json:"executionRoleArn"`
}

func (r taskRoles) passed() []access {
	var needs []access
	for _, role := range []string{r.Task, r.Execution} {
		if role != "" {
			needs = append(needs, passRole(role, "ecs-tasks.amazonaws.com"))
		}
	}
	return needs
}

// accessRegister is on every resource, as that of clusters. Whether a container is
// privileged is said only where the request says it.
func accessRegister(c *call, in struct {
	taskRoles
	Family     string `json:"family"`
	Containers []struct {
		Privileged *bool `json:"privileged"`
	} `json:"containerDefinitions"`
	Tags []ecsTag `json:"tags"`
}) []access {
	tags := tagMap(in.Tags)
	context := requestTags(iam.Context{}, tags)
	for _, ct := range in.Containers {
		if ct.Privileged == nil {
			continue
		}
		if said := context["ecs:privileged"]; len(said) == 0 || *ct.Privileged {
			context["ecs:privileged"] = []string{strconv.FormatBool(*ct.Privileged)}
		}
	}
	needs := append([]access{{action: "ecs:RegisterTaskDefinition", resource: "*", context: context}},
		c.tagging("task-definition/"+in.Family+":*", tags)...)
	return append(needs, in.passed()...)
}

// accessRun is on the task definition, and to pass the roles that the task gets: its
// definition's, where nothing overrides them.
func accessRun(c *call, in runTaskRequest) []access {
	name, arn := c.clusterNamed(in.Cluster)
	tags := tagMap(in.Tags)
	context := requestTags(iam.Context{
		"ecs:cluster":                {arn},
		"ecs:enable-execute-command": {strconv.FormatBool(in.ExecuteCommand)},
		"ecs:enable-ebs-volumes":     {strconv.FormatBool(len(in.VolumeConfigurings) > 0)},
	}, tags)
	resource := c.region.arnOf("task-definition", in.TaskDefinition)
	var roles, over taskRoles
	if def := c.region.taskDefinition(in.TaskDefinition); def != nil {
		resource, context = def.arn, resourceTags(context, def.tags)
		roles = def.roles()
	}
	// Overrides of another shape are the operation's to refuse.
	if len(in.Overrides) > 0 && json.Unmarshal(in.Overrides, &over) == nil {
		roles = over.or(roles)
	}
	needs := append([]access{{action: "ecs:RunTask", resource: resource, context: context}}, c.tagging("task/"+name+"/*", tags)...)
	return append(needs, roles.passed()...)
}

// or takes the other's where there is none.
func (r taskRoles) or(other taskRoles) taskRoles {
	if r.Task == "" {
		r.Task = other.Task
	}
	if r.Execution == "" {
		r.Execution = other.Execution
	}
	return r
}

// roles are those that were registered.
func (d *taskDefinition) roles() taskRoles {
	var roles taskRoles
	for name, into := range map[string]*string{"taskRoleArn": &roles.Task, "executionRoleArn": &roles.Execution} {
		// One that is no text is passed to nobody.
		_ = json.Unmarshal(d.raw[name], into)
	}
	return roles
}

func accessTagged(c *call, in struct {
	ARN  string   `json:"resourceArn"`
	Tags []ecsTag `json:"tags"`
}) []access {
	context := requestTags(iam.Context{}, tagMap(in.Tags))
	if tags, err := c.region.taggable(in.ARN); err == nil {
		context = resourceTags(context, tags)
	}
	return []access{{action: "ecs:" + c.operation.name, resource: in.ARN, context: context}}
}
