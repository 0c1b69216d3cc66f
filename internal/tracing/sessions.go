// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// sessions tell how Mandelboxes came to run. They are told of by one goroutine.
type sessions struct{ journeys }

func newSessions(tracer trace.Tracer, clk clock.PassiveClock) *sessions {
	return &sessions{newJourneys(tracer, clk)}
}

// added begins the journey of a session that does not run yet. One that is old began
// before anybody looked: its times are those of the API, in whole seconds.
func (s *sessions) added(m *v1alpha1.Mandelbox, old bool) {
	if m.Finished() || m.Status.RunningTime != nil {
		return
	}
	began := s.clock.Now()
	if old || m.Status.Attempt > 0 {
		began = m.CreationTimestamp.Time
	}
	j := &journey{began: began, at: began}
	if m.Committed() && m.Status.AssignedTime != nil {
		j.passed("assign", m.Status.AssignedTime.Time, "", slot(m)...)
	}
	s.under[m.UID] = j
}

// changed takes a session a step further.
func (s *sessions) changed(before, after *v1alpha1.Mandelbox) {
	if before.UID != after.UID {
		s.deleted(before)
		s.added(after, false)
		return
	}
	j := s.under[after.UID]
	if j == nil {
		return
	}
	now := s.clock.Now()
	if after.Committed() && !before.Committed() {
		j.passed("assign", now, "", slot(after)...)
	}
	if before.Committed() && !after.Committed() && !after.Finished() {
		j.passed("start task", now, why(after), slot(before)...)
	}
	switch {
	case after.Status.RunningTime != nil:
		j.passed("start task", now, "", append(slot(after), attribute.String("aws.ecs.task.arn", after.Status.TaskARN))...)
		s.end(j, after, "")
	case after.Finished() && after.Committed():
		j.passed("start task", now, why(after), slot(after)...)
		s.end(j, after, why(after))
	case after.Finished():
		j.passed("assign", now, why(after))
		s.end(j, after, why(after))
	}
}

// deleted ends the journey of a session that will never run.
func (s *sessions) deleted(m *v1alpha1.Mandelbox) {
	if j := s.under[m.UID]; j != nil {
		j.passed("delete", s.clock.Now(), "Deleted")
		s.end(j, m, "Deleted")
	}
}

func (s *sessions) end(j *journey, m *v1alpha1.Mandelbox, failed string) {
	delete(s.under, m.UID)
	j.tell(s.tracer, "start session", failed,
		attribute.String("k8s.namespace.name", m.Namespace),
		attribute.String("mandelbox.name", m.Name),
		attribute.String("mandelbox.uid", string(m.UID)),
		attribute.String("mandelbox.region", m.Status.Region),
		attribute.Int("mandelbox.attempt", int(m.Status.Attempt)))
}

// slot says where a session is.
func slot(m *v1alpha1.Mandelbox) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("mandelbox.instance", m.Status.InstanceName),
		attribute.String("mandelbox.region", m.Status.Region),
	}
}

func why(m *v1alpha1.Mandelbox) string {
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionFinished); c != nil {
		return c.Reason
	}
	return "Unknown"
}
