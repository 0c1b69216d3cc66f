// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Host is an Instance with its slots.
type Host struct {
	Name     string `json:"name"`
	Region   string `json:"region"`
	Channel  string `json:"channel"`
	Revision string `json:"revision"`
	// Release says how the host's release stands: active, coming, replaced or gone.
	Release Release `json:"release"`
	// Phase is that of the Instance, "New" before it has any.
	Phase string `json:"phase"`
	State State  `json:"state"`
	// Reason and Message are those of the condition Ready, or of Stalled.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Open says that the host takes new sessions.
	Open       bool      `json:"open"`
	Type       string    `json:"type,omitempty"`
	InstanceID string    `json:"instanceID,omitempty"`
	Zone       string    `json:"zone,omitempty"`
	IP         string    `json:"ip,omitempty"`
	Created    time.Time `json:"created"`
	// Slots are in their order; there are none before the host has registered.
	Slots []Slot `json:"slots"`
}

// Release is how a release stands in a region.
type Release string

// The ways a release may stand.
const (
	// ReleaseActive is the one that sessions get.
	ReleaseActive Release = "active"
	// ReleaseComing warms, or failed to.
	ReleaseComing Release = "coming"
	// ReleaseReplaced was active once.
	ReleaseReplaced Release = "replaced"
	// ReleaseGone is in no AMI any more.
	ReleaseGone Release = "gone"
)

// SlotState is what a slot is doing.
type SlotState string

// The states of a slot.
const (
	// SlotFree could be given to a session now.
	SlotFree SlotState = "free"
	// SlotClosed is free on a host that takes no new session.
	SlotClosed SlotState = "closed"
	// SlotReserved is claimed for a session that is not there, not yet committed to
	// it, or was committed elsewhere.
	SlotReserved SlotState = "reserved"
	// SlotStarting holds a session whose task isn't running yet.
	SlotStarting SlotState = "starting"
	// SlotRunning holds a session that runs.
	SlotRunning SlotState = "running"
	// SlotEnding holds a session that was told to stop, or has ended and whose slot
	// is about to be free.
	SlotEnding SlotState = "ending"
	// SlotTaken is claimed for a session that the reader may not see.
	SlotTaken SlotState = "taken"
)

// Slot is one slot of a host.
type Slot struct {
	Number int32     `json:"number"`
	State  SlotState `json:"state"`
	// Session is the namespace and name of the Mandelbox that claims it, User whose it is.
	Session string `json:"session,omitempty"`
	User    string `json:"user,omitempty"`
	// Since is when the session was running, or was given the slot.
	Since *time.Time `json:"since,omitempty"`
}

func hostOf(i *v1alpha1.Instance, ami *v1alpha1.AMI, sessions map[string]*v1alpha1.Mandelbox, namespace string) Host {
	why := readyOrStalled(i.Status.Conditions)
	h := Host{
		Name: i.Name, Region: i.Spec.RegionName, Channel: i.Spec.AMIName, Revision: i.Spec.Revision,
		Release: releaseOf(i, ami), Phase: phaseOf(i), Open: i.Open(),
		State: stateOf(i, i.Status.ObservedGeneration, i.Status.Conditions), Reason: why.Reason, Message: why.Message,
		Type: i.Status.InstanceType, InstanceID: i.Status.InstanceID, Zone: i.Status.AvailabilityZone, IP: i.IP(),
		Created: i.CreationTimestamp.Time, Slots: make([]Slot, i.Slots()),
	}
	for n := range h.Slots {
		h.Slots[n] = Slot{Number: int32(n), State: SlotClosed}
		if h.Open {
			h.Slots[n].State = SlotFree
		}
	}
	for _, c := range i.Status.Claims {
		slot := slotOf(i, c, sessions[c.UID], namespace)
		if int(c.Slot) < len(h.Slots) {
			h.Slots[c.Slot] = slot
		} else {
			h.Slots = append(h.Slots, slot) // Less room was registered than there once was.
		}
	}
	return h
}

// phaseOf is the phase of a host, as its spec will soon have it: one that was told
// to drain takes no session from that moment.
func phaseOf(i *v1alpha1.Instance) string {
	if i.Status.Phase == v1alpha1.InstanceActive && i.Leaving() {
		return string(v1alpha1.InstanceDraining)
	}
	return cmp.Or(string(i.Status.Phase), "New")
}

func slotOf(i *v1alpha1.Instance, c v1alpha1.Claim, m *v1alpha1.Mandelbox, namespace string) Slot {
	slot := Slot{Number: c.Slot, State: SlotReserved, Session: c.Namespace + "/" + c.Name}
	if m == nil {
		if namespace != "" && namespace != c.Namespace {
			slot.State = SlotTaken
		}
		return slot
	}
	slot.User = m.Spec.UserID
	if m.Status.InstanceName != i.Name || m.Status.Attempt != c.Attempt {
		return slot
	}
	switch m.Status.Phase {
	case v1alpha1.MandelboxRunning:
		slot.State, slot.Since = SlotRunning, timeOf(m.Status.RunningTime)
	case v1alpha1.MandelboxDying, v1alpha1.MandelboxFinished:
		slot.State, slot.Since = SlotEnding, timeOf(m.Status.FinishedTime)
	default:
		slot.State, slot.Since = SlotStarting, timeOf(m.Status.AssignedTime)
	}
	return slot
}

func releaseOf(i *v1alpha1.Instance, ami *v1alpha1.AMI) Release {
	if ami == nil {
		return ReleaseGone
	}
	if row := ami.ActiveRow(i.Spec.RegionName); row != nil && row.ID == i.Spec.Revision {
		return ReleaseActive
	}
	release := ReleaseGone
	for j := range ami.Status.Revisions {
		revision := &ami.Status.Revisions[j]
		if row := revision.Row(i.Spec.RegionName); row == nil || row.ID != i.Spec.Revision {
			continue
		}
		if !ami.Superseded(revision, i.Spec.RegionName) {
			return ReleaseComing
		}
		release = ReleaseReplaced
	}
	return release
}

// readyOrStalled is the condition that says best how an object is.
func readyOrStalled(conditions []metav1.Condition) metav1.Condition {
	if stalled := condition(conditions, v1alpha1.ConditionStalled); stalled.Status == metav1.ConditionTrue {
		return stalled
	}
	return condition(conditions, v1alpha1.ConditionReady)
}

func timeOf(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return &t.Time
}
