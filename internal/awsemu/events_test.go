// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	. "github.com/onsi/gomega"
)

// received is an event as a consumer reads it.
type received struct {
	occurrence
	Detail map[string]any `json:"detail"`
}

// newEventFixture has the region's events delivered to the fixture's queue.
func newEventFixture(t *testing.T, how EventDelivery) *sqsFixture {
	t.Helper()
	f := newSQSFixture(t)
	f.Expect(f.server.SendEvents("", testRegion, "events", how)).To(Succeed())
	return f
}

// events takes and deletes all events that are there.
func (f *sqsFixture) events() []received {
	var all []received
	for {
		messages := f.receive()
		if len(messages) == 0 {
			return all
		}
		for _, m := range messages {
			var e received
			f.Expect(json.Unmarshal([]byte(*m.Body), &e)).To(Succeed())
			all = append(all, e)
			_, err := f.sqs.DeleteMessage(f.ctx, &sqs.DeleteMessageInput{QueueUrl: f.url, ReceiptHandle: m.ReceiptHandle})
			f.Expect(err).NotTo(HaveOccurred())
		}
	}
}

// details are the given members of the events' details, of one detail type.
func details(events []received, detailType string, members ...string) []string {
	list := []string{}
	for _, e := range events {
		if e.DetailType != detailType {
			continue
		}
		text := ""
		for _, m := range members {
			text += fmt.Sprint(e.Detail[m], " ")
		}
		list = append(list, text)
	}
	return list
}

// pass lets time go by, a second at a time.
func (f *sqsFixture) pass(d time.Duration) {
	for range int(d / time.Second) {
		f.clock.Step(time.Second)
		f.server.State()
	}
}

// onSpot buys an instance on the spot market.
func onSpot(in *ec2.RunInstancesInput) {
	in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
}

func TestEventsOfInstances(t *testing.T) {
	t.Parallel()
	f := newEventFixture(t, EventDelivery{})
	host := f.launch(1, "token")[0]
	f.pass(5 * time.Second)
	_, err := f.ec2.StopInstances(f.ctx, &ec2.StopInstancesInput{InstanceIds: []string{*host.InstanceId}})
	f.Expect(err).NotTo(HaveOccurred())
	f.pass(5 * time.Second)
	f.Expect(f.server.KillInstance("", testRegion, *host.InstanceId)).To(Succeed())
	events := f.events()
	f.Expect(details(events, "EC2 Instance State-change Notification", "instance-id", "state")).To(Equal([]string{
		*host.InstanceId + " pending ", *host.InstanceId + " running ", *host.InstanceId + " stopping ",
		*host.InstanceId + " stopped ", *host.InstanceId + " shutting-down ", *host.InstanceId + " terminated ",
	}))
	f.Expect(events[1].occurrence).To(Equal(occurrence{
		Version: "0", ID: events[1].ID, Source: "aws.ec2", DetailType: "EC2 Instance State-change Notification",
		Account: DefaultAccount, Region: testRegion, Time: "2026-11-23T12:00:02Z",
		Resources: []string{"arn:aws:ec2:" + testRegion + ":" + DefaultAccount + ":instance/" + *host.InstanceId},
	}))
	f.Expect(events[1].ID).NotTo(Equal(events[0].ID))
}

func TestEventsOfSpotInstances(t *testing.T) {
	t.Parallel()
	f := newEventFixture(t, EventDelivery{})
	host := f.launch(1, "token", onSpot)[0]
	f.pass(5 * time.Second)
	f.events()
	f.Expect(f.server.RecommendRebalance("", testRegion, *host.InstanceId)).To(Succeed())
	f.Expect(f.server.InterruptSpot("", testRegion, *host.InstanceId)).To(Succeed())
	events := f.events()
	f.Expect(details(events, "EC2 Instance Rebalance Recommendation", "instance-id")).To(Equal([]string{*host.InstanceId + " "}))
	f.Expect(details(events, "EC2 Spot Instance Interruption Warning", "instance-id", "instance-action")).To(
		Equal([]string{*host.InstanceId + " terminate "}))

	onDemand := f.launch(1, "other")[0]
	f.Expect(f.server.RecommendRebalance("", testRegion, *onDemand.InstanceId)).NotTo(Succeed())
}

func TestEventsOfScheduledMaintenance(t *testing.T) {
	t.Parallel()
	f := newEventFixture(t, EventDelivery{})
	host := f.launch(1, "token")[0]
	f.events()
	f.Expect(f.server.ScheduleEvent("", testRegion, *host.InstanceId, ScheduledEvent{Code: "system-reboot"})).To(Succeed())
	events := f.events()
	f.Expect(events).To(HaveLen(1))
	f.Expect(events[0].Source).To(Equal("aws.health"))
	f.Expect(events[0].Resources).To(Equal([]string{*host.InstanceId}))
	f.Expect(events[0].Detail).To(And(
		HaveKeyWithValue("service", "EC2"),
		HaveKeyWithValue("eventTypeCode", "AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED"),
		HaveKeyWithValue("eventTypeCategory", "scheduledChange"),
		HaveKeyWithValue("affectedEntities", ConsistOf(HaveKeyWithValue("entityValue", *host.InstanceId))),
	))
}

