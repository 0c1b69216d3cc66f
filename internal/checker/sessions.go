// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// session is what is remembered of a Mandelbox, also after it is gone.
type session struct {
	uid, name string
	phase     v1alpha1.MandelboxPhase
	attempt   int32
	commit    *commit // nil unless it holds a slot
	// ran are the attempts that were Running.
	ran           map[int32]bool
	deleted, gone bool
	maxDuration   time.Duration
}

// over says whether the session needs no task any more.
func (s *session) over() bool { return s.gone || s.phase == v1alpha1.MandelboxFinished }

// mandelbox takes in a version of a Mandelbox.
func (c *Checker) mandelbox(now time.Time, revision uint64, m *v1alpha1.Mandelbox, deleted bool) {
	s := c.sessions[string(m.UID)]
	if s == nil {
		s = &session{uid: string(m.UID), name: describe(m), ran: map[int32]bool{}}
		c.sessions[s.uid] = s
	}
	c.followCommit(now, revision, s, m, deleted)
	s.deleted = s.deleted || deleted || !m.DeletionTimestamp.IsZero()
	s.gone = deleted
	if m.Spec.MaxSessionDuration != nil {
		s.maxDuration = m.Spec.MaxSessionDuration.Duration
	}
	before := s.phase
	s.phase, s.attempt = m.Status.Phase, m.Status.Attempt
	if before == s.phase || deleted {
		return
	}
	switch s.phase {
	case v1alpha1.MandelboxRunning:
		s.ran[s.attempt] = true
		c.checkRunning(now, s)
	case v1alpha1.MandelboxFinished:
		c.checkFinished(now, s, m)
	case v1alpha1.MandelboxPending, v1alpha1.MandelboxAllocated:
		if len(s.ran) > 0 {
			c.report(now, NeverTaken, RuleEnded, s.name, "it went from %s back to %s at version %d", before, s.phase, revision)
		}
	}
}

// checkRunning holds the phase Running to the cloud.
func (c *Checker) checkRunning(now time.Time, s *session) {
	if !c.cloud.started[taskKey{s.uid, s.attempt}] {
		c.report(now, Truth, RuleRunning, s.name, "it is called Running, and the task of attempt %d has not started", s.attempt)
	}
}

// checkFinished holds the phase Finished, and the reason given, to the cloud.
func (c *Checker) checkFinished(now time.Time, s *session, m *v1alpha1.Mandelbox) {
	reason := ""
	if finished := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionFinished); finished != nil {
		reason = finished.Reason
	}
	for _, t := range c.cloud.tasks {
		if t.uid == s.uid && t.live() && !c.cloud.lost[t.InstanceID] {
			c.report(now, Truth, RuleFinished, s.name, "it is called Finished (%s), and task %s is %s", reason, t.ARN, t.LastStatus)
		}
		if reason == v1alpha1.ReasonHostLost && t.uid == s.uid && t.attempt == s.attempt && s.ran[t.attempt] && !c.cloud.lost[t.InstanceID] {
			c.report(now, NeverTaken, RuleEnded, s.name, "it ended for the loss of host %s, which nobody took", t.InstanceID)
		}
	}
	if reason == v1alpha1.ReasonStartTimeout && s.ran[s.attempt] {
		c.report(now, NeverTaken, RuleEnded, s.name, "it ended as not having started in time, after it was Running")
	}
}

// judgeStop judges why the task of a session that was Running stopped, or was
// told to.
func (c *Checker) judgeStop(now time.Time, arn string) {
	c.later(now, func(now time.Time) {
		t := c.cloud.tasks[arn]
		if t == nil {
			return // Forgotten by the cloud, as all stopped tasks are at last.
		}
		s := c.sessions[t.uid]
		switch {
		case s == nil, !s.ran[t.attempt], s.deleted:
		case t.StopCode == stopOwnEnd, c.cloud.lost[t.InstanceID]:
		case c.ranLongEnough(now, s, t):
		default:
			c.report(now, NeverTaken, RuleStopped, s.name, "its task %s on host %s was stopped (%s): %s", t.ARN, t.InstanceID, t.StopCode, t.StoppedReason)
		}
	})
}

// ranLongEnough says whether the task was stopped for its maximum duration, and not
// before it.
func (c *Checker) ranLongEnough(now time.Time, s *session, t *task) bool {
	if s.maxDuration <= 0 || !strings.HasPrefix(t.StoppedReason, v1alpha1.ReasonMaxDurationReached) {
		return false
	}
	end := t.StoppedAt
	if end.IsZero() {
		end = now
	}
	// The API keeps whole seconds.
	return end.Sub(t.StartedAt) >= s.maxDuration-time.Second
}
