// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

var _ = Describe("The webhook certificate", func() {
	stored := func(ctx context.Context) *corev1.Secret {
		GinkgoHelper()
		var secret corev1.Secret
		key := client.ObjectKey{Namespace: webhook.DefaultNamespace, Name: webhook.DefaultSecretName}
		Expect(api.Get(ctx, key, &secret)).To(Succeed())
		return &secret
	}
	// expectInUse waits until both managers serve the stored certificate and the
	// API server trusts it.
	expectInUse := func(ctx context.Context) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			secret := stored(ctx)
			for _, s := range []*server{production, development} {
				bundles, err := s.caBundles(ctx)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(bundles).To(HaveLen(4))
				g.Expect(bundles).To(HaveEach(Equal(secret.Data["ca.crt"])))
				served, err := os.ReadFile(filepath.Join(s.certDir, corev1.TLSCertKey))
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(served).To(Equal(secret.Data[corev1.TLSCertKey]))
			}
			// A new certificate is picked up a moment after its file is written.
			hash := uniqueHash()
			for _, namespace := range []string{"default", devNamespace} {
				mandelbox := newMandelbox(hash, "us-nowhere-1")
				mandelbox.Namespace = namespace
				_, err := admit(ctx, mandelbox)
				g.Expect(err).NotTo(HaveOccurred())
			}
		}).WithTimeout(eventuallyTimeout).Should(Succeed())
	}

	It("is shared by all replicas, and made out to the Service and the extra names", func(ctx context.Context) {
		expectInUse(ctx)
		secret := stored(ctx)
		Expect(secret.Type).To(Equal(corev1.SecretTypeTLS))
		block, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
		Expect(block).NotTo(BeNil())
		certificate, err := x509.ParseCertificate(block.Bytes)
		Expect(err).NotTo(HaveOccurred())
		Expect(certificate.DNSNames).To(ConsistOf("mandelbox-operator-webhook.mandelbox-system.svc", "localhost"))
		Expect(certificate.NotAfter).To(BeTemporally(">", time.Now().AddDate(0, 11, 0)))
	})

	It("does not leave the key of its CA on disk", func() {
		for _, s := range []*server{production, development} {
			files, err := os.ReadDir(s.certDir)
			Expect(err).NotTo(HaveOccurred())
			Expect(files).To(ConsistOf(
				HaveField("Name()", corev1.TLSCertKey), HaveField("Name()", corev1.TLSPrivateKeyKey)))
		}
	})

	It("is made anew, and taken into use, when it is lost", func(ctx context.Context) {
		secret := stored(ctx)
		lost := secret.Data[corev1.TLSCertKey]
		for name := range secret.Data {
			secret.Data[name] = nil
		}
		Expect(api.Update(ctx, secret)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(stored(ctx).Data[corev1.TLSCertKey]).NotTo(Or(BeEmpty(), Equal(lost)))
		}).WithTimeout(eventuallyTimeout).Should(Succeed())
		expectInUse(ctx)
	})

	It("comes back into a configuration that lost its CA", func(ctx context.Context) {
		registered := webhook.LocalConfiguration("localhost", freePort())
		registered.Name = production.configuration
		Expect(api.Get(ctx, client.ObjectKeyFromObject(registered), registered)).To(Succeed())
		for i := range registered.Webhooks {
			registered.Webhooks[i].ClientConfig.CABundle = nil
		}
		Expect(api.Update(ctx, registered)).To(Succeed())
		expectInUse(ctx)
	})
})
