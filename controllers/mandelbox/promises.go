// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"slices"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// promises are the slots that were given to sessions and whose claims the cache may
// not show yet, by the names of their hosts. Who counts free slots by the cache must
// leave these out, or thinks the fleet has more room than it has.
type promises map[string][]promise

// promise is one of them.
type promise struct {
	placement.Promise
	// version is that of the Instance which has the claim first; empty until written.
	version string
}

func (p promises) add(host string, c v1alpha1.Claim) {
	p[host] = append(p[host], promise{Promise: placement.Promise{UID: c.UID, Attempt: c.Attempt}})
}

// written notes that claims were written on this version of their host.
func (p promises) written(i *v1alpha1.Instance, claims []pendingClaim) {
	for at := range p[i.Name] {
		of := &p[i.Name][at]
		if slices.ContainsFunc(claims, func(c pendingClaim) bool { return c.UID == of.UID && c.Attempt == of.Attempt }) {
			of.version = i.ResourceVersion
		}
	}
}

// unwritten takes back what was promised of a host, because it was not written.
func (p promises) unwritten(host string, claims []pendingClaim) {
	p.drop(host, func(of promise) bool {
		return slices.ContainsFunc(claims, func(c pendingClaim) bool { return c.UID == of.UID && c.Attempt == of.Attempt })
	})
}

// seen takes in that the cache has this version of a host.
func (p promises) seen(i *v1alpha1.Instance) {
	p.drop(i.Name, func(of promise) bool {
		return of.version != "" && atLeast(i.ResourceVersion, of.version) || i.Holds(of.UID, of.Attempt)
	})
}

func (p promises) drop(host string, which func(promise) bool) {
	if left := slices.DeleteFunc(p[host], which); len(left) > 0 {
		p[host] = left
	} else {
		delete(p, host)
	}
}

// of are the promises made of some hosts.
func (p promises) of(included func(host string) bool) map[string][]placement.Promise {
	promised := map[string][]placement.Promise{}
	for host, all := range p {
		if !included(host) {
			continue
		}
		for _, one := range all {
			promised[host] = append(promised[host], one.Promise)
		}
	}
	return promised
}
