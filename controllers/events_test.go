// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// soon is within what only an event explains: nothing is listed for long.
const soon = 20 * time.Second

// seldom has AWS be listed once, at the start, and then not again during a spec.
func seldom(w *world) { w.lookEvery = 24 * time.Hour }

// eventQueue makes a queue that takes the events of the region home, and has
// Regions read it.
func (w *world) eventQueue(ctx context.Context, how awsemu.EventDelivery) func(*v1alpha1.Region) {
	GinkgoHelper()
	queue, err := sqs.NewFromConfig(w.awsConfig(home)).CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: awssdk.String("mandelbox-events"), Attributes: map[string]string{"VisibilityTimeout": "2"},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(w.aws.SendEvents("", home, "mandelbox-events", how)).To(Succeed())
	return func(r *v1alpha1.Region) { r.Spec.EventQueueURL = *queue.QueueUrl }
}

// sendTo puts messages into the queue of events.
func (w *world) sendTo(ctx context.Context, queueURL string, bodies ...string) {
	GinkgoHelper()
	api := sqs.NewFromConfig(w.awsConfig(home))
	for _, body := range bodies {
		_, err := api.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queueURL, MessageBody: &body})
		Expect(err).NotTo(HaveOccurred())
	}
}

// messages counts what is in the queue of events: what waits, and what was received
// and not deleted.
func (w *world) messages(ctx context.Context, queueURL string) func() (string, error) {
	return func() (string, error) {
		out, err := sqs.NewFromConfig(w.awsConfig(home)).GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
			QueueUrl: &queueURL, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
		})
		if err != nil {
			return "", err
		}
		return out.Attributes["ApproximateNumberOfMessages"] + " waiting, " +
			out.Attributes["ApproximateNumberOfMessagesNotVisible"] + " received", nil
	}
}

// stands reads one condition of the Region home as "Status/Reason".
func (w *world) stands(ctx context.Context, conditionType string) func() string {
	return func() string {
		var r v1alpha1.Region
		if err := w.Get(ctx, client.ObjectKey{Name: home}, &r); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(r.Status.Conditions, conditionType)
		if c == nil {
			return ""
		}
		return string(c.Status) + "/" + c.Reason
	}
}

// readsFrom notes the queue that the Region reads.
func readsFrom(url *string) func(*v1alpha1.Region) {
	return func(r *v1alpha1.Region) { *url = r.Spec.EventQueueURL }
}

