// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// troubled says whether EC2 has stopped the host, fails its status checks for longer
// than it may, or will end what runs on it; expired then says which.
func (s *scope) troubled() bool {
	if !s.present() {
		return false
	}
	event, interrupted := s.health.Interruption()
	switch {
	case s.host.State.Halted():
		s.expired, s.expiredMessage = v1alpha1.ReasonStoppedOutside, s.haltedMessage()
	case interrupted:
		s.expired, s.expiredMessage = v1alpha1.ReasonScheduledMaintenance, maintenanceMessage(event)
	case s.health.Impaired && s.impairedFor() >= s.impairedLimit():
		s.expired = v1alpha1.ReasonImpaired
		s.expiredMessage = fmt.Sprintf("EC2's status checks of the host have failed for %s", s.impairedLimit())
	case s.health.Impaired:
		s.after(s.impairedLimit() - s.impairedFor())
		return false
	default:
		return false
	}
	return true
}

func (s *scope) haltedMessage() string {
	message := fmt.Sprintf("%s was stopped, and not by the operator", s.host.InstanceID)
	if s.host.StateReason != "" {
		message += ": " + s.host.StateReason
	}
	return message
}

func maintenanceMessage(event cloud.HostEvent) string {
	return fmt.Sprintf("AWS has scheduled %s for %s or later: %s",
		event.Code, event.NotBefore.UTC().Format(time.RFC3339), event.Description)
}

// impairedFor is how long the host's status checks have failed: since when EC2 says,
// or else since the condition does.
func (s *scope) impairedFor() time.Duration {
	since := s.health.ImpairedSince
	healthy := meta.FindStatusCondition(s.instance.Status.Conditions, v1alpha1.ConditionHealthy)
	if since.IsZero() && healthy != nil && healthy.Status == metav1.ConditionFalse {
		since = healthy.LastTransitionTime.Time
	}
	if since.IsZero() {
		return 0
	}
	return s.now.Sub(since)
}

func (s *scope) impairedLimit() time.Duration {
	if s.region == nil || s.region.Spec.HostTimeouts.Impaired == nil {
		return defaultImpaired
	}
	return s.region.Spec.HostTimeouts.Impaired.Duration
}

// setHealthy says what EC2 has against the host, and that it has nothing any more;
// nothing as long as it never had.
func setHealthy(s *scope, c status.Writer) {
	if !s.present() || !s.healthKnown {
		return
	}
	event, interrupted := s.health.Interruption()
	switch {
	case s.health.Impaired:
		c.Set(v1alpha1.ConditionHealthy, false, v1alpha1.ReasonImpaired, "EC2's status checks of the host fail")
	case interrupted:
		c.Set(v1alpha1.ConditionHealthy, false, v1alpha1.ReasonScheduledMaintenance, maintenanceMessage(event))
	case meta.FindStatusCondition(s.instance.Status.Conditions, v1alpha1.ConditionHealthy) != nil:
		c.Set(v1alpha1.ConditionHealthy, true, v1alpha1.ReasonHealthy, "EC2's status checks of the host pass")
	}
}
