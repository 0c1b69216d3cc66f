// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

// ChangeKind says what sort of thing changed.
type ChangeKind string

// The kinds of changes.
const (
	// HostChanged is a host, or the container host on it, that appeared, changed
	// or went. Token, Index and InstanceID are set.
	HostChanged ChangeKind = "Host"
	// TaskChanged is a task that appeared, changed or went. TaskARN, StartedBy
	// and, once it is known, InstanceID are set.
	TaskChanged ChangeKind = "Task"
	// CatalogChanged is a new answer to what was wanted of the catalogue.
	CatalogChanged ChangeKind = "Catalog"
	// SyncedChanged is a change in how far the observer can be relied on: what it
	// has listed for the first time, whether absence means gone, or whether its
	// calls fail.
	SyncedChanged ChangeKind = "Synced"
)

// Change is something in a region that a reconciler could care for.
type Change struct {
	Kind       ChangeKind
	Token      string
	Index      int32
	InstanceID string
	TaskARN    string
	StartedBy  string
}

// Presence says what is known of whether something exists.
type Presence int

// The presences.
const (
	// Unknown was not seen, but may exist: nothing was listed yet, or its absence
	// may be a read that lags behind.
	Unknown Presence = iota
	// Present was seen, or told of by the call that made it. A terminated host is
	// Present, with that state, as long as EC2 lists it.
	Present
	// Gone was missing from a full listing that began so long after it was last
	// seen that reads had caught up. For a host that nobody ever saw it only says
	// that there is none such: a launch whose answer was lost is asked again under
	// its token, never given up for this.
	Gone
)

// String names the presence.
func (p Presence) String() string {
	switch p {
	case Present:
		return "Present"
	case Gone:
		return "Gone"
	case Unknown:
	}
	return "Unknown"
}
