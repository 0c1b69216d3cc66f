// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("The status of a session and of a host", func() {
	conditions := []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Running", LastTransitionTime: metav1.Now(),
	}}
	It("is noted as a whole, and not by its fields, of whoever writes it", func(ctx context.Context) {
		session, host := newMandelbox(), newInstance()
		create(ctx, session)
		create(ctx, host)
		session.Status.Conditions, session.Status.Phase = conditions, v1alpha1.MandelboxRunning
		host.Status.Conditions, host.Status.Phase = conditions, v1alpha1.InstanceActive
		for _, object := range []client.Object{session, host} {
			Expect(api.Status().Update(ctx, object)).To(Succeed())
			var notes []string
			for _, entry := range object.GetManagedFields() {
				if entry.Subresource == "status" {
					notes = append(notes, entry.FieldsV1.GetRawString())
				}
			}
			Expect(notes).To(ConsistOf(`{"f:status":{}}`), "%T", object)
		}
	})
})
