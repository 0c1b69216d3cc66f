// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/schedule"
)

// launchParameters names what a host is launched with besides its image: a hash
// of those fields of a Region that a running host can't take over any more.
func launchParameters(spec *v1alpha1.RegionSpec) (string, error) {
	encoded, err := json.Marshal([]any{
		spec.Subnets, spec.SecurityGroups, spec.AssociatePublicIPAddress, spec.InstanceProfile, spec.InstanceTypes,
		spec.PurchaseOption, spec.BlockDevices, spec.UserData, spec.UserDataFormat, spec.LaunchTemplate, spec.Tags,
	})
	if err != nil {
		return "", fmt.Errorf("encoding the launch parameters: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:5]), nil
}

// outdated says whether a host was made with other launch parameters than the next
// one will be. Of one that somebody else made it isn't known.
func (s *scope) outdated(host *v1alpha1.Instance) bool {
	parameters := host.Labels[v1alpha1.LabelLaunchParameters]
	return parameters != "" && parameters != s.parameters
}

func (s *scope) outdatedHosts() int32 {
	var n int32
	for i := range s.hosts {
		if host := &s.hosts[i]; s.outdated(host) && host.Status.Phase != v1alpha1.InstanceTerminating {
			n++
		}
	}
	return n
}

// recordLaunches keeps what became of the last hosts of each release, so that one
// whose hosts never become Active isn't launched on and on.
func (r *Reconciler) recordLaunches(_ context.Context, s *scope) error {
	byRelease := map[census.Release][]*v1alpha1.Instance{}
	for i := range s.hosts {
		if s.isOwn(&s.hosts[i]) {
			key := census.ReleaseOf(&s.hosts[i])
			byRelease[key] = append(byRelease[key], &s.hosts[i])
		}
	}
	s.neverActive = map[census.Release]string{}
	for _, key := range s.keys() {
		record := v1alpha1.LaunchRecord{AMIName: key.AMI, Revision: key.Revision, LaunchParameters: s.parameters}
		if known := census.RecordOf(s.region, key); known != nil && known.LaunchParameters == s.parameters {
			record = *known
		}
		record = census.Outcomes(record, byRelease[key], census.RetryAfter(s.region))
		if len(record.Outcomes) > 0 && len(s.records) < maxLaunches {
			s.records = append(s.records, record)
		}
		if why := census.NeverActive(&record); why != "" {
			s.neverActive[key] = why
		}
	}
	return nil
}

// stopped says which active channels are launched no more, and what to do; "" if
// none is.
func (s *scope) stopped() string {
	var channels []string
	for _, key := range s.keys() {
		if why := s.neverActive[key]; why != "" && s.releases[key].active {
			channels = append(channels, fmt.Sprintf("channel %s (revision %s), since %s", key.AMI, key.Revision, why))
		}
	}
	if len(channels) == 0 {
		return ""
	}
	return fmt.Sprintf("No more hosts are launched for %s. Change the image or the launch parameters, or annotate the Region with %s=%s.",
		trouble.List(channels), v1alpha1.AnnotationRetryLaunches, "<the time of now>")
}

// readSchedules has the Region looked at again when a schedule begins or ends, and
// stalls one whose schedules can't be read, which admission refuses.
func (r *Reconciler) readSchedules(_ context.Context, s *scope) error {
	schedules := s.region.Spec.Capacity.Schedules
	force := schedule.At(schedules, s.now)
	s.schedules = force.Names
	if !force.Next.IsZero() {
		s.lookAgain = earliest(s.lookAgain, max(time.Millisecond, force.Next.Sub(s.now)))
	}
	for i := range schedules {
		if err := schedule.Check(&schedules[i]); err != nil {
			return &trouble.Stalled{Reason: v1alpha1.ReasonScheduleInvalid, Message: fmt.Sprintf(
				"Schedule %s of spec.capacity is not in force: %v.", schedules[i].Name, err)}
		}
	}
	return nil
}
