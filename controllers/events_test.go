// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// soon is within what only an event explains: nothing is listed for long.
const soon = 5 * time.Second

// seldom has AWS be listed once, at the start, and then not again during a spec.
func seldom(w *world) { w.lookEvery = 10 * time.Minute }

// eventQueue makes a queue that takes the events of the region home, and has
// Regions read it.
func (w *world) eventQueue(ctx context.Context, how awsemu.EventDelivery) func(*v1alpha1.Region) {
	GinkgoHelper()
	queue, err := sqs.NewFromConfig(w.awsConfig(home)).CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: awssdk.String("events"), Attributes: map[string]string{"VisibilityTimeout": "30"},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(w.aws.SendEvents("", home, "events", how)).To(Succeed())
	return func(r *v1alpha1.Region) { r.Spec.EventQueueURL = *queue.QueueUrl }
}

var _ = Describe("A Region with an event queue", func() {
	It("sees hosts come up, sessions start and hosts die without listing", func(ctx context.Context) {
		w := newWorld(seldom)
		i := w.host(ctx, w.eventQueue(ctx, awsemu.EventDelivery{}))
		m := w.session(ctx, "one", []string{home})
		Eventually(w.phase(ctx, m)).WithTimeout(soon).Should(Equal("Running/Running"))
		Expect(m.Status.IP).NotTo(BeEmpty())
		Expect(m.Status.Ports).To(HaveLen(1))

		Expect(w.aws.KillInstance("", home, i.Status.InstanceID)).To(Succeed())
		Eventually(w.phase(ctx, m)).WithTimeout(soon).Should(Equal("Finished/HostLost"))
	})
})
