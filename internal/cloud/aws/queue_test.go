// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"fmt"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// eventQueue is the queue of the policy.
const eventQueue = "mandelbox-events"

// withQueue makes a queue in the local AWS, and opens the target with it.
func withQueue(t *testing.T, opts ...func(*config.LoadOptions) error) (*localAWS, *sqs.Client) {
	t.Helper()
	g, l := NewWithT(t), newLocalAWS(t, opts...)
	client := sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: awssdk.String(l.endpoint),
		Credentials: l.credentials,
	})
	made, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: awssdk.String(eventQueue)})
	g.Expect(err).NotTo(HaveOccurred())
	l.target.EventQueueURL = *made.QueueUrl
	l.api = l.open(l.target)
	return l, client
}

func TestARegionWithoutAQueue(t *testing.T) {
	t.Parallel()
	NewWithT(t).Expect(newLocalAWS(t).api.EventQueue()).To(BeNil())
}

func TestMessagesStayUntilTheyAreDeleted(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	l, client := withQueue(t)
	queue := l.api.EventQueue()
	for n := range 25 {
		_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &l.target.EventQueueURL, MessageBody: awssdk.String(fmt.Sprint("no event ", n)),
		})
		g.Expect(err).NotTo(HaveOccurred())
	}
	var receipts []string
	for range 3 {
		messages, err := queue.Receive(t.Context(), 0)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(len(messages)).To(BeNumerically("<=", cloud.ReceiveBatch))
		for _, m := range messages {
			g.Expect(m.Kind).To(Equal(cloud.EventUnreadable))
			receipts = append(receipts, m.Receipt)
		}
	}
	g.Expect(receipts).To(HaveLen(25))
	left := func() string {
		out, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: &l.target.EventQueueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
		})
		g.Expect(err).NotTo(HaveOccurred())
		return out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)]
	}
	g.Expect(left()).To(Equal("25"))
	g.Expect(queue.Delete(t.Context(), receipts)).To(Succeed())
	g.Expect(left()).To(Equal("0"))
	g.Expect(l.calls("DeleteMessageBatch")).To(Equal(3))
	g.Expect(queue.Delete(t.Context(), receipts)).To(Succeed(), "they are gone already")
	g.Expect(queue.Delete(t.Context(), []string{"nonsense"})).To(MatchError(ContainSubstring("ReceiptHandleIsInvalid")))
}

func TestTheEventsOfTheLocalAWSAreRead(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	l, _ := withQueue(t)
	g.Expect(l.SendEvents("", "us-east-1", eventQueue, awsemu.EventDelivery{})).To(Succeed())
	hosts, members := l.registered(t, "told", 1)
	id := hosts[0].InstanceID
	g.Expect(l.DisconnectAgent("", "us-east-1", id)).To(Succeed())
	g.Expect(l.ScheduleEvent("", "us-east-1", id, awsemu.ScheduledEvent{})).To(Succeed())

	seen := []string{}
	g.Eventually(func(g Gomega) {
		messages, err := l.api.EventQueue().Receive(t.Context(), time.Second)
		g.Expect(err).NotTo(HaveOccurred())
		for _, m := range messages {
			g.Expect(time.Since(m.Time)).To(BeNumerically("<", time.Minute))
			seen = append(seen, fmt.Sprint(m.Kind, m.IDs, m.State, m.AgentConnected))
		}
		arn := members[id].ARN
		g.Expect(seen).To(ConsistOf(
			"Host["+id+"]pendingfalse", "Host["+id+"]runningfalse",
			"ContainerHost["+arn+"]ACTIVEtrue", "ContainerHost["+arn+"]ACTIVEfalse", "Health["+id+"]false",
		))
	}).WithTimeout(patience).Should(Succeed())
}

func TestErrorsOfTheQueue(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	l, _ := withQueue(t)
	missing := l.target
	missing.EventQueueURL += "-not"
	_, err := openTarget(t, awsemu.RootAccessKey, l.endpoint, missing).EventQueue().Receive(t.Context(), 0)
	mustKind(g, err, cloud.KindNotFound)
	g.Expect(err).To(MatchError("ReceiveMessage: AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist."))
	theirs := l.target
	theirs.RoleARN = "arn:aws:iam::111122223333:role/other"
	_, err = openTarget(t, awsemu.RootAccessKey, l.endpoint, theirs).EventQueue().Receive(t.Context(), 0)
	mustKind(g, err, cloud.KindUnauthorized)
	for code, kind := range map[string]cloud.Kind{
		"AccessDenied": cloud.KindUnauthorized, "KmsAccessDenied": cloud.KindUnauthorized, "OverLimit": cloud.KindThrottled,
		"RequestThrottled": cloud.KindThrottled, "InternalError": cloud.KindUnknown,
	} {
		id, err := l.AddFault(awsemu.Fault{Service: "sqs", Action: awsemu.ActionError, Code: code})
		g.Expect(err).NotTo(HaveOccurred())
		_, err = l.api.EventQueue().Receive(t.Context(), 0)
		mustKind(g, err, kind)
		l.RemoveFault(id)
	}
}
