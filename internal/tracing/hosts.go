// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// hosts tell how Instances came to take sessions. They are told of by one goroutine.
type hosts struct{ journeys }

func newHosts(tracer trace.Tracer, clk clock.PassiveClock) *hosts {
	return &hosts{newJourneys(tracer, clk)}
}

func (h *hosts) added(i *v1alpha1.Instance, old bool) {
	if i.Status.ActiveTime != nil || i.Leaving() {
		return
	}
	began := h.clock.Now()
	if old {
		began = i.CreationTimestamp.Time
	}
	j := &journey{began: began, at: began}
	if i.Status.LaunchedTime != nil {
		j.passed("launch", i.Status.LaunchedTime.Time, "", launched(i)...)
	}
	h.under[i.UID] = j
}

func (h *hosts) changed(before, after *v1alpha1.Instance) {
	if before.UID != after.UID {
		h.deleted(before)
		h.added(after, false)
		return
	}
	j := h.under[after.UID]
	if j == nil {
		return
	}
	now := h.clock.Now()
	if before.Status.LaunchedTime == nil && after.Status.LaunchedTime != nil {
		j.passed("launch", now, "", launched(after)...)
	}
	if !registered(before) && registered(after) {
		j.passed("register", now, "")
	}
	switch {
	case after.Status.ActiveTime != nil:
		j.passed("warm up", now, "")
		h.end(j, after, "")
	case after.Leaving():
		h.giveUp(j, after, now)
	}
}

func (h *hosts) deleted(i *v1alpha1.Instance) {
	if j := h.under[i.UID]; j != nil {
		h.giveUp(j, i, h.clock.Now())
	}
}

// giveUp ends the journey of a host that leaves before it took a session.
func (h *hosts) giveUp(j *journey, i *v1alpha1.Instance, now time.Time) {
	reason := "Leaving"
	if c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		reason = c.Reason
	}
	j.passed("give up", now, reason)
	h.end(j, i, reason)
}

func (h *hosts) end(j *journey, i *v1alpha1.Instance, failed string) {
	delete(h.under, i.UID)
	j.tell(h.tracer, "launch host", failed,
		attribute.String("mandelbox.instance", i.Name),
		attribute.String("mandelbox.region", i.Spec.RegionName),
		attribute.String("mandelbox.ami", i.Spec.AMIName),
		attribute.String("mandelbox.revision", i.Spec.Revision))
}

func launched(i *v1alpha1.Instance) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("host.id", i.Status.InstanceID),
		attribute.String("host.type", i.Status.InstanceType),
		attribute.String("cloud.availability_zone", i.Status.AvailabilityZone),
	}
}

func registered(i *v1alpha1.Instance) bool {
	return meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionRegistered)
}
