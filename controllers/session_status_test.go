// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
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
		w.delay(func(d *awsemu.Delays) { d.TaskStop = time.Second })
		Expect(w.Delete(ctx, leaving.DeepCopy())).To(Succeed())
		Expect(health(leaving)()).To(Equal(kstatus.TerminatingStatus), "deleted")
		Eventually(w.phase(ctx, leaving)).Should(Equal("Dying/" + v1alpha1.ReasonStopping))
	})
})
