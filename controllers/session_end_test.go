// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

var _ = Describe("A session's end", func() {
	var w *world
	var m *v1alpha1.Mandelbox
	// begin has the session run.
	begin := func(ctx context.Context, change ...func(*v1alpha1.Mandelbox)) {
		GinkgoHelper()
		w = newWorld()
		w.warm(ctx, near, 1)
		m = w.session(ctx, "mortal", []string{near}, change...)
		w.runs(ctx, m)
	}
	running := func(ctx context.Context) int {
		GinkgoHelper()
		return len(w.tasks(ctx, near, ecstypes.DesiredStatusRunning))
	}

	It("is Completed when its container ends well", func(ctx context.Context) {
		begin(ctx)
		w.exit(near, m, 0)
		w.ends(ctx, m, v1alpha1.ReasonCompleted)
		Expect(m.Status.ExitCode).To(HaveValue(BeZero()))
		Expect(m.Status.FinishedTime).NotTo(BeNil())
		Eventually(w.claims(ctx)).Should(BeZero())
		Expect(w.told(ctx, m)()).To(BeEmpty())
	})

	It("is Crashed, with the exit code, when its container ends badly", func(ctx context.Context) {
		begin(ctx)
		w.exit(near, m, 3)
		w.ends(ctx, m, v1alpha1.ReasonCrashed)
		Expect(m.Status.ExitCode).To(HaveValue(BeEquivalentTo(3)))
		Eventually(w.claims(ctx)).Should(BeZero())
		Eventually(w.told(ctx, m)).Should(Equal([]string{v1alpha1.ReasonCrashed}))
	})

	It("is Stopped when somebody else stops its task", func(ctx context.Context) {
		begin(ctx)
		_, err := ecs.NewFromConfig(w.awsConfig(near)).StopTask(ctx, &ecs.StopTaskInput{
			Cluster: awssdk.String("mandelbox"), Task: awssdk.String(m.Status.TaskARN), Reason: awssdk.String("maintenance"),
		})
		Expect(err).NotTo(HaveOccurred())
		w.ends(ctx, m, v1alpha1.ReasonStopped)
		Eventually(w.claims(ctx)).Should(BeZero())
	})

	It("is HostLost as soon as its host is", func(ctx context.Context) {
		begin(ctx)
		var host v1alpha1.Instance
		Expect(w.Get(ctx, client.ObjectKey{Name: m.Status.InstanceName}, &host)).To(Succeed())
		Expect(w.aws.KillInstance(awsemu.DefaultAccount, near, host.Status.InstanceID)).To(Succeed())
		w.ends(ctx, m, v1alpha1.ReasonHostLost)
		Eventually(w.told(ctx, m)).Should(Equal([]string{v1alpha1.ReasonHostLost}))
	})

	It("comes after its maxSessionDuration", func(ctx context.Context) {
		begin(ctx, within(maxDuration, 5*time.Second))
		w.ends(ctx, m, v1alpha1.ReasonMaxDurationReached)
		Eventually(w.claims(ctx)).Should(BeZero())
		Expect(running(ctx)).To(BeZero())
	})

	It("is followed by that of its object after ttlAfterFinished", func(ctx context.Context) {
		begin(ctx, within(ttl, time.Second))
		w.exit(near, m, 0)
		Eventually(func() (int, error) {
			var list v1alpha1.MandelboxList
			err := w.List(ctx, &list, client.InNamespace(w.namespace))
			return len(list.Items), err
		}).Should(BeZero())
	})

	It("stops its task and frees its slot when it is deleted", func(ctx context.Context) {
		begin(ctx)
		w.remove(ctx, m)
		tasks := w.tasksOf(ctx, near, m)
		Expect(tasks).To(HaveLen(1))
		Expect(*tasks[0].LastStatus).To(Equal("STOPPED"), "the object is gone only when the task is")
		Expect(*tasks[0].StoppedReason).To(Equal("Deleted: the Mandelbox was deleted"))
		Eventually(w.claims(ctx)).Should(BeZero())
	})

	It("leaves no task, claim or object when it comes at once after its creation", func(ctx context.Context) {
		w = newWorld()
		w.watchClaims(ctx)
		w.warm(ctx, near, 3, func(r *v1alpha1.Region) { r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](24) })
		var users sync.WaitGroup
		for n := range 20 {
			users.Go(func() {
				defer GinkgoRecover()
				session := w.session(ctx, fmt.Sprintf("brief-%d", n), []string{near})
				if n%2 == 0 {
					// Half of them are deleted a little later, at another point of their start.
					Eventually(w.phase(ctx, session)).ShouldNot(HavePrefix("/"))
				}
				w.remove(ctx, session)
			})
		}
		users.Wait()
		Eventually(w.claims(ctx)).Should(BeZero())
		running := func() []ecstypes.Task { return w.tasks(ctx, near, ecstypes.DesiredStatusRunning) }
		Eventually(running).Should(BeEmpty(), "also those that were started while their session went")
		Consistently(running, 500*time.Millisecond, 50*time.Millisecond).Should(BeEmpty())
	})

	It("is found out after a restart of the manager", func(ctx context.Context) {
		begin(ctx)
		w.stopManager()
		w.exit(near, m, 7)
		w.startManager()
		w.ends(ctx, m, v1alpha1.ReasonCrashed)
		Expect(m.Status.ExitCode).To(HaveValue(BeEquivalentTo(7)))
		Expect(w.calls("RunTask")).To(Equal(1), "what ran is not asked for again")
	})
})
