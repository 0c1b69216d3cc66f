// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package aws carries the policy of the manager's role, so that the local AWS can hold
// the manager to it wherever one is started.
package aws

import _ "embed" // For the policy.

// Policy is what the manager may do in AWS: iam-policy.json. docs/iam.md says what
// each of its statements is for.
//
//go:embed iam-policy.json
var Policy []byte

// What the policy asks of what it lets be used: the tag of the subnets, security groups
// and launch templates that hosts are launched with, and the paths of the roles that
// hosts and tasks are given.
const (
	NetworkTag   = "mandelbox"
	NetworkValue = "hosts"
	HostRolePath = "/mandelbox/hosts/"
	TaskRolePath = "/mandelbox/tasks/"
)
