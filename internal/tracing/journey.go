// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// journeys are those that are under way, by the object's uid.
type journeys struct {
	tracer trace.Tracer
	clock  clock.PassiveClock
	under  map[types.UID]*journey
}

func newJourneys(tracer trace.Tracer, clk clock.PassiveClock) journeys {
	return journeys{tracer: tracer, clock: clk, under: map[types.UID]*journey{}}
}

// journey is what is known of a session or host that is still on its way.
type journey struct {
	began time.Time
	// at is when the step that it is in began, and steps are those that it has behind it.
	at    time.Time
	steps []step
}

// step is one part of a journey.
type step struct {
	name     string
	from, to time.Time
	// failed is why the step came to nothing; "" if it went well.
	failed     string
	attributes []attribute.KeyValue
}

// passed ends the step that the journey is in.
func (j *journey) passed(name string, now time.Time, failed string, attributes ...attribute.KeyValue) {
	j.steps = append(j.steps, step{name: name, from: j.at, to: latest(j.at, now), failed: failed, attributes: attributes})
	j.at = now
}

// tell makes one span of the journey, and one of each of its steps.
func (j *journey) tell(tracer trace.Tracer, name string, failed string, attributes ...attribute.KeyValue) {
	ctx, whole := tracer.Start(context.Background(), name, trace.WithTimestamp(j.began), trace.WithNewRoot(), trace.WithAttributes(attributes...))
	end := j.began
	for _, s := range j.steps {
		_, span := tracer.Start(ctx, s.name, trace.WithTimestamp(s.from), trace.WithAttributes(s.attributes...))
		if s.failed != "" {
			span.SetStatus(codes.Error, s.failed)
		}
		span.End(trace.WithTimestamp(s.to))
		end = latest(end, s.to)
	}
	if failed != "" {
		whole.SetStatus(codes.Error, failed)
	}
	whole.End(trace.WithTimestamp(end))
}

// latest is the later of two times: clocks of several machines are compared.
func latest(a, b time.Time) time.Time {
	if b.Before(a) {
		return a
	}
	return b
}