var _ = Describe("A Region with an event queue", func() {
	It("sees hosts come up, sessions start and end, and hosts die, without listing", func(ctx context.Context) {
		w := newWorld(seldom)
		i := w.host(ctx, w.eventQueue(ctx, awsemu.EventDelivery{}))
		Expect(w.stands(ctx, v1alpha1.ConditionEventsReceived)()).To(Equal("True/EventsReceived"))
		first := w.session(ctx, "first", []string{home})
		Eventually(w.phase(ctx, first)).WithTimeout(soon).Should(Equal("Running/Running"))
		Expect(first.Status.IP).NotTo(BeEmpty())
		Expect(first.Status.Ports).To(HaveLen(1))
		w.exit(home, first, 0)
		Eventually(w.phase(ctx, first)).WithTimeout(soon).Should(Equal("Finished/Completed"))

		second := w.session(ctx, "second", []string{home})
		Eventually(w.phase(ctx, second)).WithTimeout(soon).Should(Equal("Running/Running"))
		Expect(w.aws.KillInstance("", home, i.Status.InstanceID)).To(Succeed())
		Eventually(w.phase(ctx, second)).WithTimeout(soon).Should(Equal("Finished/HostLost"))
	})

	It("drains a host once maintenance is scheduled for it", func(ctx context.Context) {
		w := newWorld(seldom)
		i := w.host(ctx, w.eventQueue(ctx, awsemu.EventDelivery{}))
		Expect(w.aws.ScheduleEvent("", home, i.Status.InstanceID, awsemu.ScheduledEvent{Code: "instance-stop"})).To(Succeed())
		Eventually(w.gone(ctx, i)).WithTimeout(soon).Should(BeTrue())
	})

	It("leads a spot host out as soon as EC2 gives it notice, and not before its sessions end when EC2 only recommends it", func(ctx context.Context) {
		w := newWorld(seldom)
		w.delay(func(d *awsemu.Delays) { d.SpotNotice = 15 * time.Second })
		i := &w.fleet(ctx, 1, free(1), spot, agentsDontDrain, w.eventQueue(ctx, awsemu.EventDelivery{}))[0]
		m := w.session(ctx, "first", []string{home})
		w.runs(ctx, m)
		Expect(w.aws.RecommendRebalance("", home, i.Status.InstanceID)).To(Succeed())
		Eventually(w.is(ctx, i)).WithTimeout(soon).Should(Equal("Draining/Draining"))
		w.healthy(ctx, i, "False/"+v1alpha1.ReasonRebalanceRecommended)
		Expect(w.phase(ctx, m)()).To(Equal("Running/Running"))

		Expect(w.aws.InterruptSpot("", home, i.Status.InstanceID)).To(Succeed())
		w.healthy(ctx, i, "False/"+v1alpha1.ReasonSpotInterruption)
		w.ends(ctx, m, v1alpha1.ReasonHostLost)
		Expect(w.calls("DescribeSpotInstanceRequests")).To(BeNumerically("<=", 1), "nothing but the event told of it")
	})

	It("goes by what is, whatever events say, in whatever order and number they come", func(ctx context.Context) {
		w := newWorld(seldom)
		w.watchClaims(ctx)
		var url string
		w.fleet(ctx, 2, w.eventQueue(ctx, awsemu.EventDelivery{Duplicate: 0.5, Jitter: awsemu.Duration{Duration: time.Second}}), readsFrom(&url))
		w.wantNoMore(ctx)
		hosts := w.ec2Hosts(ctx, home)
		id := *hosts[0].InstanceId
		lie := func(detailType, detail string) string {
			return `{"version":"0","id":"1","detail-type":"` + detailType + `","source":"aws.ec2","account":"000000000000","time":"2026-11-11T21:29:54Z",` +
				`"region":"` + home + `","resources":[],"detail":` + detail + `}`
		}
		w.sendTo(ctx, url, "not JSON", "{}", `{"detail-type":7}`,
			lie("EC2 Instance State-change Notification", `{"instance-id":"`+id+`","state":"terminated"}`),
			lie("EC2 Instance State-change Notification", `{"instance-id":"`+id+`","state":"levitating"}`),
			lie("EC2 Instance State-change Notification", `{"instance-id":"i-00000000000000000","state":"running"}`),
			lie("EC2 Instance Of Another Kind", `{"instance-id":"`+id+`"}`),
			lie("EC2 Instance State-change Notification", `"`+id+`"`))
		for n := range 10 {
			w.session(ctx, fmt.Sprint("session-", n), []string{home})
		}
		w.expectOneTaskEach(ctx, 10)
		Eventually(w.messages(ctx, url)).Should(Equal("0 waiting, 0 received"))
		w.expectOneHostEach(ctx)
		active, err := w.hosts(ctx, v1alpha1.InstanceActive)()
		Expect(err).NotTo(HaveOccurred())
		Expect(active).To(HaveLen(2))
	})

	It("gets a message again that its manager received and died over", func(ctx context.Context) {
		w := newWorld(seldom)
		var url string
		i := w.host(ctx, w.eventQueue(ctx, awsemu.EventDelivery{}), readsFrom(&url))
		Eventually(w.messages(ctx, url)).Should(Equal("0 waiting, 0 received"))
		w.fault(awsemu.Fault{Operation: "DescribeInstances", Action: awsemu.ActionLatency, Latency: awsemu.Duration{Duration: time.Hour}})
		w.fault(awsemu.Fault{Operation: "Describe*", Service: "ecs", Action: awsemu.ActionLatency, Latency: awsemu.Duration{Duration: time.Hour}})
		Expect(w.aws.KillInstance("", home, i.Status.InstanceID)).To(Succeed())
		Eventually(w.messages(ctx, url)).Should(HavePrefix("0 waiting, "))
		w.stopManager()
		Expect(w.messages(ctx, url)()).NotTo(Equal("0 waiting, 0 received"), "nothing was deleted that wasn't acted on")
		w.aws.ClearFaults()
		w.startManager()
		Eventually(w.gone(ctx, i)).Should(BeTrue())
		Eventually(w.messages(ctx, url)).Should(Equal("0 waiting, 0 received"))
	})

	It("says that its queue is missing, works by listing meanwhile, and reads the queue once it is there", func(ctx context.Context) {
		w := newWorld()
		url := w.endpoint + "/" + awsemu.DefaultAccount + "/mandelbox-events"
		w.host(ctx, func(r *v1alpha1.Region) { r.Spec.EventQueueURL = url })
		Eventually(w.stands(ctx, v1alpha1.ConditionEventsReceived)).Should(Equal("False/InvalidParameter"))
		Eventually(w.stands(ctx, v1alpha1.ConditionReady)).Should(Equal("True/EventsNotReceived"))
		m := w.session(ctx, "one", []string{home})
		w.runs(ctx, m)
		w.eventQueue(ctx, awsemu.EventDelivery{})
		Eventually(w.stands(ctx, v1alpha1.ConditionEventsReceived)).Should(Equal("True/EventsReceived"))
		Eventually(w.stands(ctx, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
	})

	It("says that it may not read its queue, until the spec names none", func(ctx context.Context) {
		w := newWorld()
		w.fault(awsemu.Fault{Service: "sqs", Operation: "ReceiveMessage", Action: awsemu.ActionError, Code: "AccessDenied", Status: 403,
			Message: "User is not authorized to perform: sqs:receivemessage"})
		i := w.host(ctx, w.eventQueue(ctx, awsemu.EventDelivery{}))
		Eventually(w.stands(ctx, v1alpha1.ConditionEventsReceived)).Should(Equal("False/Unauthorized"))
		r := &v1alpha1.Region{}
		Expect(w.Get(ctx, client.ObjectKey{Name: home}, r)).To(Succeed())
		Expect(meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionEventsReceived).Message).To(
			Equal("ReceiveMessage: AccessDenied: User is not authorized to perform: sqs:receivemessage"))
		w.merge(ctx, r, `{"spec":{"eventQueueURL":null}}`)
		Eventually(w.stands(ctx, v1alpha1.ConditionEventsReceived)).Should(BeEmpty())
		Eventually(w.stands(ctx, v1alpha1.ConditionReady)).Should(Equal("True/Ready"))
		Expect(w.is(ctx, i)()).To(Equal("Active/Ready"), "the fleet stays as it was")
	})
})
