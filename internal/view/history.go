// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Entry is something that happened to an object.
type Entry struct {
	Time time.Time `json:"time"`
	// Object is the kind and name of the object.
	Object string `json:"object"`
	// Source says where the entry is from: Normal or Warning for an Event, Status for
	// what the object's status tells.
	Source  string `json:"source"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Count is how often it happened up to that time.
	Count int32 `json:"count"`
}

// StatusSource is the source of what an object's status tells. There is no Event on
// a session's happy path, so that the status is all there is to tell of it.
const StatusSource = "Status"

// History puts what happened to objects of the four kinds into the order of time:
// their Events, and what their status tells.
func History(objects []metav1.Object, events []corev1.Event) []Entry {
	var entries []Entry
	for _, o := range objects {
		entries = append(entries, momentsOf(o)...)
	}
	for i := range events {
		e := &events[i]
		entries = append(entries, Entry{
			Time: eventTime(e), Object: e.InvolvedObject.Kind + " " + NameOf(e.InvolvedObject.Namespace, e.InvolvedObject.Name),
			Source: e.Type, Reason: e.Reason, Message: e.Message, Count: eventCount(e),
		})
	}
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Object, b.Object))
	})
	return entries
}

// NameOf is a name with its namespace, if it has one.
func NameOf(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// momentsOf is what the status of an object of one of the four kinds tells of its past.
func momentsOf(o metav1.Object) []Entry {
	var kind string
	var conditions []metav1.Condition
	moments := map[string]*metav1.Time{"Created": ptr.To(o.GetCreationTimestamp()), "Deleted": o.GetDeletionTimestamp()}
	switch o := o.(type) {
	case *v1alpha1.Region:
		kind, conditions = "Region", o.Status.Conditions
		if d := o.Status.Decision; d != nil {
			moments[fmt.Sprintf("ScalingDecision %d", d.Number)] = &d.Time
		}
	case *v1alpha1.AMI:
		kind, conditions = "AMI", o.Status.Conditions
		for i := range o.Status.Revisions {
			r := &o.Status.Revisions[i]
			moments[fmt.Sprintf("Revision %s (%s) %s", r.Name, r.ClientCommitHash, r.State)] = &r.Time
		}
	case *v1alpha1.Instance:
		kind, conditions = "Instance", o.Status.Conditions
		moments["Launched"], moments["Active"] = o.Status.LaunchedTime, o.Status.ActiveTime
	case *v1alpha1.Mandelbox:
		kind, conditions = "Mandelbox", o.Status.Conditions
		moments["Assigned"], moments["Running"], moments["Finished"] = o.Status.AssignedTime, o.Status.RunningTime, o.Status.FinishedTime
	}
	name := kind + " " + NameOf(o.GetNamespace(), o.GetName())
	var entries []Entry
	for what, at := range moments {
		if at != nil {
			entries = append(entries, Entry{Time: at.Time, Object: name, Source: StatusSource, Reason: what, Count: 1})
		}
	}
	for _, c := range conditions {
		entries = append(entries, Entry{
			Time: c.LastTransitionTime.Time, Object: name, Source: StatusSource,
			Reason: fmt.Sprintf("%s=%s", c.Type, c.Status), Message: c.Reason + ": " + c.Message, Count: 1,
		})
	}
	// What happened in the same second is told in a fixed order.
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Reason, b.Reason)) })
	return entries
}

// eventTime is when an Event happened last, whichever API it was written by.
func eventTime(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

func eventCount(e *corev1.Event) int32 {
	if e.Series != nil {
		return e.Series.Count
	}
	return max(1, e.Count)
}
