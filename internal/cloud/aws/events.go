// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// envelope is what all events have in common, and of the details of each what the
// operator reads. Whatever else is in them is skipped: AWS adds to events at any time.
// See https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html.
type envelope struct {
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Region     string          `json:"region"`
	Time       time.Time       `json:"time"`
	Detail     json.RawMessage `json:"detail"`
}

// readers read the details of the events that the operator knows, by source and
// detail type. An event whose detail can't be read is unreadable.
var readers = map[[2]string]func(cloud.Target, envelope) (cloud.Event, error){
	{"aws.ec2", "EC2 Instance State-change Notification"}: readInstance,
	{"aws.ec2", "EC2 Spot Instance Interruption Warning"}: readInterruption,
	{"aws.ec2", "EC2 Instance Rebalance Recommendation"}:  readRebalance,
	{"aws.ecs", "ECS Container Instance State Change"}:    readContainerInstance,
	{"aws.ecs", "ECS Task State Change"}:                  readTask,
	{"aws.health", "AWS Health Event"}:                    readHealth,
}

// readEvent reads the body of a message. One that is of no use says so by its kind.
func readEvent(target cloud.Target, body string) cloud.Event {
	var e envelope
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.DetailType == "" {
		return cloud.Event{Kind: cloud.EventUnreadable}
	}
	read, known := readers[[2]string{e.Source, e.DetailType}]
	if !known {
		return cloud.Event{Kind: cloud.EventOther, Time: e.Time}
	}
	event, err := read(target, e)
	if err != nil {
		return cloud.Event{Kind: cloud.EventUnreadable, Time: e.Time}
	}
	event.Time = e.Time
	if e.Region != target.AWSRegion && event.Kind != cloud.EventHealth {
		event.IDs = nil // Health's are delivered to a second region too.
	}
	return event
}

// one is what an event about a single thing names; nothing if that is missing.
func one(id string) []string {
	if id == "" {
		return nil
	}
	return []string{id}
}

// instanceDetail is what the details of all events of EC2 are of.
type instanceDetail struct {
	InstanceID string `json:"instance-id"`
	State      string `json:"state"`
}

// readInstance reads
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html.
func readInstance(_ cloud.Target, e envelope) (cloud.Event, error) {
	var d instanceDetail
	err := json.Unmarshal(e.Detail, &d)
	return cloud.Event{Kind: cloud.EventHost, IDs: one(d.InstanceID), State: d.State}, err
}

// readInterruption reads
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html.
// Whether the host is terminated, stopped or hibernated, what runs on it ends.
func readInterruption(_ cloud.Target, e envelope) (cloud.Event, error) {
	var d instanceDetail
	err := json.Unmarshal(e.Detail, &d)
	notice := cloud.HostEvent{Code: cloud.EventSpotInterruption}
	if !e.Time.IsZero() {
		notice.NotBefore = e.Time.Add(cloud.SpotNotice)
	}
	return cloud.Event{Kind: cloud.EventNotice, IDs: one(d.InstanceID), Notice: notice}, err
}

// readRebalance reads
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html.
func readRebalance(_ cloud.Target, e envelope) (cloud.Event, error) {
	var d instanceDetail
	err := json.Unmarshal(e.Detail, &d)
	return cloud.Event{Kind: cloud.EventNotice, IDs: one(d.InstanceID), Notice: cloud.HostEvent{Code: cloud.EventRebalance}}, err
}

// readContainerInstance reads
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_container_instance_events.html.
func readContainerInstance(target cloud.Target, e envelope) (cloud.Event, error) {
	var d struct {
		ClusterARN     string `json:"clusterArn"`
		ARN            string `json:"containerInstanceArn"`
		Status         string `json:"status"`
		AgentConnected bool   `json:"agentConnected"`
	}
	err := json.Unmarshal(e.Detail, &d)
	return cloud.Event{
		Kind: cloud.EventContainerHost, IDs: inCluster(target, d.ClusterARN, d.ARN), State: d.Status, AgentConnected: d.AgentConnected,
	}, err
}

// readTask reads https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html.
func readTask(target cloud.Target, e envelope) (cloud.Event, error) {
	var d struct {
		ClusterARN    string `json:"clusterArn"`
		ARN           string `json:"taskArn"`
		LastStatus    string `json:"lastStatus"`
		DesiredStatus string `json:"desiredStatus"`
		HealthStatus  string `json:"healthStatus"`
	}
	err := json.Unmarshal(e.Detail, &d)
	return cloud.Event{
		Kind: cloud.EventTask, IDs: inCluster(target, d.ClusterARN, d.ARN), State: d.LastStatus,
		Stopping: d.DesiredStatus == cloud.TaskStopped, Health: d.HealthStatus,
	}, err
}

// inCluster is the ARN if it is of the target's ECS cluster.
func inCluster(target cloud.Target, clusterARN, arn string) []string {
	if !strings.HasSuffix(clusterARN, ":cluster/"+target.ECSCluster) {
		return nil
	}
	return one(arn)
}

// readHealth reads the entities of
// https://docs.aws.amazon.com/health/latest/ug/aws-health-events-eventbridge-schema.html
// which are instance ids if the service is EC2. What is scheduled is not read: the
// listing of the hosts' health has it.
func readHealth(_ cloud.Target, e envelope) (cloud.Event, error) {
	var d struct {
		Service  string `json:"service"`
		Entities []struct {
			Value string `json:"entityValue"`
		} `json:"affectedEntities"`
	}
	err := json.Unmarshal(e.Detail, &d)
	event := cloud.Event{Kind: cloud.EventHealth}
	if d.Service == "EC2" {
		for _, entity := range d.Entities {
			event.IDs = append(event.IDs, entity.Value)
		}
	}
	return event, err
}
