// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("A drain that has a time", func() {
	It("says when it ends the sessions that are left, ends them then, and not before", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, "us-east-1", 1)
		m := w.session(ctx, "lingering", []string{"us-east-1"})
		w.runs(ctx, m)
		i := &v1alpha1.Instance{}
		Expect(w.Get(ctx, client.ObjectKey{Name: m.Status.InstanceName}, i)).To(Succeed())

		at := time.Now().Add(5 * time.Second).UTC().Truncate(time.Second)
		w.merge(ctx, i, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}},"spec":{"drain":true}}`,
			v1alpha1.AnnotationForceDrainAfter, at.Format(time.RFC3339)))
		Eventually(func() (string, error) {
			err := w.Get(ctx, client.ObjectKeyFromObject(i), i)
			drained := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionDrained)
			if err != nil || drained == nil {
				return "", err
			}
			return drained.Message, nil
		}).Should(ContainSubstring("ended at " + at.Format(time.RFC3339)))

		w.ends(ctx, m, v1alpha1.ReasonDrainTimeout)
		Expect(m.Status.FinishedTime.Time).NotTo(BeTemporally("<", at))
		Eventually(func() error { return w.Get(ctx, client.ObjectKeyFromObject(i), i) }).Should(MatchError(ContainSubstring("not found")))
	})
})
