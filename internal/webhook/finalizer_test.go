// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

var _ = Describe("The finalizer of a Mandelbox", func() {
	const own = "example.com/own"
	DescribeTable("comes with its creation", func(ctx context.Context, before, after []string) {
		mandelbox := newMandelbox(uniqueHash(), "us-nowhere-1")
		mandelbox.Finalizers = before
		Expect(api.Create(ctx, mandelbox, client.DryRunAll)).To(Succeed())
		Expect(mandelbox.Finalizers).To(Equal(after))
	},
		Entry("where there is none", nil, []string{v1alpha1.MandelboxFinalizer}),
		Entry("beside others", []string{own}, []string{own, v1alpha1.MandelboxFinalizer}),
		Entry("once", []string{v1alpha1.MandelboxFinalizer, own}, []string{v1alpha1.MandelboxFinalizer, own}),
	)

	It("comes with nothing else changed, and stays when the manifest is applied again", func(ctx context.Context) {
		manifest := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Mandelbox",
			"metadata": map[string]any{"namespace": "default", "name": uniqueName("session")},
			"spec": map[string]any{
				"userID": uniqueName("user"), "sessionID": "session", "clientCommitHash": uniqueHash(),
				"regions": []any{"us-nowhere-1"}, "maxSessionDuration": "90m",
			},
		}}
		// As `kubectl apply --server-side` and Flux do.
		apply := func() *unstructured.Unstructured {
			GinkgoHelper()
			stored := manifest.DeepCopy()
			Expect(api.Apply(ctx, client.ApplyConfigurationFromUnstructured(stored), client.FieldOwner("people"))).To(Succeed())
			return stored
		}
		DeferCleanup(remove, manifest)
		first := apply()
		Expect(first.GetFinalizers()).To(ConsistOf(v1alpha1.MandelboxFinalizer))
		Expect(first.Object["spec"]).To(HaveKeyWithValue("maxSessionDuration", "90m"))
		again := apply()
		Expect(again.GetManagedFields()).To(Equal(first.GetManagedFields()), "whose the finalizer is")
		Expect(again.GetFinalizers()).To(ConsistOf(v1alpha1.MandelboxFinalizer))
		Expect(again.Object["spec"]).To(Equal(first.Object["spec"]))
	})

	It("isn't waited for while its webhook can't be reached", func(ctx context.Context) {
		labels := map[string]string{"outage": uniqueName("outage")}
		_, down := webhook.LocalConfigurations("localhost", freePort())
		down.Name = labels["outage"]
		down.Webhooks[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: labels}
		// A second one that must not fail tells when the API server has heard of both.
		must := down.Webhooks[0].DeepCopy()
		must.Name = "must." + must.Name
		must.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"outage": labels["outage"] + "-must"}}
		must.FailurePolicy = ptr.To(admissionregistrationv1.Fail)
		down.Webhooks = append(down.Webhooks, *must)
		Expect(api.Create(ctx, down)).To(Succeed())
		DeferCleanup(func(ctx context.Context) { Expect(api.Delete(ctx, down)).To(Succeed()) })
		Eventually(func() error {
			return api.Create(ctx, labelled(newMandelbox(uniqueHash(), "us-nowhere-1"), must.ObjectSelector.MatchLabels), client.DryRunAll)
		}).WithTimeout(eventuallyTimeout).Should(MatchError(ContainSubstring("failed calling webhook")))
		Expect(api.Create(ctx, labelled(newMandelbox(uniqueHash(), "us-nowhere-1"), labels), client.DryRunAll)).To(Succeed())
	})
})
