// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	taskARN   = "arn:aws:ecs:us-east-1:123456789012:task/mandelbox/0123456789abcdef0123456789abcdef"
	memberARN = "arn:aws:ecs:us-east-1:123456789012:container-instance/mandelbox/fedcba9876543210fedcba9876543210"
)

// inEnvelope is a message with the members that AWS documents for every event, and
// one that it may add tomorrow.
func inEnvelope(region, source, detailType, detail string) string {
	return `{"version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "` + detailType + `", "source": "` + source + `",
		"account": "123456789012", "time": "2026-11-11T21:29:54Z", "region": "` + region + `", "resources": ["arn:aws:anything"],
		"tomorrow": {"a": [1]}, "detail": ` + detail + `}`
}

func TestReadEvent(t *testing.T) {
	t.Parallel()
	target := cloud.Target{ClusterID: "c1", Region: "east", AWSRegion: "us-east-1", ECSCluster: "mandelbox"}
	at := time.Date(2026, 11, 11, 21, 29, 54, 0, time.UTC)
	const (
		instance = `{"instance-id": "i-1234567890abcdef0", "state": "shutting-down", "new": true}`
		cluster  = `"clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/mandelbox"`
		stopping = `{` + cluster + `, "taskArn": "` + taskARN + `", "lastStatus": "RUNNING", "desiredStatus": "STOPPED", "healthStatus": "UNHEALTHY",
			"version": 5, "containers": [{"lastStatus": "RUNNING"}], "createdAt": "2026-11-11T21:00:00.000Z"}`
		member = `{` + cluster + `, "containerInstanceArn": "` + memberARN + `", "ec2InstanceId": "i-1234567890abcdef0", "status": "ACTIVE",
			"agentConnected": true, "version": 14801, "pendingTasksCount": 0}`
		retirement = `{"service": "EC2", "eventTypeCode": "AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED", "eventTypeCategory": "scheduledChange",
			"affectedEntities": [{"entityValue": "i-1"}, {"entityValue": "i-2", "status": "IMPAIRED"}], "page": "1"}`
	)
	for name, tc := range map[string]struct {
		body string
		want cloud.Event
	}{
		"an instance": {
			inEnvelope("us-east-1", "aws.ec2", "EC2 Instance State-change Notification", instance),
			cloud.Event{Kind: cloud.EventHost, IDs: []string{"i-1234567890abcdef0"}, State: "shutting-down", Time: at},
		},
		"an instance of another region": {
			inEnvelope("us-west-2", "aws.ec2", "EC2 Instance State-change Notification", instance),
			cloud.Event{Kind: cloud.EventHost, State: "shutting-down", Time: at},
		},
		"an instance without a name": {
			inEnvelope("us-east-1", "aws.ec2", "EC2 Instance State-change Notification", `{"state": "running"}`),
			cloud.Event{Kind: cloud.EventHost, State: "running", Time: at},
		},
		"a spot host that is taken back": {
			inEnvelope("us-east-1", "aws.ec2", "EC2 Spot Instance Interruption Warning", `{"instance-id": "i-1", "instance-action": "terminate"}`),
			cloud.Event{Kind: cloud.EventNotice, IDs: []string{"i-1"}, Time: at, Notice: cloud.HostEvent{
				Code: cloud.EventSpotInterruption, NotBefore: at.Add(2 * time.Minute),
			}},
		},
		"a spot host that had better be left": {
			inEnvelope("us-east-1", "aws.ec2", "EC2 Instance Rebalance Recommendation", `{"instance-id": "i-1"}`),
			cloud.Event{Kind: cloud.EventNotice, IDs: []string{"i-1"}, Time: at, Notice: cloud.HostEvent{Code: cloud.EventRebalance}},
		},
		"a task": {
			inEnvelope("us-east-1", "aws.ecs", "ECS Task State Change", stopping),
			cloud.Event{Kind: cloud.EventTask, IDs: []string{taskARN}, State: "RUNNING", Stopping: true, Health: "UNHEALTHY", Time: at},
		},
		"a task of another cluster": {
			inEnvelope("us-east-1", "aws.ecs", "ECS Task State Change",
				`{"clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/other-mandelbox", "taskArn": "`+taskARN+`", "lastStatus": "RUNNING"}`),
			cloud.Event{Kind: cloud.EventTask, State: "RUNNING", Time: at},
		},
		"a container instance": {
			inEnvelope("us-east-1", "aws.ecs", "ECS Container Instance State Change", member),
			cloud.Event{Kind: cloud.EventContainerHost, IDs: []string{memberARN}, State: "ACTIVE", AgentConnected: true, Time: at},
		},
		"scheduled maintenance": {
			inEnvelope("us-east-1", "aws.health", "AWS Health Event", retirement),
			cloud.Event{Kind: cloud.EventHealth, IDs: []string{"i-1", "i-2"}, Time: at},
		},
		"scheduled maintenance, told in the second region too": {
			inEnvelope("us-west-2", "aws.health", "AWS Health Event", retirement),
			cloud.Event{Kind: cloud.EventHealth, IDs: []string{"i-1", "i-2"}, Time: at},
		},
		"the health of another service": {
			inEnvelope("us-east-1", "aws.health", "AWS Health Event", `{"service": "S3", "affectedEntities": [{"entityValue": "bucket"}]}`),
			cloud.Event{Kind: cloud.EventHealth, Time: at},
		},
		"a kind that nobody knows": {
			inEnvelope("us-east-1", "aws.ecs", "ECS Service Action", `[]`), cloud.Event{Kind: cloud.EventOther, Time: at},
		},
		"a known kind from a stranger": {
			inEnvelope("us-east-1", "custom", "ECS Task State Change", stopping), cloud.Event{Kind: cloud.EventOther, Time: at},
		},
		"a detail of another shape": {
			inEnvelope("us-east-1", "aws.ecs", "ECS Task State Change", `[1, 2]`), cloud.Event{Kind: cloud.EventUnreadable, Time: at},
		},
		"a time that is none":  {`{"detail-type": "ECS Task State Change", "time": "yesterday"}`, cloud.Event{Kind: cloud.EventUnreadable}},
		"a test of somebody's": {`{}`, cloud.Event{Kind: cloud.EventUnreadable}},
		"no JSON":              {"hello", cloud.Event{Kind: cloud.EventUnreadable}},
		"half of it":           {`{"detail-type": "ECS Task`, cloud.Event{Kind: cloud.EventUnreadable}},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(readEvent(target, tc.body)).To(Equal(tc.want))
		})
	}
}

// FuzzReadEvent has no body make the reader panic, and none be taken for ours that
// doesn't name our cluster.
func FuzzReadEvent(f *testing.F) {
	f.Add(inEnvelope("us-east-1", "aws.ecs", "ECS Task State Change", `{"taskArn": "a", "clusterArn": "b"}`))
	f.Add(inEnvelope("us-east-1", "aws.health", "AWS Health Event", `{"service": "EC2", "affectedEntities": [null, {}]}`))
	f.Fuzz(func(t *testing.T, body string) {
		e := readEvent(cloud.Target{AWSRegion: "us-east-1", ECSCluster: "mandelbox"}, body)
		if e.Kind == "" {
			t.Errorf("%q is of no kind", body)
		}
		if useless := e.Kind == cloud.EventOther || e.Kind == cloud.EventUnreadable; useless && len(e.IDs) > 0 {
			t.Errorf("%q is %s and about %v", body, e.Kind, e.IDs)
		}
	})
}
