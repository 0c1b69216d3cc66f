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

// ended takes in how the task stopped: as the end of the session, or of this attempt.
func (r *Reconciler) ended(s *scope) {
	o := outcomeOf(*s.task)
	failedToStart := o.reason == v1alpha1.ReasonStartTimeout || o.reason == v1alpha1.ReasonTaskFailed
	if failedToStart && s.mandelbox.Status.RunningTime == nil {
		s.anew = &o
		r.placeAnew(s)
		return
	}
	s.outcome = &o
}

// placeAnew gives the slot back, unless the session had its attempts: then it is over.
func (r *Reconciler) placeAnew(s *scope) {
	if s.mandelbox.Status.Attempt >= maxAttempts {
		s.outcome = &outcome{
			reason:   s.anew.reason,
			message:  fmt.Sprintf("attempt %d of %d: %s", s.mandelbox.Status.Attempt, maxAttempts, s.anew.message),
			exitCode: s.anew.exitCode,
		}
		s.anew = nil
	}
}

// stopReasons are those that the operator gives to ECS when it stops a task.
var stopReasons = []string{v1alpha1.ReasonMaxDurationReached, v1alpha1.ReasonStartTimeout}

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
