// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("The line from a manifest to a running session", func() {
	It("runs a session on a warm host", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, "us-east-1")
		w.channel(ctx, "stable", []string{"us-east-1"})
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))

		m := w.session(ctx, "one", []string{"us-east-1"})
		Eventually(w.phase(ctx, m)).Should(Equal("Running/Running"))
		Expect(m.Status.IP).NotTo(BeEmpty())
		Expect(m.Status.Ports).To(HaveLen(1))
		Expect(m.Status.Ports[0].Name).To(Equal("webrtc"))
		Expect(m.Status.Ports[0].HostPort).NotTo(BeZero())
		Expect(w.tasks(ctx, "us-east-1", ecstypes.DesiredStatusRunning)).To(HaveLen(1))
	})
})
