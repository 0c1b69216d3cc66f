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

// troubled says whether EC2 has stopped the host, takes it back, will end what runs on
// it, or fails its status checks for longer than it may, or whether ECS was told to
// start nothing more there; expired then says which.
func (s *scope) troubled() bool {
	if !s.present() {
		return false
	}
	reason, message, announced := s.announced()
	switch {
	case s.host.State.Halted():
		s.expired, s.expiredMessage = v1alpha1.ReasonStoppedOutside, s.haltedMessage()
	case announced:
		s.expired, s.expiredMessage = reason, message
	case s.drainedOutside():
		s.expired = v1alpha1.ReasonDrainedOutside
		s.expiredMessage = "ECS starts nothing more on the host: it was set to DRAINING, and not by the operator"
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

// announced says what AWS will do to the host, or is likely to.
func (s *scope) announced() (reason, message string, ok bool) {
	event, interrupted := s.health.Interruption()
	switch {
	case interrupted && event.Code == cloud.EventSpotInterruption:
		message = "EC2 takes the spot host back"
		if !event.NotBefore.IsZero() {
			message += " at " + event.NotBefore.UTC().Format(time.RFC3339)
		}
		return v1alpha1.ReasonSpotInterruption, explained(message, event), true
	case interrupted:
		message = fmt.Sprintf("AWS has scheduled %s for %s or later", event.Code, event.NotBefore.UTC().Format(time.RFC3339))
		return v1alpha1.ReasonScheduledMaintenance, explained(message, event), true
	}
	if event, ok := s.health.Rebalance(); ok {
		return v1alpha1.ReasonRebalanceRecommended, explained("EC2 is likely to take the spot host back soon", event), true
	}
	return "", "", false
}

// explained adds AWS's own words.
func explained(message string, event cloud.HostEvent) string {
	if event.Description == "" {
		return message
	}
	return message + ": " + event.Description
}

// drainedOutside says whether ECS starts nothing more on a host that the operator has
// not told to leave: it drains none before its Instance is deleted.
func (s *scope) drainedOutside() bool {
	return s.member != nil && s.member.Status == cloud.ContainerHostDraining && s.instance.DeletionTimestamp.IsZero()
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
	reason, message, announced := s.announced()
	switch {
	case announced:
		c.Set(v1alpha1.ConditionHealthy, false, reason, message)
	case s.health.Impaired:
		c.Set(v1alpha1.ConditionHealthy, false, v1alpha1.ReasonImpaired, "EC2's status checks of the host fail")
	case meta.FindStatusCondition(s.instance.Status.Conditions, v1alpha1.ConditionHealthy) != nil:
		c.Set(v1alpha1.ConditionHealthy, true, v1alpha1.ReasonHealthy, "EC2's status checks of the host pass")
	}
}