func TestEventsOfTasksAndTheirHosts(t *testing.T) {
	t.Parallel()
	f := newEventFixture(t, EventDelivery{})
	api := f.ecsClient()
	_, err := api.CreateCluster(f.ctx, &ecs.CreateClusterInput{ClusterName: aws.String("mandelbox")})
	f.Expect(err).NotTo(HaveOccurred())
	host := f.launch(1, "token", func(in *ec2.RunInstancesInput) {
		in.UserData = aws.String("IyEvYmluL2Jhc2gKZWNobyBFQ1NfQ0xVU1RFUj1tYW5kZWxib3ggPj4gL2V0Yy9lY3MvZWNzLmNvbmZpZwo=")
	})[0]
	f.pass(15 * time.Second)
	const member = "ECS Container Instance State Change"
	f.Expect(details(f.events(), member, "ec2InstanceId", "status", "agentConnected", "version")).To(
		Equal([]string{*host.InstanceId + " ACTIVE true 1 "}), "when it registered")

	_, err = api.RegisterTaskDefinition(f.ctx, &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("web"), NetworkMode: ecstypes.NetworkModeBridge,
		ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: aws.String("web"), Image: aws.String("web:1"), Memory: aws.Int32(64),
			PortMappings: []ecstypes.PortMapping{{ContainerPort: aws.Int32(80)}},
		}},
	})
	f.Expect(err).NotTo(HaveOccurred())
	run, err := api.RunTask(f.ctx, &ecs.RunTaskInput{
		Cluster: aws.String("mandelbox"), TaskDefinition: aws.String("web"), StartedBy: aws.String("me"),
		Tags: []ecstypes.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
	})
	f.Expect(err).NotTo(HaveOccurred())
	arn := *run.Tasks[0].TaskArn
	f.pass(10 * time.Second)
	f.Expect(f.server.ExitTask("", testRegion, arn, 3, "")).To(Succeed())
	f.pass(10 * time.Second)
	events := f.events()
	const taskChange = "ECS Task State Change"
	states := slices.Compact(details(events, taskChange, "lastStatus", "desiredStatus"))
	f.Expect(states).To(Equal([]string{
		"PENDING RUNNING ", "ACTIVATING RUNNING ", "RUNNING RUNNING ", "DEPROVISIONING STOPPED ", "STOPPED STOPPED ",
	}))
	versions := details(events, taskChange, "version")
	f.Expect(slices.Compact(slices.Clone(versions))).To(Equal(versions), "each has another version")
	f.Expect(details(events, member, "version")).NotTo(BeEmpty(), "its room changed")
	last := events[len(events)-1]
	for _, e := range events {
		if e.DetailType == taskChange {
			last = e
		}
	}
	f.Expect(last.Resources).To(Equal([]string{arn}))
	f.Expect(last.Detail).To(And(
		HaveKeyWithValue("taskArn", arn), HaveKeyWithValue("startedBy", "me"), HaveKeyWithValue("stopCode", "EssentialContainerExited"),
		HaveKeyWithValue("createdAt", "2026-11-23T12:00:15.000Z"), HaveKey("updatedAt"), Not(HaveKey("tags")),
		HaveKeyWithValue("clusterArn", "arn:aws:ecs:"+testRegion+":"+DefaultAccount+":cluster/mandelbox"),
		HaveKeyWithValue("containers", ConsistOf(HaveKeyWithValue("exitCode", 3.0))),
	))

	f.Expect(f.server.DisconnectAgent("", testRegion, *host.InstanceId)).To(Succeed())
	f.Expect(details(f.events(), member, "agentConnected")).To(Equal([]string{"false "}))
}

func TestEventsComeAsBadlyAsAsked(t *testing.T) {
	t.Parallel()
	states := func(how EventDelivery) []string {
		f := newEventFixture(t, how)
		for n := range 20 {
			f.launch(1, fmt.Sprint(n))
		}
		f.pass(10 * time.Second)
		return details(f.events(), "EC2 Instance State-change Notification", "state")
	}
	g := NewWithT(t)
	g.Expect(states(EventDelivery{})).To(HaveLen(40))
	g.Expect(states(EventDelivery{Drop: 1})).To(BeEmpty())
	g.Expect(states(EventDelivery{Duplicate: 1})).To(HaveLen(80))
	g.Expect(states(EventDelivery{Delay: Duration{time.Minute}})).To(BeEmpty(), "they are on their way")
	jumbled := states(EventDelivery{Jitter: Duration{5 * time.Second}})
	g.Expect(jumbled).To(HaveLen(40))
	g.Expect(jumbled).NotTo(Equal(states(EventDelivery{})))
	g.Expect(jumbled).To(ConsistOf(states(EventDelivery{})))
}

func TestEventsGoOnlyToTheQueuesThatWereTold(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	f.launch(1, "token")
	f.Expect(f.events()).To(BeEmpty())
	f.Expect(f.server.SendEvents("", testRegion, "none", EventDelivery{})).NotTo(Succeed())
}

func TestAdminEvents(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	f.Expect(f.admin("POST", "queues/events/events?region="+testRegion, `{"duplicate": 1}`, nil)).To(Equal(204))
	host := f.launch(1, "token", onSpot)[0]
	f.Expect(f.events()).To(HaveLen(2), "the one that it is pending, twice")
	f.Expect(f.admin("POST", "instances/"+*host.InstanceId+"/rebalance", "", nil)).To(Equal(204))
	f.Expect(f.events()).To(HaveLen(2))

	f.Expect(f.admin("POST", "queues/none/events?region="+testRegion, "", nil)).To(Equal(404))
	f.Expect(f.admin("POST", "queues/events/events", "", nil)).To(Equal(400), "the region is missing")
	f.Expect(f.admin("POST", "queues/events/events?region="+testRegion, `{"explode": 1}`, nil)).To(Equal(400))
}
