// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Session is a Mandelbox.
type Session struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	User      string `json:"user"`
	SessionID string `json:"sessionID"`
	Wants     string `json:"wants"`
	// Phase is that of the Mandelbox, Pending before it has any.
	Phase string `json:"phase"`
	// Reason and Message say what it does, waits for or ended by.
	Reason   string `json:"reason"`
	Message  string `json:"message,omitempty"`
	Region   string `json:"region,omitempty"`
	Instance string `json:"instance,omitempty"`
	Slot     *int32 `json:"slot,omitempty"`
	// Address is where its first port can be reached.
	Address string    `json:"address,omitempty"`
	Created time.Time `json:"created"`
}

// Sessions are the Mandelboxes, by namespace and name.
func Sessions(all []v1alpha1.Mandelbox) []Session {
	sessions := make([]Session, 0, len(all))
	for i := range all {
		m := &all[i]
		said := told(m)
		sessions = append(sessions, Session{
			Namespace: m.Namespace, Name: m.Name, User: m.Spec.UserID, SessionID: m.Spec.SessionID, Wants: wants(m),
			Phase: phaseOfSession(m), Reason: said.Reason, Message: said.Message,
			Region: m.Status.Region, Instance: m.Status.InstanceName, Slot: m.Status.Slot, Address: addressOf(m),
			Created: m.CreationTimestamp.Time,
		})
	}
	slices.SortFunc(sessions, func(a, b Session) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return sessions
}

func phaseOfSession(m *v1alpha1.Mandelbox) string {
	return cmp.Or(string(m.Status.Phase), string(v1alpha1.MandelboxPending))
}

func addressOf(m *v1alpha1.Mandelbox) string {
	if m.Status.IP == "" || len(m.Status.Ports) == 0 {
		return m.Status.IP
	}
	return net.JoinHostPort(m.Status.IP, strconv.Itoa(int(m.Status.Ports[0].HostPort)))
}
