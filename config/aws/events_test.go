// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	cloudaws "github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
)

const awsRegion = "us-east-1"

// kindsOfEvents is how many the local AWS tells of.
const kindsOfEvents = 6

// happenings are the events of everything that the local AWS tells of, as it happens
// to one spot host and one task in the ECS cluster, by detail type.
func happenings(t *testing.T, ecsCluster string) map[string]map[string]any {
	t.Helper()
	g := NewWithT(t)
	delays := awsemu.FastDelays()
	server := awsemu.New(awsemu.Options{Delays: &delays})
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		listener.Close()
	})
	sdk := awssdk.Config{
		Region: awsRegion, BaseEndpoint: awssdk.String(listener.URL),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
	queues := sqs.NewFromConfig(sdk)
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: awssdk.String("all")})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(server.SendEvents("", awsRegion, "all", awsemu.EventDelivery{})).To(Succeed())

	id := playOut(t, sdk, ecsCluster)
	g.Expect(server.ScheduleEvent("", awsRegion, id, awsemu.ScheduledEvent{})).To(Succeed())
	g.Expect(server.RecommendRebalance("", awsRegion, id)).To(Succeed())
	g.Expect(server.InterruptSpot("", awsRegion, id)).To(Succeed())

	events := map[string]map[string]any{}
	g.Eventually(func(g Gomega) {
		out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
		g.Expect(err).NotTo(HaveOccurred())
		for _, m := range out.Messages {
			var event map[string]any
			g.Expect(json.Unmarshal([]byte(*m.Body), &event)).To(Succeed())
			events[fmt.Sprint(event["detail-type"])] = event
		}
		g.Expect(events).To(HaveLen(kindsOfEvents))
	}).WithTimeout(time.Minute).Should(Succeed())
	return events
}

