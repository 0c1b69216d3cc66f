// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

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

const (
	// patience is how long a session may wait, and a new object be looked at by
	// nobody, before that is a trouble. A warm fleet takes a moment.
	patience = 30 * time.Second
	// memory is how long a session that ended badly is a trouble.
	memory = time.Hour
	// stopPatience is how long a deleted session may take to stop.
	stopPatience = 5 * time.Minute
	// notSeen is the reason of an object that no manager has looked at.
	notSeen = "NotSeen"
)

// Severity is how bad a trouble is.
type Severity string

// The severities.
const (
	// SeverityBroken needs a person.
	SeverityBroken Severity = "broken"
	// SeverityWarning may mend itself, or costs something as long as it is there.
	SeverityWarning Severity = "warning"
)

// Trouble is something that is wrong with one or more objects of a kind.
type Trouble struct {
	Severity Severity `json:"severity"`
	Kind     string   `json:"kind"`
	// Names are the objects, namespaced ones as namespace/name, in order.
	Names []string `json:"names"`
	// Reason and Message are those of the first of them.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Since is when the first of them came to be so.
	Since time.Time `json:"since"`
}

// Next is the command that tells more of it.
func (t Trouble) Next() string {
	namespace, name, namespaced := strings.Cut(t.Names[0], "/")
	if !namespaced {
		return fmt.Sprintf("kubectl mandelbox logs %s/%s", strings.ToLower(t.Kind), t.Names[0])
	}
	return fmt.Sprintf("kubectl mandelbox explain %s -n %s", name, namespace)
}

// kinds are the kinds in the order in which their troubles are told.
var kinds = []string{"Region", "AMI", "Instance", "Mandelbox"}

// troublesOf lists what is wrong, the worst first. Hosts and sessions that share a
// reason are one trouble.
func troublesOf(s Snapshot) []Trouble {
	var all troubles
	for i := range s.Regions {
		all.add("Region", &s.Regions[i], s.Regions[i].Status.ObservedGeneration, s.Now, regionTroubles(&s.Regions[i]))
	}
	for i := range s.AMIs {
		all.add("AMI", &s.AMIs[i], s.AMIs[i].Status.ObservedGeneration, s.Now, amiTroubles(&s.AMIs[i]))
	}
	all.addMissingRegions(s)
	for i := range s.Instances {
		all.add("Instance", &s.Instances[i], s.Instances[i].Status.ObservedGeneration, s.Now, instanceTroubles(&s.Instances[i]))
	}
	for i := range s.Mandelboxes {
		all.add("Mandelbox", &s.Mandelboxes[i], s.Mandelboxes[i].Status.ObservedGeneration, s.Now, mandelboxTroubles(&s.Mandelboxes[i], s.Now))
	}
	return all.sorted()
}

// troubles collects them.
type troubles []Trouble

// found is one trouble of one object.
type found struct {
	severity Severity
	metav1.Condition
}

func broken(c metav1.Condition) found  { return found{SeverityBroken, c} }
func warning(c metav1.Condition) found { return found{SeverityWarning, c} }

// add takes in the troubles of an object. That no manager has looked at it goes
// before all that its status says.
func (t *troubles) add(kind string, o metav1.Object, observed *int64, now time.Time, all []found) {
	created := o.GetCreationTimestamp().Time
	if ptr.Deref(observed, -1) < 0 && now.Sub(created) > patience {
		all = []found{broken(metav1.Condition{Reason: notSeen, LastTransitionTime: metav1.NewTime(created),
			Message: "No manager has looked at it since it was created. See whether one runs: kubectl get pods -n mandelbox-system."})}
	}
	name := o.GetName()
	if o.GetNamespace() != "" {
		name = o.GetNamespace() + "/" + name
	}
	for _, f := range all {
		t.merge(Trouble{Severity: f.severity, Kind: kind, Names: []string{name}, Reason: f.Reason, Message: f.Message, Since: f.LastTransitionTime.Time})
	}
}

// merge adds a trouble, or its object to one of the same kind and reason. Regions
// and AMIs are few, and each has a story of its own.
func (t *troubles) merge(one Trouble) {
	at := -1
	if one.Kind == "Instance" || one.Kind == "Mandelbox" || one.Reason == notSeen {
		at = slices.IndexFunc(*t, func(o Trouble) bool {
			return o.Kind == one.Kind && o.Reason == one.Reason && o.Severity == one.Severity
		})
	}
	if at < 0 {
		*t = append(*t, one)
		return
	}
	same := &(*t)[at]
	same.Names = append(same.Names, one.Names...)
	if one.Since.Before(same.Since) {
		same.Since, same.Message = one.Since, one.Message
	}
}

func (t troubles) sorted() []Trouble {
	for i := range t {
		slices.Sort(t[i].Names)
	}
	slices.SortStableFunc(t, func(a, b Trouble) int {
		return cmp.Or(
			cmp.Compare(a.Severity, b.Severity), // "broken" comes before "warning".
			cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			a.Since.Compare(b.Since), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Names[0], b.Names[0]),
		)
	})
	return append([]Trouble{}, t...)
}

