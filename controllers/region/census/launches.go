// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package census

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// remembered is how many hosts of a release are looked back on, and tolerated how
// many of them may never have become Active.
const (
	remembered = 4
	tolerated  = remembered/2 - 1
)

// Outcomes brings the record of a release up to date: with its hosts that became
// Active, and those that are leaving and never did. A host that was launched with
// other parameters doesn't count, nor does a failure of one created before
// retryAfter. The record is a function of what it holds and of the hosts, however
// often it is taken.
func Outcomes(record v1alpha1.LaunchRecord, hosts []*v1alpha1.Instance, retryAfter time.Time) v1alpha1.LaunchRecord {
	known := map[string]v1alpha1.LaunchOutcome{}
	for _, outcome := range record.Outcomes {
		known[outcome.Instance] = outcome
	}
	for _, host := range hosts {
		if parameters := host.Labels[v1alpha1.LabelLaunchParameters]; parameters != "" && parameters != record.LaunchParameters {
			continue
		}
		if active, sure := becameActive(host); sure {
			known[host.Name] = v1alpha1.LaunchOutcome{Instance: host.Name, Active: ptr.To(active), Created: host.CreationTimestamp}
		}
	}
	record.Outcomes = nil
	for _, outcome := range known {
		if ptr.Deref(outcome.Active, false) || !outcome.Created.Time.Before(retryAfter) {
			record.Outcomes = append(record.Outcomes, outcome)
		}
	}
	slices.SortFunc(record.Outcomes, func(a, b v1alpha1.LaunchOutcome) int {
		return cmp.Or(a.Created.Compare(b.Created.Time), cmp.Compare(a.Instance, b.Instance))
	})
	record.Outcomes = record.Outcomes[max(0, len(record.Outcomes)-remembered):]
	return record
}

// becameActive says whether a host did, once that is sure. A host that was drained
// before it could is nobody's failure, and neither is one that EC2 never launched.
func becameActive(host *v1alpha1.Instance) (active, sure bool) {
	switch {
	case host.Status.ActiveTime != nil || host.Status.Phase == v1alpha1.InstanceActive:
		return true, true
	case host.DeletionTimestamp.IsZero() || host.Draining() || host.Status.InstanceID == "":
		return false, false
	}
	return false, true
}

// NeverActive says why a release must not be launched any more: half of its last
// four hosts never became Active. It is "" if it may be.
func NeverActive(record *v1alpha1.LaunchRecord) string {
	if record == nil || len(record.Outcomes) < remembered {
		return ""
	}
	var failed []string
	for _, outcome := range record.Outcomes {
		if !ptr.Deref(outcome.Active, false) {
			failed = append(failed, outcome.Instance)
		}
	}
	if len(failed) <= tolerated {
		return ""
	}
	return fmt.Sprintf("%d of its last %d hosts never became Active (%s)", len(failed), remembered, strings.Join(failed, ", "))
}

// RecordOf returns the record of a release in its Region's status, or nil.
func RecordOf(region *v1alpha1.Region, of Release) *v1alpha1.LaunchRecord {
	for i := range region.Status.Launches {
		if record := &region.Status.Launches[i]; record.AMIName == of.AMI && record.Revision == of.Revision {
			return record
		}
	}
	return nil
}

// RetryAfter is the time that the Region is annotated with; zero if it has none
// that can be read.
func RetryAfter(region metav1.Object) time.Time {
	after, err := time.Parse(time.RFC3339, region.GetAnnotations()[v1alpha1.AnnotationRetryLaunches])
	if err != nil {
		return time.Time{}
	}
	return after
}