// playOut launches a spot host that joins the ECS cluster, and runs a task there.
func playOut(t *testing.T, sdk awssdk.Config, ecsCluster string) (instanceID string) {
	t.Helper()
	g := NewWithT(t)
	provider, err := cloudaws.New(t.Context(), cloudaws.Options{Config: sdk})
	g.Expect(err).NotTo(HaveOccurred())
	api, err := provider.Open(t.Context(), cloud.Target{ClusterID: "c", Region: "r", AWSRegion: awsRegion, ECSCluster: ecsCluster})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = api.EnsureCluster(t.Context(), nil)
	g.Expect(err).NotTo(HaveOccurred())
	definition, err := api.EnsureTaskDefinition(t.Context(), cloud.TaskDefinition{
		Family: "web", ContainerName: "web", Image: "web:1", Resources: cloud.Resources{CPU: 256, MemoryMiB: 256},
	})
	g.Expect(err).NotTo(HaveOccurred())
	subnets, err := api.Subnets(t.Context(), cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	hosts, err := api.LaunchHosts(t.Context(), cloud.Launch{
		Token: "t", Count: 1, ImageID: awsemu.DefaultImageID, InstanceType: "g4dn.xlarge", SubnetID: subnets[0].ID, Spot: true,
		UserData: cloud.UserData(cloud.UserDataECS, ecsCluster, nil, ""),
	})
	g.Expect(err).NotTo(HaveOccurred())
	instanceID = hosts[0].InstanceID
	g.Eventually(func(g Gomega) {
		members, err := api.FindContainerHosts(t.Context(), []string{instanceID})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(members).To(HaveLen(1))
		_, err = api.RunTask(t.Context(), cloud.TaskRun{
			Token: "t", TaskDefinition: definition.ARN, ContainerName: "web", InstanceID: instanceID, ContainerHostARN: members[0].ARN,
		})
		g.Expect(err).NotTo(HaveOccurred())
	}).WithTimeout(time.Minute).Should(Succeed())
	return instanceID
}

// matches says whether an event matches a pattern of exact values, the only sort
// that the template has.
// See https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html.
func matches(g *WithT, pattern, event any) bool {
	switch p := pattern.(type) {
	case map[string]any:
		e, ok := event.(map[string]any)
		for key, inner := range p {
			if value, there := e[key]; !ok || !there || !matches(g, inner, value) {
				return false
			}
		}
		return true
	case []any:
		for _, value := range p {
			g.Expect(value).To(BeAssignableToTypeOf(""), "a filter is not looked into here")
		}
		return slices.Contains(p, event)
	}
	g.Expect(pattern).To(BeNil(), "a pattern has objects and lists alone")
	return false
}

// patterns are the event patterns of all rules, for a cluster in the local AWS.
func patterns(g *WithT, tpl template) map[string]any {
	all := map[string]any{}
	for _, rule := range tpl.ofType(g, "AWS::Events::Rule") {
		all[rule] = replace(at(g, tpl.properties(g, rule), "EventPattern"), func(name string, argument any) any {
			g.Expect(name).To(Equal("Fn::GetAtt"))
			g.Expect(argument).To(Equal([]any{"Cluster", "Arn"}))
			return "arn:aws:ecs:" + awsRegion + ":" + awsemu.DefaultAccount + ":cluster/" + fmt.Sprint(at(g, tpl.properties(g, "Cluster"), "ClusterName"))
		})
	}
	return all
}

// TestRulesTakeEveryEvent publishes one of each of the events that the operator acts
// on in the local AWS, and finds exactly one rule for it.
func TestRulesTakeEveryEvent(t *testing.T) {
	g := NewWithT(t)
	tpl := readTemplate(g)
	all := patterns(g, tpl)
	taken := map[string][]string{}
	for detailType, event := range happenings(t, "mandelbox") {
		taken[detailType] = []string{}
		for rule, pattern := range all {
			if matches(g, pattern, event) {
				taken[detailType] = append(taken[detailType], rule)
			}
		}
	}
	g.Expect(taken).To(Equal(map[string][]string{
		"EC2 Instance State-change Notification": {"InstanceEvents"},
		"EC2 Spot Instance Interruption Warning": {"InstanceEvents"},
		"EC2 Instance Rebalance Recommendation":  {"InstanceEvents"},
		"AWS Health Event":                       {"ScheduledEvents"},
		"ECS Task State Change":                  {"EcsEvents"},
		"ECS Container Instance State Change":    {"EcsEvents"},
	}))
}

func TestRulesLeaveOtherClustersAlone(t *testing.T) {
	g := NewWithT(t)
	all := patterns(g, readTemplate(g))
	for detailType, event := range happenings(t, "another") {
		if event["source"] == "aws.ecs" {
			g.Expect(matches(g, all["EcsEvents"], event)).To(BeFalse(), detailType)
		}
	}
	for name, event := range map[string]map[string]any{
		"another kind of ECS's": {"source": "aws.ecs", "detail-type": "ECS Service Action", "detail": map[string]any{}},
		"another service's health": {"source": "aws.health", "detail-type": "AWS Health Event",
			"detail": map[string]any{"service": "RDS", "eventTypeCategory": "scheduledChange"}},
	} {
		for rule, pattern := range all {
			g.Expect(matches(g, pattern, event)).To(BeFalse(), "%s takes %s", rule, name)
		}
	}
}

// TestRulesMaySend finds every rule aimed at the queue, and let in by its policy.
func TestRulesMaySend(t *testing.T) {
	g := NewWithT(t)
	tpl := readTemplate(g)
	var sources []any
	for _, rule := range tpl.ofType(g, "AWS::Events::Rule") {
		g.Expect(at(g, tpl.properties(g, rule), "Targets")).To(Equal([]any{
			map[string]any{"Id": "queue", "Arn": attributeOf("EventQueue", "Arn")},
		}), rule)
		sources = append(sources, attributeOf(rule, "Arn"))
	}
	statements, _ := at(g, tpl.properties(g, "EventQueuePolicy"), "PolicyDocument", "Statement").([]any)
	g.Expect(at(g, statements[0], "Effect")).To(Equal("Allow"))
	g.Expect(at(g, statements[0], "Principal", "Service")).To(Equal("events.amazonaws.com"))
	g.Expect(at(g, statements[0], "Action")).To(Equal("sqs:SendMessage"))
	g.Expect(at(g, statements[0], "Resource")).To(Equal(attributeOf("EventQueue", "Arn")))
	g.Expect(at(g, statements[0], "Condition", "ArnEquals", "aws:SourceArn")).To(ConsistOf(sources...))
}

func attributeOf(resource, name string) any {
	return map[string]any{"Fn::GetAtt": []any{resource, name}}
}
