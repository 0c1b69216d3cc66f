// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"maps"
	"time"
)

// Observation is everything that runs, or did until a while ago, as it is: without
// rate limits, faults or visibility lag, and without a line in the request log.
// Each region is seen at one moment.
type Observation struct {
	Hosts []ObservedHost
	Tasks []ObservedTask
}

// ObservedHost is an EC2 instance and its ECS agent.
type ObservedHost struct {
	Account, Region, ID string
	// State is EC2's: pending, running, shutting-down, terminated, stopping, stopped.
	State string
	// ClientToken and LaunchIndex say which launch made it.
	ClientToken string
	LaunchIndex int
	Tags        map[string]string
	LaunchTime  time.Time
	// ContainerInstanceARN is empty unless its agent is registered in a cluster.
	ContainerInstanceARN string
	AgentConnected       bool
}

// ObservedTask is an ECS task.
type ObservedTask struct {
	Account, Region, ARN, Cluster string
	// InstanceID is the EC2 instance that it is on.
	InstanceID, StartedBy string
	LastStatus, Desired   string
	Tags                  map[string]string
	// StartedAt and StoppedAt are zero before it was running, or is stopped.
	CreatedAt, StartedAt, StoppedAt time.Time
	StopCode, StoppedReason         string
	// ExitCode is that of the first container that has one; nil if none has.
	ExitCode *int
}

// Observe looks at every account and region that is in use.
func (s *Server) Observe() Observation {
	var o Observation
	for _, r := range s.allRegions() {
		r.observe(&o)
	}
	return o
}

func (r *region) observe(o *Observation) {
	r.lock()
	defer r.unlock()
	for _, i := range r.ec2.order {
		host := ObservedHost{
			Account: r.account, Region: r.name, ID: i.id, State: string(i.state),
			ClientToken: i.clientToken, LaunchIndex: i.launchIndex, Tags: maps.Clone(i.tags), LaunchTime: i.launchTime,
		}
		if agent := r.ecs.agents[i.id]; agent != nil && agent.registered() {
			host.ContainerInstanceARN, host.AgentConnected = agent.arn, agent.connected
		}
		o.Hosts = append(o.Hosts, host)
	}
	for _, cl := range r.ecs.clusters {
		cl.tasksByID.Ascend(func(t *task) bool {
			o.Tasks = append(o.Tasks, r.observeTask(cl, t))
			return true
		})
	}
}

func (r *region) observeTask(cl *cluster, t *task) ObservedTask {
	seen := ObservedTask{
		Account: r.account, Region: r.name, ARN: t.arn, Cluster: cl.name,
		InstanceID: t.host.ec2ID, StartedBy: t.startedBy, LastStatus: t.last, Desired: t.desired, Tags: maps.Clone(t.tags),
		CreatedAt: t.createdAt, StartedAt: t.startedAt, StoppedAt: t.stoppedAt,
		StopCode: t.stopCode, StoppedReason: t.stoppedReason,
	}
	for i := range t.containers {
		if code := t.containers[i].exitCode; code != nil {
			exit := *code
			seen.ExitCode = &exit
			break
		}
	}
	return seen
}
