// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package view turns the objects of the four kinds into what a person is shown
// of the fleet: what is wrong, the regions with their hosts and slots, the channels
// and their rollouts, and the queue. Text, tree and dashboard show the same Fleet.
//
// The package is pure: a Snapshot goes in, a Fleet comes out. It knows neither how
// objects are read nor what a terminal or a page looks like, and it leaves out what
// nobody needs to see to run a fleet: no environment, no user data.
package view

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Snapshot is all objects at one moment.
type Snapshot struct {
	Regions     []v1alpha1.Region
	AMIs        []v1alpha1.AMI
	Instances   []v1alpha1.Instance
	Mandelboxes []v1alpha1.Mandelbox
	// Namespace is the one that Mandelboxes were read of; empty if of all.
	Namespace string
	// Now is the moment.
	Now time.Time
}

// Fleet is what a person is shown.
type Fleet struct {
	// Namespace is the one whose sessions are known; empty if all are.
	Namespace string `json:"namespace,omitempty"`
	// Totals are over all regions.
	Totals Totals `json:"totals"`
	// Troubles are what is wrong, the worst first.
	Troubles []Trouble `json:"troubles"`
	// Regions are in the order of their names.
	Regions []Region `json:"regions"`
	// Channels are in the order of their names.
	Channels []Channel `json:"channels"`
	// Queue are the sessions that wait for a slot, the longest first.
	Queue []Waiting `json:"queue"`
}

// Totals counts hosts, slots and sessions.
type Totals struct {
	// Hosts is the number of hosts, ActiveHosts of those that take sessions.
	Hosts       int `json:"hosts"`
	ActiveHosts int `json:"activeHosts"`
	// Slots is the number of slots of all hosts; Claimed and Free are those taken
	// and those that a session could get now.
	Slots   int `json:"slots"`
	Claimed int `json:"claimed"`
	Free    int `json:"free"`
	// Running and Waiting count sessions.
	Running int `json:"running"`
	Waiting int `json:"waiting"`
}

// add counts a host.
func (t *Totals) add(h *Host) {
	t.Hosts++
	if h.Open {
		t.ActiveHosts++
	}
	t.Slots += len(h.Slots)
	for _, s := range h.Slots {
		switch s.State {
		case SlotFree:
			t.Free++
		case SlotClosed:
		default:
			t.Claimed++
		}
	}
}

// Of is the fleet of a snapshot.
func Of(s Snapshot) *Fleet {
	sessions := make(map[string]*v1alpha1.Mandelbox, len(s.Mandelboxes))
	f := &Fleet{Namespace: s.Namespace, Queue: queueOf(s)}
	for i := range s.Mandelboxes {
		m := &s.Mandelboxes[i]
		sessions[string(m.UID)] = m
		if m.Status.Phase == v1alpha1.MandelboxRunning {
			f.Totals.Running++
		}
	}
	f.Totals.Waiting = len(f.Queue)
	f.Regions = regionsOf(s, sessions)
	for i := range f.Regions {
		r := &f.Regions[i]
		for j := range r.Channels {
			for k := range r.Channels[j].Hosts {
				h := &r.Channels[j].Hosts[k]
				r.Totals.add(h)
				f.Totals.add(h)
			}
		}
	}
	f.Channels = channelsOf(s)
	f.Troubles = troublesOf(s)
	return f
}

// Waiting is a session that waits for a slot.
type Waiting struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	User      string `json:"user"`
	// Wants is the channel or the commit hash that it asks for, Regions are where.
	Wants   string   `json:"wants"`
	Regions []string `json:"regions"`
	// Reason and Message are what the operator says it waits for.
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`
}

func queueOf(s Snapshot) []Waiting {
	queue := []Waiting{}
	for i := range s.Mandelboxes {
		m := &s.Mandelboxes[i]
		if !waits(m) {
			continue
		}
		why := condition(m.Status.Conditions, v1alpha1.ConditionAssigned)
		queue = append(queue, Waiting{
			Namespace: m.Namespace, Name: m.Name, User: m.Spec.UserID,
			Wants: wants(m), Regions: m.Spec.Regions, Reason: cmp.Or(why.Reason, notSeen), Message: why.Message,
			Since: m.CreationTimestamp.Time,
		})
	}
	slices.SortFunc(queue, func(a, b Waiting) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return queue
}

// waits says whether a session waits for a slot.
func waits(m *v1alpha1.Mandelbox) bool {
	return m.DeletionTimestamp.IsZero() && (m.Status.Phase == "" || m.Status.Phase == v1alpha1.MandelboxPending)
}

// wants is what a session asks for, in a word.
func wants(m *v1alpha1.Mandelbox) string {
	return cmp.Or(m.Spec.AMIName, m.Spec.ClientCommitHash)
}

// condition is the condition of a type, or one without anything.
func condition(conditions []metav1.Condition, of string) metav1.Condition {
	return ptr.Deref(meta.FindStatusCondition(conditions, of), metav1.Condition{})
}

// stateOf sums the conditions of an object up as kstatus does, in a word.
func stateOf(object metav1.Object, observed *int64, conditions []metav1.Condition) State {
	switch {
	case object.GetDeletionTimestamp() != nil:
		return StateLeaving
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled):
		return StateStalled
	case ptr.Deref(observed, -1) != object.GetGeneration():
		return StateWorking
	case meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady):
		return StateReady
	}
	return StateWorking
}

// State is how an object is, in a word.
type State string

// The states of objects.
const (
	// StateReady does what its spec asks for.
	StateReady State = "Ready"
	// StateWorking is being worked on, or waits for what comes by itself.
	StateWorking State = "Working"
	// StateStalled needs a person.
	StateStalled State = "Stalled"
	// StateLeaving is being deleted.
	StateLeaving State = "Leaving"
)
