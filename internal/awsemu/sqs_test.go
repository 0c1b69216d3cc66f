// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/gomega"
)

// sqsFixture adds a client of SQS, and a queue.
type sqsFixture struct {
	*ec2Fixture
	sqs *sqs.Client
	url *string
}

func newSQSFixture(t *testing.T) *sqsFixture {
	t.Helper()
	f := &sqsFixture{ec2Fixture: newEC2Fixture(t)}
	f.sqs = f.sqsClient("test", testRegion)
	f.url = f.create("events", nil)
	return f
}

func (f *ec2Fixture) sqsClient(accessKey, region string) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: region, BaseEndpoint: aws.String(f.endpoint), Retryer: aws.NopRetryer{}, HTTPClient: steadyClient{},
		Credentials: credentialsOf(accessKey),
	})
}

func (f *sqsFixture) create(name string, attributes map[string]string) *string {
	made, err := f.sqs.CreateQueue(f.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	f.Expect(err).NotTo(HaveOccurred())
	return made.QueueUrl
}

func (f *sqsFixture) send(body string) {
	_, err := f.sqs.SendMessage(f.ctx, &sqs.SendMessageInput{QueueUrl: f.url, MessageBody: &body})
	f.Expect(err).NotTo(HaveOccurred())
}

// receive takes up to ten messages without waiting for any.
func (f *sqsFixture) receive() []types.Message {
	out, err := f.sqs.ReceiveMessage(f.ctx, &sqs.ReceiveMessageInput{
		QueueUrl: f.url, MaxNumberOfMessages: 10, WaitTimeSeconds: 0,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	f.Expect(err).NotTo(HaveOccurred())
	return out.Messages
}

// poll takes a message in the background, waiting for it.
func (f *sqsFixture) poll(ctx context.Context, seconds int32) <-chan []types.Message {
	received := make(chan []types.Message, 1)
	go func() {
		defer close(received)
		out, err := f.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: f.url, WaitTimeSeconds: seconds})
		if err == nil {
			received <- out.Messages
		}
	}()
	return received
}

func (f *sqsFixture) count(name types.QueueAttributeName) string {
	out, err := f.sqs.GetQueueAttributes(f.ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: f.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	f.Expect(err).NotTo(HaveOccurred())
	return out.Attributes[string(name)]
}

func bodies(messages []types.Message) []string {
	list := []string{}
	for _, m := range messages {
		list = append(list, *m.Body)
	}
	return list
}

func TestSQSFindsQueuesByName(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	found, err := f.sqs.GetQueueUrl(f.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("events")})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(*found.QueueUrl).To(Equal(f.endpoint + "/" + DefaultAccount + "/events"))
	f.Expect(*f.create("events", nil)).To(Equal(*found.QueueUrl), "one of the same attributes is found")
	f.Expect(f.count(types.QueueAttributeNameQueueArn)).To(Equal("arn:aws:sqs:" + testRegion + ":" + DefaultAccount + ":events"))
}

func TestSQSHandsOutWhatIsNotDeletedAgain(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	f.send("one")
	f.send("two")
	first := f.receive()
	f.Expect(bodies(first)).To(Equal([]string{"one", "two"}))
	f.Expect(f.receive()).To(BeEmpty(), "what was received is invisible")
	f.Expect(f.count(types.QueueAttributeNameApproximateNumberOfMessages)).To(Equal("0"))
	f.Expect(f.count(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)).To(Equal("2"))

	_, err := f.sqs.DeleteMessage(f.ctx, &sqs.DeleteMessageInput{QueueUrl: f.url, ReceiptHandle: first[0].ReceiptHandle})
	f.Expect(err).NotTo(HaveOccurred())
	f.clock.Step(30 * time.Second)
	again := f.receive()
	f.Expect(bodies(again)).To(Equal([]string{"two"}))
	f.Expect(again[0].Attributes).To(HaveKeyWithValue("ApproximateReceiveCount", "2"))

	// A receipt from before the last reception deletes nothing.
	_, err = f.sqs.DeleteMessage(f.ctx, &sqs.DeleteMessageInput{QueueUrl: f.url, ReceiptHandle: first[1].ReceiptHandle})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(f.count(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)).To(Equal("1"))

	_, err = f.sqs.ChangeMessageVisibility(f.ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: f.url, ReceiptHandle: again[0].ReceiptHandle, VisibilityTimeout: 0,
	})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(bodies(f.receive())).To(Equal([]string{"two"}))
}

func TestSQSDeletesInBatches(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	f.send("one")
	f.send("two")
	var entries []types.DeleteMessageBatchRequestEntry
	for _, m := range f.receive() {
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: m.Body, ReceiptHandle: m.ReceiptHandle})
	}
	entries[1].ReceiptHandle = aws.String("nonsense")
	out, err := f.sqs.DeleteMessageBatch(f.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: f.url, Entries: entries})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(out.Successful).To(HaveLen(1))
	f.Expect(*out.Successful[0].Id).To(Equal("one"))
	f.Expect(out.Failed).To(HaveLen(1))
	f.Expect(*out.Failed[0].Code).To(Equal("ReceiptHandleIsInvalid"))
	f.Expect(f.count(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)).To(Equal("1"))
}

