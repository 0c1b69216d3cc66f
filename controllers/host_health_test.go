// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// timeouts gives hosts little time.
func timeouts(preConnection, agentDisconnected time.Duration) func(*v1alpha1.Region) {
	return func(r *v1alpha1.Region) {
		r.Spec.HostTimeouts = v1alpha1.HostTimeouts{
			PreConnection:     &metav1.Duration{Duration: preConnection},
			AgentDisconnected: &metav1.Duration{Duration: agentDisconnected},
		}
	}
}

// expectReplaced waits until the host is gone and another one is Active.
func (w *world) expectReplaced(ctx context.Context, i *v1alpha1.Instance) {
	GinkgoHelper()
	Eventually(w.gone(ctx, i)).Should(BeTrue())
	Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
	w.expectOneHostEach(ctx)
}

var _ = Describe("A host that fails", func() {
	It("is replaced when it is terminated outside", func(ctx context.Context) {
		w := newWorld()
		i := &w.fleet(ctx, 1)[0]
		Expect(w.aws.KillInstance("", home, i.Status.InstanceID)).To(Succeed())
		w.expectReplaced(ctx, i)
	})

	It("is Unresponsive while its agent is silent, keeps its session, and takes others when the agent is back", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx, oneHost, timeouts(time.Minute, 300*time.Millisecond))
		first := w.session(ctx, "first", []string{home})
		Eventually(w.phase(ctx, first)).Should(Equal("Running/Running"))
		Expect(w.aws.DisconnectAgent("", home, i.Status.InstanceID)).To(Succeed())
		Eventually(w.is(ctx, i)).Should(Equal("Unresponsive/AgentDisconnected"))
		second := w.session(ctx, "second", []string{home})
		Eventually(w.phase(ctx, second)).Should(Equal("Pending/NoInstanceAvailable"))
		Consistently(w.phase(ctx, first), "300ms").Should(Equal("Running/Running"))

		Expect(w.aws.ReconnectAgent("", home, i.Status.InstanceID)).To(Succeed())
		Eventually(w.is(ctx, i)).Should(Equal("Active/Ready"))
		Eventually(w.phase(ctx, second)).Should(Equal("Running/Running"))
		w.expectOneTaskEach(ctx, 2)
	})

	It("stays Active while its agent is silent for no longer than it may be", func(ctx context.Context) {
		w := newWorld()
		i := w.host(ctx, timeouts(time.Minute, time.Hour))
		Expect(w.aws.DisconnectAgent("", home, i.Status.InstanceID)).To(Succeed())
		Eventually(func(g Gomega) {
			w.is(ctx, i)()
			g.Expect(condition(i, v1alpha1.ConditionRegistered)).To(Equal("False/AgentDisconnected"))
		}).Should(Succeed())
		Consistently(w.is(ctx, i), "500ms").Should(Equal("Active/Ready"))
	})

	It("is replaced when its agent stays silent and no session is left", func(ctx context.Context) {
		w := newWorld()
		i := &w.fleet(ctx, 1, timeouts(time.Minute, 300*time.Millisecond))[0]
		Expect(w.aws.DisconnectAgent("", home, i.Status.InstanceID)).To(Succeed())
		w.expectReplaced(ctx, i)
	})

	It("is replaced when somebody takes it out of ECS", func(ctx context.Context) {
		w := newWorld()
		i := &w.fleet(ctx, 1, timeouts(time.Minute, 300*time.Millisecond))[0]
		_, err := ecs.NewFromConfig(w.awsConfig(home)).DeregisterContainerInstance(ctx, &ecs.DeregisterContainerInstanceInput{
			Cluster: awssdk.String("mandelbox"), ContainerInstance: awssdk.String(i.Status.ContainerInstanceARN), Force: awssdk.Bool(true),
		})
		Expect(err).NotTo(HaveOccurred())
		w.expectReplaced(ctx, i)
	})

	It("is replaced when its agent does not register in time", func(ctx context.Context) {
		w := newWorld()
		delays := awsemu.FastDelays()
		delays.AgentBoot = time.Hour
		w.aws.SetDelays(delays)
		w.region(ctx, home, timeouts(2*time.Second, time.Minute))
		w.channel(ctx, "stable", []string{home})
		var i v1alpha1.Instance
		Eventually(func(g Gomega) {
			hosts, err := w.hosts(ctx, v1alpha1.InstancePreConnection)()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(hosts).To(HaveLen(1))
			i = hosts[0]
			g.Expect(condition(&i, v1alpha1.ConditionLaunched)).To(Equal("True/Launched"))
		}).Should(Succeed())
		w.aws.SetDelays(awsemu.FastDelays())
		w.expectReplaced(ctx, &i)
	})
})
