// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/fleettest"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

var _ = Describe("What kstatus reads from a session", func() {
	It("follows its life", func(ctx context.Context) {
		w := newWorld()
		health := func(m *v1alpha1.Mandelbox) func() kstatus.Status {
			return func() kstatus.Status {
				Expect(w.Get(ctx, client.ObjectKeyFromObject(m), m)).To(Succeed())
				return fleettest.Health(m)
			}
		}
		w.stopManager()
		m := w.session(ctx, "well", []string{near})
		Expect(health(m)()).To(Equal(kstatus.InProgressStatus), "new, and seen by nobody")
		w.startManager()
		Eventually(w.phase(ctx, m)).Should(Equal("Pending/" + v1alpha1.ReasonRegionNotEnabled))
		Expect(health(m)()).To(Equal(kstatus.InProgressStatus), "waiting")
		w.warm(ctx, near, 1)
		w.runs(ctx, m)
		Expect(health(m)()).To(Equal(kstatus.CurrentStatus), "running")

		w.exit(near, m, 0)
		w.ends(ctx, m, v1alpha1.ReasonCompleted)
		Expect(health(m)()).To(Equal(kstatus.CurrentStatus), "finished well")

		bad := w.session(ctx, "bad", []string{near})
		w.runs(ctx, bad)
		w.exit(near, bad, 1)
		w.ends(ctx, bad, v1alpha1.ReasonCrashed)
		Expect(health(bad)()).To(Equal(kstatus.FailedStatus), "finished badly")

		leaving := w.session(ctx, "leaving", []string{near})
		w.runs(ctx, leaving)
		w.delay(func(d *awsemu.Delays) { d.TaskStop = time.Hour })
		Expect(w.Delete(ctx, leaving.DeepCopy())).To(Succeed())
		Expect(health(leaving)()).To(Equal(kstatus.TerminatingStatus), "deleted")
		Eventually(w.phase(ctx, leaving)).Should(Equal("Dying/" + v1alpha1.ReasonStopping))
	})

	It("is Failed while AWS refuses its task for a reason that a person must mend, and Current after that", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		w.fault(awsemu.Fault{Operation: "RunTask", Action: awsemu.ActionError, Code: "AccessDeniedException", Status: 400})
		m := w.session(ctx, "forbidden", []string{near})
		stalled := func() *metav1.Condition {
			Expect(w.Get(ctx, client.ObjectKeyFromObject(m), m)).To(Succeed())
			return meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionStalled)
		}
		Eventually(stalled).Should(HaveField("Reason", v1alpha1.ReasonUnauthorized))
		Expect(stalled().Message).To(ContainSubstring("AccessDeniedException"))
		Expect(fleettest.Health(m)).To(Equal(kstatus.FailedStatus))
		w.aws.ClearFaults()
		w.runs(ctx, m)
		Expect(fleettest.Health(m)).To(Equal(kstatus.CurrentStatus))
	})
})
