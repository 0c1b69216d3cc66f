// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// Variables that every session's container gets.
const (
	envName      = "MANDELBOX_NAME"
	envNamespace = "MANDELBOX_NAMESPACE"
	envUserID    = "MANDELBOX_USER_ID"
	envSessionID = "MANDELBOX_SESSION_ID"
	envSlot      = "MANDELBOX_SLOT"
	// envGPU is read by the nvidia container runtime.
	// See https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html.
	envGPU = "NVIDIA_VISIBLE_DEVICES"
)

// taskRun describes the task of a session on its host.
func taskRun(s *scope) cloud.TaskRun {
	m, i := s.mandelbox, s.instance
	return cloud.TaskRun{
		Token:            cloud.TaskToken(string(m.UID), m.Status.Attempt),
		TaskDefinition:   s.row.TaskDefinition,
		InstanceID:       i.Status.InstanceID,
		ContainerHostARN: i.Status.ContainerInstanceARN,
		StartedBy:        cloud.StartedBy(string(m.UID), m.Status.Attempt),
		ContainerName:    s.row.ContainerName,
		Env:              environment(s),
		Tags: map[string]string{
			cloud.TagCluster:   s.region.Target().ClusterID,
			cloud.TagRegion:    s.region.Target().Region,
			cloud.TagAMI:       i.Spec.AMIName,
			cloud.TagRevision:  i.Spec.Revision,
			cloud.TagLaunch:    launchToken(i),
			cloud.TagMandelbox: m.Namespace + "/" + m.Name,
			cloud.TagSlot:      strconv.Itoa(int(*m.Status.Slot)),
		},
	}
}

func launchToken(i *v1alpha1.Instance) string {
	if i.Status.Launch == nil {
		return ""
	}
	return i.Status.Launch.Token
}

// environment is what the session's container is told.
func environment(s *scope) map[string]string {
	m := s.mandelbox
	env := map[string]string{
		envName: m.Name, envNamespace: m.Namespace, envUserID: m.Spec.UserID, envSessionID: m.Spec.SessionID,
		envSlot: strconv.Itoa(int(*m.Status.Slot)),
	}
	for _, v := range m.Spec.Env {
		env[v.Name] = ""
		if v.Value != nil {
			env[v.Name] = *v.Value
		}
	}
	if gpus := gpusOf(s); gpus > 0 {
		env[envGPU] = strconv.Itoa(int(*m.Status.Slot % gpus))
	}
	return env
}

// gpusOf is the number of GPUs that the sessions of the host share; 0 if they share none.
func gpusOf(s *scope) int32 {
	if s.row.GPU != v1alpha1.GPUShared {
		return 0
	}
	return s.region.Observer().Catalog().InstanceTypes[s.instance.Status.InstanceType].GPUs
}

// gpusKnown says whether it is known which GPUs the session's host has, where that
// matters: right after a start of the operator EC2 may not have been asked yet.
func gpusKnown(s *scope) bool {
	catalog := s.region.Observer().Catalog()
	_, known := catalog.InstanceTypes[s.instance.Status.InstanceType]
	return known || catalog.Ready || s.row.GPU != v1alpha1.GPUShared
}

// ended takes in how the task stopped: as the end of the session, or of this attempt.
func (s *scope) ended() {
	o := outcomeOf(*s.task)
	switch o.reason {
	case v1alpha1.ReasonStartTimeout, v1alpha1.ReasonTaskFailed, v1alpha1.ReasonHostLost, v1alpha1.ReasonDrainTimeout:
		s.fail(o)
	default:
		s.outcome = &o
	}
}

// fail ends an attempt. A session that was running is over, and so is one that had
// all its attempts; any other gives its slot back and is placed anew.
func (s *scope) fail(o outcome) {
	m := s.mandelbox
	switch {
	case m.Status.RunningTime != nil:
		s.outcome = &o
	case m.Status.Attempt >= maxAttempts:
		o.message = fmt.Sprintf("attempt %d of %d: %s", m.Status.Attempt, maxAttempts, o.message)
		s.outcome = &o
	default:
		s.anew = &o
	}
}

// stopReasons are those that the operator gives to ECS when it stops a task.
var stopReasons = []string{v1alpha1.ReasonMaxDurationReached, v1alpha1.ReasonStartTimeout, v1alpha1.ReasonDrainTimeout}

// outcomeOf reads from a stopped task how it ended. The stop codes are those of
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html.
func outcomeOf(task cloud.Task) outcome {
	o := outcome{exitCode: task.ExitCode, message: task.StoppedReason}
	for _, reason := range stopReasons {
		if text, ok := strings.CutPrefix(task.StoppedReason, reason+": "); ok {
			o.reason, o.message = reason, text
			return o
		}
	}
	switch {
	case task.StopCode == "TaskFailedToStart":
		o.reason = v1alpha1.ReasonTaskFailed
	case task.StopCode == "TerminationNotice" || task.StopCode == "SpotInterruption" || strings.HasPrefix(task.StoppedReason, "Host EC2"):
		o.reason = v1alpha1.ReasonHostLost
	case task.StopCode == "UserInitiated":
		o.reason = v1alpha1.ReasonStopped
	case task.ExitCode != nil && *task.ExitCode == 0:
		o.reason, o.message = v1alpha1.ReasonCompleted, "the session ended"
	case task.ExitCode != nil:
		o.reason, o.message = v1alpha1.ReasonCrashed, fmt.Sprintf("the session's container ended with exit code %d", *task.ExitCode)
	default:
		o.reason = v1alpha1.ReasonTaskFailed
	}
	if o.message == "" {
		o.message = "the task stopped"
	}
	return o
}
