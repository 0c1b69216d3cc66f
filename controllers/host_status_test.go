// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// hostKstatus is what GitOps tools make of an Instance.
func (w *world) hostKstatus(ctx context.Context, i *v1alpha1.Instance) func() (status.Status, error) {
	return func() (status.Status, error) {
		if err := w.Get(ctx, client.ObjectKeyFromObject(i), i); err != nil {
			return "", err
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(i)
		if err != nil {
			return "", err
		}
		result, err := status.Compute(&unstructured.Unstructured{Object: content})
		if err != nil {
			return "", err
		}
		return result.Status, nil
	}
}

// anInstance is one that a person makes.
func anInstance() *v1alpha1.Instance {
	return &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{Name: "by-hand"},
		Spec: v1alpha1.InstanceSpec{
			RegionName: home, AMIName: "stable", Revision: "r1", ImageID: awsemu.DefaultImageID,
			ClientCommitHash: commit, InstanceTypes: []string{"g4dn.12xlarge"},
		},
	}
}

var _ = Describe("What GitOps tools read of an Instance", func() {
	It("is InProgress when new, and while nothing it names exists", func(ctx context.Context) {
		w := newWorld()
		w.stopManager()
		i := anInstance()
		Expect(w.Create(ctx, i)).To(Succeed())
		Expect(w.hostKstatus(ctx, i)()).To(Equal(status.InProgressStatus))
		w.startManager()
		Eventually(w.is(ctx, i)).Should(Equal("PreConnection/RegionNotFound"))
		Expect(w.hostKstatus(ctx, i)()).To(Equal(status.InProgressStatus))
	})

	It("is InProgress while it comes up, Current when Active, Terminating while it leaves", func(ctx context.Context) {
		w := newWorld()
		delays := awsemu.FastDelays()
		delays.AgentBoot = 5 * time.Second
		w.aws.SetDelays(delays)
		w.region(ctx, home)
		w.channel(ctx, "stable", []string{home})
		Eventually(w.hosts(ctx, v1alpha1.InstancePreConnection)).Should(HaveLen(1))
		hosts, err := w.hosts(ctx, "")()
		Expect(err).NotTo(HaveOccurred())
		i := &hosts[0]
		Expect(w.hostKstatus(ctx, i)()).To(Equal(status.InProgressStatus))
		Eventually(w.hostKstatus(ctx, i)).Should(Equal(status.CurrentStatus))
		Expect(i.Status.Phase).To(Equal(v1alpha1.InstanceActive))

		m := w.session(ctx, "one", []string{home})
		Eventually(w.phase(ctx, m)).Should(Equal("Running/Running"))
		w.drain(ctx, i, "true")
		Eventually(w.is(ctx, i)).Should(Equal("Draining/Draining"))
		Expect(w.hostKstatus(ctx, i)()).To(Equal(status.InProgressStatus))
		Expect(w.Delete(ctx, i.DeepCopy())).To(Succeed())
		Expect(w.hostKstatus(ctx, i)()).To(Equal(status.TerminatingStatus))
	})

	DescribeTable("is Failed while EC2 refuses the launch for what a person must mend",
		func(ctx context.Context, code, reason string) {
			w := newWorld()
			w.fault(awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionError, Code: code, Status: 400, Message: "No."})
			w.region(ctx, home)
			w.channel(ctx, "stable", []string{home})
			Eventually(w.hosts(ctx, "")).Should(HaveLen(1))
			hosts, err := w.hosts(ctx, "")()
			Expect(err).NotTo(HaveOccurred())
			i := &hosts[0]
			Eventually(w.hostKstatus(ctx, i)).Should(Equal(status.FailedStatus))
			Expect(condition(i, v1alpha1.ConditionStalled)).To(Equal("True/" + reason))
			Expect(condition(i, v1alpha1.ConditionLaunched)).To(Equal("False/" + reason))
		},
		Entry("not allowed", "UnauthorizedOperation", v1alpha1.ReasonUnauthorized),
		Entry("a bad parameter", "InvalidParameterValue", v1alpha1.ReasonInvalidParameter),
		Entry("no such image", "InvalidAMIID.NotFound", v1alpha1.ReasonInvalidParameter),
		Entry("a quota, in every zone", "VcpuLimitExceeded", v1alpha1.ReasonQuotaExceeded),
	)
})
