// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"crypto/md5" // It is what SQS answers with.
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// sqsOperations are the operations of SQS that exist here.
func sqsOperations() []operation {
	return []operation{
		sqsOperation("CreateQueue", true, createQueue),
		sqsOperation("GetQueueUrl", false, getQueueURL),
		sqsOperation("GetQueueAttributes", false, getQueueAttributes),
		sqsOperation("SendMessage", true, sendMessage),
		sqsOperation("ReceiveMessage", true, receiveMessage),
		sqsOperation("ChangeMessageVisibility", true, changeMessageVisibility),
		sqsOperation("DeleteMessage", true, deleteMessage),
		sqsOperation("DeleteMessageBatch", true, deleteMessageBatch),
	}
}

func sqsOperation[In any](name string, mutating bool, handle func(*call, In) (any, error)) operation {
	op := jsonOperation(serviceSQS, name, mutating, bucketSQS, handle)
	op.access = accessOf(accessQueue)
	return op
}

// queueName is as https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
// has it; there are no FIFO queues here.
var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

type queueURLAnswer struct {
	URL string `json:"QueueUrl"`
}

// createQueue makes a queue, or finds one of that name with the same attributes.
func createQueue(c *call, in struct {
	Name       string            `json:"QueueName"`
	Attributes map[string]string `json:"Attributes"`
}) (any, error) {
	if !queueName.MatchString(in.Name) {
		return nil, sqsInvalid(in.Name, "QueueName",
			"Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	made, err := newQueue(in.Name, in.Attributes)
	if err != nil {
		return nil, err
	}
	existing, ok := c.region.sqs.queues[in.Name]
	if !ok {
		c.region.sqs.queues[in.Name] = made
		return queueURLAnswer{made.url(c)}, nil
	}
	for attribute := range in.Attributes {
		if existing.attributes[attribute] != made.attributes[attribute] {
			return nil, &apiError{Code: "QueueNameExists", QueryCode: "QueueAlreadyExists",
				Message: "A queue already exists with the same name and a different value for attribute " + attribute}
		}
	}
	return queueURLAnswer{existing.url(c)}, nil
}

func getQueueURL(c *call, in struct {
	Name string `json:"QueueName"`
}) (any, error) {
	q, err := c.region.queue(in.Name)
	if err != nil {
		return nil, err
	}
	return queueURLAnswer{q.url(c)}, nil
}

// getQueueAttributes counts the messages and tells the queue's settings:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
func getQueueAttributes(c *call, in struct {
	URL   string   `json:"QueueUrl"`
	Names []string `json:"AttributeNames"`
}) (any, error) {
	q, err := c.region.queueAt(in.URL)
	if err != nil {
		return nil, err
	}
	q.expire(c.now)
	visible, inFlight, delayed := 0, 0, 0
	for _, m := range q.messages {
		switch {
		case !m.visibleAt.After(c.now):
			visible++
		case m.receives > 0:
			inFlight++
		default:
			delayed++
		}
	}
	all := map[string]string{
		"ApproximateNumberOfMessages":           strconv.Itoa(visible),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(delayed),
		"QueueArn":                              "arn:aws:sqs:" + c.region.name + ":" + c.region.account + ":" + q.name,
	}
	for attribute, value := range q.attributes {
		all[attribute] = strconv.Itoa(int(value.Seconds()))
	}
	picked := map[string]string{}
	for name, value := range all {
		if slices.Contains(in.Names, name) || slices.Contains(in.Names, "All") {
			picked[name] = value
		}
	}
	return map[string]any{"Attributes": picked}, nil
}

// maxMessage is from
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const maxMessage = 1 << 20

func sendMessage(c *call, in struct {
	URL   string `json:"QueueUrl"`
	Body  string `json:"MessageBody"`
	Delay *int   `json:"DelaySeconds"`
}) (any, error) {
	q, err := c.region.queueAt(in.URL)
	if err != nil {
		return nil, err
	}
	if in.Body == "" {
		return nil, refuse("MissingParameter", "The request must contain the parameter MessageBody.")
	}
	if len(in.Body) > maxMessage {
		return nil, sqsInvalid(len(in.Body), "MessageBody", "One or more parameters are invalid: message must be shorter than 1048576 bytes.")
	}
	delay, err := seconds(in.Delay, q, attributeDelay)
	if err != nil {
		return nil, err
	}
	m := c.region.send(q, in.Body, delay)
	return map[string]string{"MessageId": m.id, "MD5OfMessageBody": md5Of(m.body)}, nil
}

// seconds is a parameter of a request that overrides the queue's attribute.
func seconds(given *int, q *queue, attribute string) (time.Duration, error) {
	if given == nil {
		return q.attributes[attribute], nil
	}
	bounds := queueAttributes[attribute]
	value := time.Duration(*given) * time.Second
	if value < bounds.least || value > bounds.most {
		return 0, sqsInvalid(*given, attribute, "Must be between "+bounds.least.String()+" and "+bounds.most.String()+".")
	}
	return value, nil
}

type sqsMessage struct {
	ID         string            `json:"MessageId"`
	Receipt    string            `json:"ReceiptHandle"`
	MD5        string            `json:"MD5OfBody"`
	Body       string            `json:"Body"`
	Attributes map[string]string `json:"Attributes,omitempty"`
}

// receiveMessage hands out messages; with none, it waits as long as it was told:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
func receiveMessage(c *call, in struct {
	URL        string   `json:"QueueUrl"`
	Max        *int     `json:"MaxNumberOfMessages"`
	Visibility *int     `json:"VisibilityTimeout"`
	Wait       *int     `json:"WaitTimeSeconds"`
	Names      []string `json:"MessageSystemAttributeNames"`
	OldNames   []string `json:"AttributeNames"`
}) (any, error) {
	q, err := c.region.queueAt(in.URL)
	if err != nil {
		return nil, err
	}
	n := 1
	if in.Max != nil {
		n = *in.Max
	}
	if n < 1 || n > 10 {
		return nil, sqsInvalid(n, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
	}
	visibility, err := seconds(in.Visibility, q, attributeVisibility)
	if err != nil {
		return nil, err
	}
	wait, err := seconds(in.Wait, q, attributeWait)
	if err != nil {
		return nil, err
	}
	if c.deadline.IsZero() {
		c.deadline = c.now.Add(wait)
	}
	q.expire(c.now)
	taken := q.receive(n, c.now, visibility)
	if len(taken) == 0 && c.now.Before(c.deadline) {
		return nil, &notYet{until: q.nextVisible(c.deadline)}
	}
	out := struct {
		Messages []sqsMessage `json:"Messages,omitempty"`
	}{}
	for _, m := range taken {
		out.Messages = append(out.Messages, m.view(append(in.Names, in.OldNames...)))
	}
	return out, nil
}

// view is the message as it is received, with the attributes asked for.
func (m *message) view(attributes []string) sqsMessage {
	v := sqsMessage{ID: m.id, Receipt: m.receipt(), MD5: md5Of(m.body), Body: m.body}
	for name, value := range map[string]string{
		"SentTimestamp":                    strconv.FormatInt(m.sentAt.UnixMilli(), 10),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.firstReceived.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(m.receives),
	} {
		if slices.Contains(attributes, name) || slices.Contains(attributes, "All") {
			if v.Attributes == nil {
				v.Attributes = map[string]string{}
			}
			v.Attributes[name] = value
		}
	}
	return v
}

func md5Of(body string) string {
	sum := md5.Sum([]byte(body)) // It is what SQS answers with.
	return hex.EncodeToString(sum[:])
}

// changeMessageVisibility has a received message visible again after that time,
// counted from now; zero gives it back at once.
func changeMessageVisibility(c *call, in struct {
	URL        string `json:"QueueUrl"`
	Receipt    string `json:"ReceiptHandle"`
	Visibility *int   `json:"VisibilityTimeout"`
}) (any, error) {
	q, err := c.region.queueAt(in.URL)
	if err != nil {
		return nil, err
	}
	visibility, err := seconds(in.Visibility, q, attributeVisibility)
	if err != nil {
		return nil, err
	}
	m, err := q.received(in.Receipt)
	if err != nil {
		return nil, err
	}
	if m == nil || !m.visibleAt.After(c.now) {
		return nil, sqsRefusal("MessageNotInflight", "MessageNotInflight", "The message is not in flight.")
	}
	m.visibleAt = c.now.Add(visibility)
	c.region.wake()
	return struct{}{}, nil
}

func deleteMessage(c *call, in struct {
	URL     string `json:"QueueUrl"`
	Receipt string `json:"ReceiptHandle"`
}) (any, error) {
	q, err := c.region.queueAt(in.URL)
	if err != nil {
		return nil, err
	}
	return struct{}{}, q.remove(in.Receipt)
}

type deleteEntry struct {
	ID      string `json:"Id"`
	Receipt string `json:"ReceiptHandle,omitempty"`
}

type deleteFailure struct {
	ID          string `json:"Id"`
	Code        string `json:"Code"`
	Message     string `json:"Message"`
	SenderFault bool   `json:"SenderFault"`
}

// deleteMessageBatch deletes up to ten messages, each with its own outcome:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessageBatch.html
func deleteMessageBatch(c *call, in struct {
	URL     string        `json:"QueueUrl"`
	Entries []deleteEntry `json:"Entries"`
}) (any, error) {
	q, err := c.region.queueAt(in.URL)
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.Entries) == 0:
		return nil, sqsRefusal("EmptyBatchRequest", "EmptyBatchRequest", "There should be at least one DeleteMessageBatchRequestEntry in the request.")
	case len(in.Entries) > 10:
		return nil, sqsRefusal("TooManyEntriesInBatchRequest", "TooManyEntriesInBatchRequest",
			"Maximum number of entries per request are 10. You have sent %d.", len(in.Entries))
	}
	ids := map[string]bool{}
	for _, e := range in.Entries {
		if ids[e.ID] {
			return nil, sqsRefusal("BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct", "Id %s repeated.", e.ID)
		}
		ids[e.ID] = true
	}
	out := struct {
		Successful []deleteEntry   `json:"Successful"`
		Failed     []deleteFailure `json:"Failed"`
	}{[]deleteEntry{}, []deleteFailure{}}
	for _, e := range in.Entries {
		if err := q.remove(e.Receipt); err != nil {
			refusal := asAPIError(err)
			out.Failed = append(out.Failed, deleteFailure{ID: e.ID, Code: refusal.Code, Message: refusal.Message, SenderFault: true})
			continue
		}
		out.Successful = append(out.Successful, deleteEntry{ID: e.ID})
	}
	return out, nil
}
