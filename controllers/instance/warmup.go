// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// warmupStarter is what the startedBy of a warm-up task begins with; the uid of
// the Instance follows.
const warmupStarter = "warmup/"

func warming(startedBy string) bool { return strings.HasPrefix(startedBy, warmupStarter) }

// warmUp runs the channel's task once on a new host. A host that was Active once
// is warm: ECS forgets stopped tasks within an hour.
func (r *Reconciler) warmUp(ctx context.Context, s *scope) error {
	i := s.instance
	switch {
	case i.Status.ActiveTime != nil:
		s.warm = true
		if !meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionWarmed) {
			s.warmReason, s.warmMessage = v1alpha1.ReasonWarmed, "the host has been Active"
		}
		return nil
	case adopted(i):
		return r.rebuildClaims(ctx, s)
	case s.ami == nil || s.row == nil:
		s.warmReason, s.warmMessage = v1alpha1.ReasonRevisionNotFound,
			fmt.Sprintf("AMI %s has no revision %s in %s", i.Spec.AMIName, i.Spec.Revision, i.Spec.RegionName)
		s.after(lookAgain)
		return nil
	case s.ami.Spec.Warmup == nil:
		s.warm, s.warmReason, s.warmMessage = true, v1alpha1.ReasonNoWarmup, "the channel asks for no warm-up"
		return nil
	case !s.connected() || i.Leaving():
		s.warmReason, s.warmMessage = v1alpha1.ReasonRegistering, "waiting for the host to register"
		return nil
	}
	return r.runWarmup(ctx, s)
}

func (r *Reconciler) runWarmup(ctx context.Context, s *scope) error {
	s.warmReason, s.warmMessage = v1alpha1.ReasonWarming, "the warm-up task is running"
	var task *cloud.Task
	for _, t := range s.cloud.Observer().TasksStartedBy(warmupStarter + string(s.instance.UID)) {
		task = &t
	}
	if task == nil {
		_, err := s.cloud.API().RunTask(ctx, r.warmupTask(s))
		if err != nil {
			s.after(lookAgain)
			return fmt.Errorf("starting the warm-up task: %w", err)
		}
		return nil
	}
	if !task.Stopped() {
		return r.endWarmup(ctx, s, *task)
	}
	if stoppedByUs := task.StopCode == "UserInitiated"; stoppedByUs || task.ExitCode != nil && *task.ExitCode == 0 {
		s.warm, s.warmReason, s.warmMessage = true, v1alpha1.ReasonWarmed, "the warm-up task has run"
		return nil
	}
	s.warmReason, s.warmMessage = v1alpha1.ReasonWarmupFailed, "the warm-up task failed: "+task.StoppedReason
	return nil
}

// endWarmup stops a warm-up that has run for long enough.
func (r *Reconciler) endWarmup(ctx context.Context, s *scope, task cloud.Task) error {
	timeout := 5 * time.Minute
	if s.ami.Spec.Warmup.Timeout != nil {
		timeout = s.ami.Spec.Warmup.Timeout.Duration
	}
	if left := task.CreatedAt.Add(timeout).Sub(s.now); left > 0 || task.DesiredStatus == cloud.TaskStopped {
		s.after(max(left, lookAgain))
		return nil
	}
	if err := s.cloud.API().StopTask(ctx, task.ARN, "Warmed: the warm-up has run for "+timeout.String()); err != nil {
		return fmt.Errorf("stopping the warm-up task: %w", err)
	}
	return nil
}

func (r *Reconciler) warmupTask(s *scope) cloud.TaskRun {
	i := s.instance
	return cloud.TaskRun{
		Token:            cloud.TaskToken(warmupStarter+string(i.UID), 1),
		TaskDefinition:   s.row.TaskDefinition,
		InstanceID:       s.member.InstanceID,
		ContainerHostARN: s.member.ARN,
		StartedBy:        warmupStarter + string(i.UID),
		ContainerName:    s.row.ContainerName,
		Command:          s.ami.Spec.Warmup.Command,
		Tags: map[string]string{
			cloud.TagCluster: r.ClusterID, cloud.TagRegion: i.Spec.RegionName,
			cloud.TagAMI: i.Spec.AMIName, cloud.TagRevision: i.Spec.Revision, cloud.TagLaunch: i.Status.Launch.Token,
		},
	}
}