// addMissingRegions adds the Regions that are named by hosts and don't exist.
func (t *troubles) addMissingRegions(s Snapshot) {
	for i := range s.Instances {
		host := &s.Instances[i]
		exists := slices.ContainsFunc(s.Regions, func(r v1alpha1.Region) bool { return r.Name == host.Spec.RegionName })
		told := slices.ContainsFunc(*t, func(o Trouble) bool {
			return o.Kind == "Region" && o.Names[0] == host.Spec.RegionName && o.Reason == v1alpha1.ReasonRegionNotFound
		})
		if !exists && !told {
			t.merge(Trouble{Severity: SeverityBroken, Kind: "Region", Names: []string{host.Spec.RegionName}, Since: host.CreationTimestamp.Time,
				Reason: v1alpha1.ReasonRegionNotFound, Message: "There are hosts in this Region, and no object of its name."})
		}
	}
}

func regionTroubles(r *v1alpha1.Region) []found {
	ready := condition(r.Status.Conditions, v1alpha1.ConditionReady)
	switch stalled := condition(r.Status.Conditions, v1alpha1.ConditionStalled); {
	case stalled.Status == metav1.ConditionTrue:
		return []found{broken(stalled)}
	case ready.Reason == v1alpha1.ReasonMaxInstancesReached, ready.Reason == v1alpha1.ReasonEventsNotReceived:
		return []found{warning(ready)}
	case ready.Status == metav1.ConditionFalse && !underWay(ready.Reason):
		return []found{warning(ready)}
	}
	return nil
}

func amiTroubles(a *v1alpha1.AMI) []found {
	ready := condition(a.Status.Conditions, v1alpha1.ConditionReady)
	rolledOut := condition(a.Status.Conditions, v1alpha1.ConditionRolledOut)
	switch stalled := condition(a.Status.Conditions, v1alpha1.ConditionStalled); {
	case stalled.Status == metav1.ConditionTrue:
		return []found{broken(stalled)}
	case rolledOut.Reason == v1alpha1.ReasonSuspended:
		return []found{warning(rolledOut)}
	case ready.Status == metav1.ConditionFalse && !underWay(ready.Reason):
		return []found{warning(ready)}
	}
	return nil
}

func instanceTroubles(i *v1alpha1.Instance) []found {
	var all []found
	ready := condition(i.Status.Conditions, v1alpha1.ConditionReady)
	switch stalled := condition(i.Status.Conditions, v1alpha1.ConditionStalled); {
	case stalled.Status == metav1.ConditionTrue:
		all = append(all, broken(stalled))
	case ready.Status == metav1.ConditionFalse && !underWay(ready.Reason):
		all = append(all, warning(ready))
	}
	for _, of := range []string{v1alpha1.ConditionHealthy, v1alpha1.ConditionCapacityAsPlanned} {
		if c := condition(i.Status.Conditions, of); c.Status == metav1.ConditionFalse {
			all = append(all, warning(c))
		}
	}
	return all
}

func mandelboxTroubles(m *v1alpha1.Mandelbox, now time.Time) []found {
	finished := condition(m.Status.Conditions, v1alpha1.ConditionFinished)
	stalled := condition(m.Status.Conditions, v1alpha1.ConditionStalled)
	isStalled := stalled.Status == metav1.ConditionTrue
	switch {
	case m.Finished():
		if ended := m.Status.FinishedTime; isStalled && ended != nil && now.Sub(ended.Time) < memory {
			stalled.LastTransitionTime = *ended
			return []found{warning(stalled)}
		}
	case isStalled:
		return []found{broken(stalled)}
	case waits(m) && now.Sub(m.CreationTimestamp.Time) > patience:
		finished.LastTransitionTime = m.CreationTimestamp
		return []found{warning(finished)}
	case m.DeletionTimestamp != nil && now.Sub(m.DeletionTimestamp.Time) > stopPatience:
		return []found{warning(metav1.Condition{Reason: v1alpha1.ReasonStopping, LastTransitionTime: *m.DeletionTimestamp,
			Message: "Deleted, and its task was not seen stopped yet."})}
	}
	return nil
}

// underWay says whether a reason for not being ready is one of those that an
// object goes through when all is well.
func underWay(reason string) bool {
	switch reason {
	case v1alpha1.ReasonScalingUp, v1alpha1.ReasonRollingOut, v1alpha1.ReasonDeleting, v1alpha1.ReasonObserving,
		v1alpha1.ReasonLaunching, v1alpha1.ReasonRegistering, v1alpha1.ReasonWarming, v1alpha1.ReasonProgressing,
		v1alpha1.ReasonDraining, v1alpha1.ReasonTerminating:
		return true
	}
	return false
}
