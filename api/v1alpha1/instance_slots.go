// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"slices"
	"strconv"
)

// Draining says whether a person, or the operator, asked the host to leave.
func (i *Instance) Draining() bool { return i.Spec.Drain != nil && *i.Spec.Drain }

// Leaving says whether the host must take no new session: it is to drain, or
// its object is being deleted.
func (i *Instance) Leaving() bool { return i.Draining() || !i.DeletionTimestamp.IsZero() }

// Open says whether the host takes new sessions.
func (i *Instance) Open() bool {
	return i.Status.Phase == InstanceActive && !i.Leaving()
}

// Slots is how many Mandelboxes the host has room for; 0 until it registered.
func (i *Instance) Slots() int32 {
	if i.Status.Capacity == nil {
		return 0
	}
	return *i.Status.Capacity
}

// FreeSlots is how many slots of an open host have no claim.
func (i *Instance) FreeSlots() int32 {
	if !i.Open() {
		return 0
	}
	return max(0, i.Slots()-int32(len(i.Status.Claims)))
}

// ClaimOf returns the claim that the Mandelbox with that uid holds, or nil.
func (i *Instance) ClaimOf(uid string) *Claim {
	at := slices.IndexFunc(i.Status.Claims, func(c Claim) bool { return c.UID == uid })
	if at < 0 {
		return nil
	}
	return &i.Status.Claims[at]
}

// Holds says whether the host shows the claim of that attempt of the Mandelbox with
// that uid.
func (i *Instance) Holds(uid string, attempt int32) bool {
	return slices.ContainsFunc(i.Status.Claims, func(c Claim) bool { return c.UID == uid && c.Attempt == attempt })
}

// LaunchKey names a launched host before its EC2 id is known: the client token
// of its call and its place in it. Empty before the intent was written.
func (i *Instance) LaunchKey() string {
	if i.Status.Launch == nil {
		return ""
	}
	return LaunchKey(i.Status.Launch.Token, i.Status.Launch.Index)
}

// LaunchKey joins a client token and a launch index.
func LaunchKey(token string, index int32) string {
	return token + "/" + strconv.Itoa(int(index))
}

// IP is the address that users reach the host at: the public one where it has one.
func (i *Instance) IP() string {
	if i.Status.PublicIP != "" {
		return i.Status.PublicIP
	}
	return i.Status.PrivateIP
}

// Finished says whether the session is over.
func (m *Mandelbox) Finished() bool { return m.Status.Phase == MandelboxFinished }

// Committed says whether the session holds a slot.
func (m *Mandelbox) Committed() bool { return m.Status.InstanceName != "" && m.Status.Slot != nil }

// Closed says whether this version of the object has a phase in which the API
// server accepts no new claim, for a host that is leaving.
func (i *Instance) Closed() bool {
	return i.Status.Phase == InstanceDraining || i.Status.Phase == InstanceTerminating
}
