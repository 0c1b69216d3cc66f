// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"context"
	"net/url"
	"time"
)

// The services this server speaks for, by the name in the credential scope.
const (
	serviceEC2 = "ec2"
	serviceECS = "ecs"
	serviceSQS = "sqs"
	serviceSTS = "sts"
)

// operation is one row of the table of everything this server can do.
type operation struct {
	service, name string
	// mutating says whether the operation changes state.
	mutating bool
	// bucket is the token bucket that each request takes one token from.
	bucket bucketName
	// resources, if set, is charged besides: the bucket and how many of its
	// tokens the call takes.
	resources func(c *call) (bucketName, int)
	// access, if set, says what the call must be allowed to do; without it, that is the
	// operation's own action on every resource. The region is locked.
	access func(c *call) ([]access, error)
	// handle has the operation's effect, with the region locked. What it returns
	// is rendered before the lock is given back. A notYet has it called again.
	handle func(c *call) (any, error)
}

// call is one request on its way through the server.
type call struct {
	ctx       context.Context
	operation operation
	region    *region
	// now is when the operation has its effect.
	now time.Time
	// form holds the parameters of the Query protocol (EC2, STS).
	form url.Values
	// body holds the JSON document of ECS and SQS.
	body []byte
	// host is where the request was sent to, and deadline is until when an operation
	// that waits for something may wait; zero before it has said so.
	host      string
	deadline  time.Time
	requestID string
	accessKey string
	// caller is the request's user agent.
	caller string
	// authorized says that the policy allowed the call, if there is one.
	authorized bool
}

// operationKey finds an operation.
type operationKey struct{ service, name string }

// operationTable is every operation by service and name.
type operationTable map[operationKey]operation

func newOperationTable() operationTable {
	table := operationTable{}
	for _, list := range [][]operation{ec2Operations(), stsOperations(), ecsOperations(), sqsOperations()} {
		for _, op := range list {
			table[operationKey{op.service, op.name}] = op
		}
	}
	return table
}
