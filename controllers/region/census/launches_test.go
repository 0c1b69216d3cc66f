// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package census_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
)

// born makes a host of that name, so many seconds old on the suite's clock.
func born(name string, second int64, changes ...func(*v1alpha1.Instance)) v1alpha1.Instance {
	i := host(v1alpha1.InstancePreConnection, changes...)
	i.Name, i.CreationTimestamp = name, metav1.NewTime(time.Unix(second, 0))
	return i
}

func wasActive(i *v1alpha1.Instance) { i.Status.ActiveTime = ptr.To(metav1.NewTime(time.Unix(9, 0))) }
func launched(i *v1alpha1.Instance)  { i.Status.InstanceID = "i-1" }
func failed(i *v1alpha1.Instance)    { launched(i); deleted(i) }
func withOthers(i *v1alpha1.Instance) {
	i.Labels = map[string]string{v1alpha1.LabelLaunchParameters: "others"}
}
func withTheRight(i *v1alpha1.Instance) {
	i.Labels = map[string]string{v1alpha1.LabelLaunchParameters: "these"}
}

func record(outcomes ...v1alpha1.LaunchOutcome) v1alpha1.LaunchRecord {
	return v1alpha1.LaunchRecord{AMIName: "stable", Revision: "r1", LaunchParameters: "these", Outcomes: outcomes}
}

func outcome(name string, second int64, active bool) v1alpha1.LaunchOutcome {
	return v1alpha1.LaunchOutcome{Instance: name, Active: ptr.To(active), Created: metav1.NewTime(time.Unix(second, 0))}
}

func TestOutcomes(t *testing.T) {
	for name, test := range map[string]struct {
		record     v1alpha1.LaunchRecord
		hosts      []v1alpha1.Instance
		retryAfter int64
		want       string
	}{
		"nothing is known of hosts on their way": {record(), []v1alpha1.Instance{born("a", 1), born("b", 1, launched)}, 0, ""},
		"what became active, and what never will": {
			record(), []v1alpha1.Instance{born("b", 2, failed), born("a", 1, wasActive)}, 0, "a+ b-",
		},
		"an active host that goes was active": {record(), []v1alpha1.Instance{born("a", 1, failed, wasActive)}, 0, "a+"},
		"one that was drained is nobody's failure": {
			record(), []v1alpha1.Instance{born("a", 1, failed, draining)}, 0, "",
		},
		"nor is one that EC2 never launched":   {record(), []v1alpha1.Instance{born("a", 1, deleted)}, 0, ""},
		"nor one with other launch parameters": {record(), []v1alpha1.Instance{born("a", 1, failed, withOthers), born("b", 1, failed, withTheRight)}, 0, "b-"},
		"the same hosts count once": {
			record(outcome("a", 1, true)), []v1alpha1.Instance{born("a", 1, wasActive), born("b", 2, failed)}, 0, "a+ b-",
		},
		"hosts that are gone are remembered": {record(outcome("a", 1, false)), nil, 0, "a-"},
		"the last four by their creation, not by their end": {
			record(outcome("d", 4, true), outcome("e", 5, false), outcome("f", 6, false), outcome("g", 7, false)),
			[]v1alpha1.Instance{born("a", 1, wasActive), born("h", 8, failed)}, 0, "e- f- g- h-",
		},
		"failures before the time to retry are forgotten": {
			record(outcome("a", 1, false), outcome("b", 2, true), outcome("c", 5, false)), []v1alpha1.Instance{born("d", 4, failed)}, 5, "b+ c-",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := census.Outcomes(test.record, pointers(test.hosts), time.Unix(test.retryAfter, 0))
			var words []string
			for _, o := range got.Outcomes {
				words = append(words, fmt.Sprintf("%s%s", o.Instance, map[bool]string{true: "+", false: "-"}[*o.Active]))
			}
			if said := strings.Join(words, " "); said != test.want {
				t.Errorf("got %q, want %q", said, test.want)
			}
		})
	}
}

func TestNeverActive(t *testing.T) {
	for name, test := range map[string]struct {
		outcomes string // + for each that became active, - for each that never did.
		stopped  bool
	}{
		"none": {"", false}, "three failures are not four hosts": {"---", false}, "one of four": {"++-+", false},
		"half of four": {"+-+-", true}, "all": {"----", true},
	} {
		var outcomes []v1alpha1.LaunchOutcome
		for n, o := range test.outcomes {
			outcomes = append(outcomes, outcome(fmt.Sprint("host-", n), int64(n), o == '+'))
		}
		r := record(outcomes...)
		if got := census.NeverActive(&r); (got != "") != test.stopped {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if got := census.NeverActive(nil); got != "" {
		t.Errorf("without a record: got %q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	region := &v1alpha1.Region{}
	if got := census.RetryAfter(region); !got.IsZero() {
		t.Errorf("without an annotation: got %s", got)
	}
	region.Annotations = map[string]string{v1alpha1.AnnotationRetryLaunches: "2026-11-23T09:00:00Z"}
	if got := census.RetryAfter(region); !got.Equal(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("got %s", got)
	}
	region.Annotations[v1alpha1.AnnotationRetryLaunches] = "now"
	if got := census.RetryAfter(region); !got.IsZero() {
		t.Errorf("of what is no time: got %s", got)
	}
}

func pointers(hosts []v1alpha1.Instance) []*v1alpha1.Instance {
	all := make([]*v1alpha1.Instance, len(hosts))
	for i := range hosts {
		all[i] = &hosts[i]
	}
	return all
}
