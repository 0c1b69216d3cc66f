// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import "strings"

// accessQueue is on the queue that a request names by URL or name. An operation on a
// batch takes the action of a single one:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
func accessQueue(c *call, in struct {
	URL  string `json:"QueueUrl"`
	Name string `json:"QueueName"`
}) []access {
	account, name := c.region.account, in.Name
	if parts := strings.Split(strings.TrimSuffix(in.URL, "/"), "/"); len(parts) > 1 {
		name = parts[len(parts)-1]
		if isAccount(parts[len(parts)-2]) {
			account = parts[len(parts)-2]
		}
	}
	return []access{{
		action:   "sqs:" + strings.TrimSuffix(c.operation.name, "Batch"),
		resource: "arn:aws:sqs:" + c.region.name + ":" + account + ":" + name,
	}}
}