func TestSQSWaitsForAMessage(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	received := f.poll(f.ctx, 20)
	f.Eventually(f.clock.HasWaiters).Should(BeTrue())
	f.Consistently(received, "30ms").ShouldNot(Receive())
	f.send("now")
	f.Eventually(received).Should(Receive(WithTransform(bodies, Equal([]string{"now"}))))

	received = f.poll(f.ctx, 20)
	f.Eventually(f.clock.HasWaiters).Should(BeTrue())
	f.clock.Step(20 * time.Second)
	f.Eventually(received).Should(Receive(BeEmpty()))
}

func TestSQSWaitsForAMessageToBecomeVisible(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	f.url = f.create("impatient", map[string]string{"VisibilityTimeout": "2"})
	f.send("again")
	f.Expect(f.receive()).To(HaveLen(1))
	received := f.poll(f.ctx, 20)
	f.Eventually(f.clock.HasWaiters).Should(BeTrue())
	f.clock.Step(2 * time.Second)
	f.Eventually(received).Should(Receive(HaveLen(1)))
}

func TestSQSGivesNothingToOneWhoLeft(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	ctx, leave := context.WithCancel(f.ctx)
	received := f.poll(ctx, 20)
	f.Eventually(f.clock.HasWaiters).Should(BeTrue())
	leave()
	f.Eventually(received).Should(BeClosed())
	f.Eventually(f.clock.HasWaiters).Should(BeFalse())
	f.send("late")
	f.Expect(bodies(f.receive())).To(Equal([]string{"late"}))
}

func TestSQSForgetsOldMessages(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	f.url = f.create("forgetful", map[string]string{"MessageRetentionPeriod": "60"})
	f.send("old")
	f.clock.Step(time.Minute)
	f.Expect(f.receive()).To(BeEmpty())
}

func TestSQSRefuses(t *testing.T) {
	t.Parallel()
	f := newSQSFixture(t)
	other := f.sqsClient("111122223333", testRegion)
	elsewhere := f.sqsClient("test", "us-west-2")
	receiveFrom := func(client *sqs.Client, change func(*sqs.ReceiveMessageInput)) error {
		in := &sqs.ReceiveMessageInput{QueueUrl: f.url}
		if change != nil {
			change(in)
		}
		_, err := client.ReceiveMessage(f.ctx, in)
		return err
	}
	deleteBatch := func(entries ...types.DeleteMessageBatchRequestEntry) error {
		entries = append([]types.DeleteMessageBatchRequestEntry{}, entries...) // Not nil, which the SDK itself refuses.
		_, err := f.sqs.DeleteMessageBatch(f.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: f.url, Entries: entries})
		return err
	}
	create := func(name string, attributes map[string]string) error {
		_, err := f.sqs.CreateQueue(f.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		return err
	}
	_, unknown := f.sqs.GetQueueUrl(f.ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("none")})
	_, garbled := f.sqs.DeleteMessage(f.ctx, &sqs.DeleteMessageInput{QueueUrl: f.url, ReceiptHandle: aws.String("nonsense")})
	_, noSuch := f.sqs.PurgeQueue(f.ctx, &sqs.PurgeQueueInput{QueueUrl: f.url})
	same := types.DeleteMessageBatchRequestEntry{Id: aws.String("a"), ReceiptHandle: aws.String("m#1")}
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"a queue that isn't there":    {unknown, "AWS.SimpleQueueService.NonExistentQueue"},
		"a queue of another region":   {receiveFrom(elsewhere, nil), "AWS.SimpleQueueService.NonExistentQueue"},
		"a queue of another account":  {receiveFrom(other, nil), "AccessDenied"},
		"too many messages at once":   {receiveFrom(f.sqs, func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 11 }), "InvalidParameterValue"},
		"too long a wait":             {receiveFrom(f.sqs, func(in *sqs.ReceiveMessageInput) { in.WaitTimeSeconds = 21 }), "InvalidParameterValue"},
		"a receipt of nobody":         {garbled, "ReceiptHandleIsInvalid"},
		"a batch of none":             {deleteBatch(), "AWS.SimpleQueueService.EmptyBatchRequest"},
		"a batch with an id twice":    {deleteBatch(same, same), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"},
		"a bad name":                  {create("no/slash", nil), "InvalidParameterValue"},
		"an unknown attribute":        {create("q", map[string]string{"Colour": "blue"}), "InvalidAttributeName"},
		"a bad value":                 {create("q", map[string]string{"VisibilityTimeout": "-1"}), "InvalidAttributeValue"},
		"a queue of other attributes": {create("events", map[string]string{"VisibilityTimeout": "5"}), "QueueAlreadyExists"},
		"an unknown operation":        {noSuch, "UnknownOperationException"},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(refusal(tc.err)).To(Equal(tc.code), "%v", tc.err)
		})
	}
	_, err := f.server.AddFault(Fault{Service: "sqs", Action: ActionThrottle})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(refusal(receiveFrom(f.sqs, nil))).To(Equal("RequestThrottled"))
}
