// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// standing are the claims that hosts have, and those that are being written, by the
// session's UID. A session that has one for its next attempt gets no other: what it
// lacks is the commit, whatever kept that from being written.
type standing map[types.UID]standingClaim

// standingClaim is one of them.
type standingClaim struct {
	v1alpha1.Claim
	host string
	// written says that the host is known to have it.
	written bool
}

// of returns the claim that a session has for an attempt.
func (s standing) of(uid types.UID, attempt int32) (standingClaim, bool) {
	c, ok := s[uid]
	return c, ok && c.Attempt == attempt
}

// begin notes that a claim is about to be written.
func (s standing) begin(host string, c v1alpha1.Claim) {
	s[types.UID(c.UID)] = standingClaim{Claim: c, host: host}
}

// unwritten takes back what begin noted.
func (s standing) unwritten(host string, c v1alpha1.Claim) {
	if known, ok := s[types.UID(c.UID)]; ok && !known.written && known.host == host && known.Claim == c {
		delete(s, types.UID(c.UID))
	}
}

// observe takes in that a version of a host follows another; either may be nil.
func (s standing) observe(before, after *v1alpha1.Instance) {
	if before != nil {
		for _, c := range before.Status.Claims {
			if known := s[types.UID(c.UID)]; known.written && known.host == before.Name && known.Claim == c {
				delete(s, types.UID(c.UID))
			}
		}
	}
	if after != nil {
		for _, c := range after.Status.Claims {
			if s[types.UID(c.UID)].Attempt <= c.Attempt {
				s[types.UID(c.UID)] = standingClaim{Claim: c, host: after.Name, written: true}
			}
		}
	}
}
