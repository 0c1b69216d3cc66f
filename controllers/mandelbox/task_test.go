// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func TestOutcomeOf(t *testing.T) {
	code := ptr.To[int32]
	for name, tc := range map[string]struct {
		task cloud.Task
		want outcome
	}{
		"the container ended well": {
			task: cloud.Task{StopCode: "EssentialContainerExited", StoppedReason: "Essential container in task exited", ExitCode: code(0)},
			want: outcome{reason: v1alpha1.ReasonCompleted, message: "the session ended", exitCode: code(0)},
		},
		"the container ended badly": {
			task: cloud.Task{StopCode: "EssentialContainerExited", StoppedReason: "Essential container in task exited", ExitCode: code(139)},
			want: outcome{reason: v1alpha1.ReasonCrashed, message: "the session's container ended with exit code 139", exitCode: code(139)},
		},
		"the image could not be pulled": {
			task: cloud.Task{StopCode: "TaskFailedToStart", StoppedReason: "Task failed to start: CannotPullContainerError"},
			want: outcome{reason: v1alpha1.ReasonTaskFailed, message: "Task failed to start: CannotPullContainerError"},
		},
		"the operator stopped it after startTimeout": {
			task: cloud.Task{StopCode: "UserInitiated", StoppedReason: "StartTimeout: the task was not running within 1s", ExitCode: code(137)},
			want: outcome{reason: v1alpha1.ReasonStartTimeout, message: "the task was not running within 1s", exitCode: code(137)},
		},
		"the operator stopped it after maxSessionDuration": {
			task: cloud.Task{StopCode: "UserInitiated", StoppedReason: "MaxDurationReached: the session ran for 1h0m0s", ExitCode: code(0)},
			want: outcome{reason: v1alpha1.ReasonMaxDurationReached, message: "the session ran for 1h0m0s", exitCode: code(0)},
		},
		"somebody else stopped it": {
			task: cloud.Task{StopCode: "UserInitiated", StoppedReason: "maintenance", ExitCode: code(143)},
			want: outcome{reason: v1alpha1.ReasonStopped, message: "maintenance", exitCode: code(143)},
		},
		"its host was terminated": {
			task: cloud.Task{StopCode: "TerminationNotice", StoppedReason: "Host EC2 (instance i-0) terminated."},
			want: outcome{reason: v1alpha1.ReasonHostLost, message: "Host EC2 (instance i-0) terminated."},
		},
		"its spot host was taken back": {
			task: cloud.Task{StopCode: "SpotInterruption"},
			want: outcome{reason: v1alpha1.ReasonHostLost, message: "the task stopped"},
		},
		"nothing is known": {
			want: outcome{reason: v1alpha1.ReasonTaskFailed, message: "the task stopped"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, outcomeOf(tc.task), cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("outcomeOf (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEndOfAnAttempt(t *testing.T) {
	started := ptr.To(metav1.NewTime(time.Unix(1, 0)))
	failed := cloud.Task{StopCode: "TaskFailedToStart", StoppedReason: "no image"}
	for name, tc := range map[string]struct {
		status  v1alpha1.MandelboxStatus
		task    cloud.Task
		anew    bool
		reason  string
		message string
	}{
		"a start that failed is tried again": {
			status: v1alpha1.MandelboxStatus{Attempt: 1}, task: failed,
			anew: true, reason: v1alpha1.ReasonTaskFailed, message: "no image",
		},
		"the last start that fails ends the session": {
			status: v1alpha1.MandelboxStatus{Attempt: maxAttempts}, task: failed,
			reason: v1alpha1.ReasonTaskFailed, message: "attempt 3 of 3: no image",
		},
		"a host lost before the session ran costs an attempt": {
			status: v1alpha1.MandelboxStatus{Attempt: 1}, task: cloud.Task{StopCode: "SpotInterruption", StoppedReason: "taken back"},
			anew: true, reason: v1alpha1.ReasonHostLost, message: "taken back",
		},
		"a host lost while it ran ends it": {
			status: v1alpha1.MandelboxStatus{Attempt: 1, RunningTime: started}, task: cloud.Task{StopCode: "SpotInterruption", StoppedReason: "taken back"},
			reason: v1alpha1.ReasonHostLost, message: "taken back",
		},
		"a session that ended before anybody saw it run has run": {
			status: v1alpha1.MandelboxStatus{Attempt: 1}, task: cloud.Task{ExitCode: ptr.To[int32](0)},
			reason: v1alpha1.ReasonCompleted, message: "the session ended",
		},
		"one that crashed at once is not started again": {
			status: v1alpha1.MandelboxStatus{Attempt: 1}, task: cloud.Task{ExitCode: ptr.To[int32](1)},
			reason: v1alpha1.ReasonCrashed, message: "the session's container ended with exit code 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scope{mandelbox: &v1alpha1.Mandelbox{Status: tc.status}, task: &tc.task}
			s.ended()
			got := s.outcome
			if tc.anew {
				got = s.anew
			}
			if got == nil || (s.outcome != nil) == tc.anew || (s.anew != nil) != tc.anew {
				t.Fatalf("outcome %+v, anew %+v; want anew %t", s.outcome, s.anew, tc.anew)
			}
			if got.reason != tc.reason || got.message != tc.message {
				t.Errorf("got %s %q, want %s %q", got.reason, got.message, tc.reason, tc.message)
			}
		})
	}
}
