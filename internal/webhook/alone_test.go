// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

var _ = Describe("A cluster without the MutatingWebhookConfiguration", func() {
	It("is served all the same, and its CA replaced", func(ctx context.Context) {
		const alone = "alone"
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: alone}}
		Expect(api.Create(ctx, namespace)).To(Succeed())
		port := freePort()
		validating, _ := webhook.LocalConfigurations("localhost", port)
		validating.Name = alone
		// A selector of namespaces holds for nothing else.
		validating.Webhooks = slices.DeleteFunc(validating.Webhooks, func(w admissionregistrationv1.ValidatingWebhook) bool {
			return !slices.Contains(w.Rules[0].Resources, "mandelboxes")
		})
		Expect(validating.Webhooks).To(HaveLen(1))
		for i := range validating.Webhooks {
			validating.Webhooks[i].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: alone}}
		}
		Expect(api.Create(ctx, validating)).To(Succeed())
		DeferCleanup(func(ctx context.Context) { Expect(api.Delete(ctx, validating)).To(Succeed()) })

		clock := clocktesting.NewFakePassiveClock(time.Now())
		start(port, webhook.Options{}, webhook.CertOptions{SecretName: alone, ConfigurationName: alone, Clock: clock})
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: webhook.DefaultNamespace, Name: alone}}
		expectServed := func() {
			GinkgoHelper()
			Eventually(func(g Gomega) {
				g.Expect(api.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
				g.Expect(api.Get(ctx, client.ObjectKeyFromObject(validating), validating)).To(Succeed())
				for _, hook := range validating.Webhooks {
					g.Expect(hook.ClientConfig.CABundle).To(Equal(secret.Data["ca.crt"]))
				}
				mandelbox := newMandelbox(uniqueHash(), "us-nowhere-1")
				mandelbox.Namespace = alone
				_, err := admit(ctx, mandelbox)
				g.Expect(err).NotTo(HaveOccurred())
			}).WithTimeout(eventuallyTimeout).Should(Succeed())
		}
		expectServed()

		old := firstOf(secret.Data["ca.crt"])
		clock.SetTime(old.NotAfter.AddDate(0, 0, -120))
		// What the manager would see at its next look, it sees at a change.
		secret.Annotations = map[string]string{"example.com/look": "now"}
		Expect(api.Update(ctx, secret)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(api.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
			g.Expect(firstOf(secret.Data["ca.crt"]).Raw).NotTo(Equal(old.Raw))
		}).WithTimeout(eventuallyTimeout).Should(Succeed())
		expectServed()
	})
})
