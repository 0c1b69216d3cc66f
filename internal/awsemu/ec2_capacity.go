// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import "math"

// Capacity bounds how many more hosts of a type a zone has room for.
type Capacity struct {
	// Account whose view this is. Default: DefaultAccount.
	Account string `json:"account,omitempty"`
	// Region it holds in; required.
	Region string `json:"region"`
	// InstanceType and Zone are shell patterns such as g4dn.*; empty means all.
	InstanceType string `json:"instanceType,omitempty"`
	Zone         string `json:"zone,omitempty"`
	// Available is how many more hosts can be launched. It counts down with each
	// launch and doesn't rise with a termination. A negative number lifts the
	// bound of the same type and zone.
	Available int `json:"available"`
}

// SetCapacity bounds, or no longer bounds, what can be launched.
func (s *Server) SetCapacity(bound Capacity) {
	r := s.region(scope{account: bound.Account, region: bound.Region})
	r.lock()
	defer r.unlock()
	kept := r.ec2.capacity[:0]
	for _, other := range r.ec2.capacity {
		if other.InstanceType != bound.InstanceType || other.Zone != bound.Zone {
			kept = append(kept, other)
		}
	}
	if bound.Available >= 0 {
		kept = append(kept, &bound)
	}
	r.ec2.capacity = kept
}

func (b *Capacity) covers(instanceType, zone string) bool {
	return globMatch(b.InstanceType, instanceType) && globMatch(b.Zone, zone)
}

// available is how many hosts of a type a zone has left.
func (s *ec2State) available(instanceType, zone string) int {
	left := math.MaxInt
	for _, b := range s.capacity {
		if b.covers(instanceType, zone) {
			left = min(left, b.Available)
		}
	}
	return left
}

// consume takes hosts out of what is left.
func (s *ec2State) consume(instanceType, zone string, n int) {
	for _, b := range s.capacity {
		if b.covers(instanceType, zone) {
			b.Available -= n
		}
	}
}

// insufficientCapacity is one of EC2's server errors:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#api-error-codes-table-server
func insufficientCapacity(instanceType, zone string) *apiError {
	e := refuse("InsufficientInstanceCapacity",
		"We currently do not have sufficient %s capacity in the Availability Zone you requested (%s). "+
			"Our system will be working on provisioning additional capacity.", instanceType, zone)
	e.Status = 500
	return e
}
