// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// eventQueue is an SQS queue that rules of EventBridge send the region's events to.
type eventQueue struct {
	target cloud.Target
	sqs    *sqs.Client
}

var _ cloud.EventQueue = (*eventQueue)(nil)

// Receive polls the queue, long if it is to wait, and reads the events.
func (q *eventQueue) Receive(ctx context.Context, wait time.Duration) ([]cloud.EventMessage, error) {
	out, err := q.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:            awssdk.String(q.target.EventQueueURL),
		MaxNumberOfMessages: cloud.ReceiveBatch,
		WaitTimeSeconds:     int32(wait.Seconds()),
	})
	if err != nil {
		return nil, wrap("ReceiveMessage", err)
	}
	messages := make([]cloud.EventMessage, 0, len(out.Messages))
	for _, m := range out.Messages {
		messages = append(messages, cloud.EventMessage{
			Receipt: awssdk.ToString(m.ReceiptHandle), Event: readEvent(q.target, awssdk.ToString(m.Body)),
		})
	}
	return messages, nil
}

// deleteBatch is how many messages one call deletes.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessageBatch.html.
const deleteBatch = 10

// Delete deletes in full batches. A batch can succeed as a call and still fail for
// some of its messages.
func (q *eventQueue) Delete(ctx context.Context, receipts []string) error {
	for batch := range slices.Chunk(receipts, deleteBatch) {
		entries := make([]types.DeleteMessageBatchRequestEntry, 0, len(batch))
		for n, receipt := range batch {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{
				Id: awssdk.String(strconv.Itoa(n)), ReceiptHandle: awssdk.String(receipt),
			})
		}
		out, err := q.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{
			QueueUrl: awssdk.String(q.target.EventQueueURL), Entries: entries,
		})
		if err != nil {
			return wrap("DeleteMessageBatch", err)
		}
		if len(out.Failed) > 0 {
			first := out.Failed[0]
			return refused("DeleteMessageBatch", cloud.KindUnknown, awssdk.ToString(first.Code),
				fmt.Sprintf("%d of %d: %s", len(out.Failed), len(batch), awssdk.ToString(first.Message)))
		}
	}
	return nil
}
