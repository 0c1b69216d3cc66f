// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package local says in the checker's words what the local AWS runs, for those who
// hold the operator to its promises on it.
//
// It judges nothing, and knows nothing of how either side works.
package local

import (
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// Observation is what runs in the local AWS.
func Observation(o awsemu.Observation) checker.Observation {
	out := checker.Observation{Hosts: make([]checker.Host, 0, len(o.Hosts)), Tasks: make([]checker.Task, 0, len(o.Tasks))}
	for _, h := range o.Hosts {
		out.Hosts = append(out.Hosts, checker.Host{
			ID: h.ID, ClientToken: h.ClientToken, LaunchIndex: h.LaunchIndex, Cluster: h.Tags[cloud.TagCluster],
			Live: Live(h), Registered: h.ContainerInstanceARN != "",
		})
	}
	for _, t := range o.Tasks {
		out.Tasks = append(out.Tasks, checker.Task{
			ARN: t.ARN, InstanceID: t.InstanceID, StartedBy: t.StartedBy, LastStatus: t.LastStatus, DesiredStatus: t.Desired,
			StopCode: t.StopCode, StoppedReason: t.StoppedReason, StartedAt: t.StartedAt, StoppedAt: t.StoppedAt,
		})
	}
	return out
}

// Live says whether EC2 runs a host, or is about to.
func Live(h awsemu.ObservedHost) bool { return h.State == "pending" || h.State == "running" }
