// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
				g.Expect(bundles).To(HaveLen(5))
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

	It("comes back into configurations that lost their CA", func(ctx context.Context) {
		validating, mutating := webhook.LocalConfigurations("localhost", freePort())
		key := client.ObjectKey{Name: production.configuration}
		Expect(api.Get(ctx, key, validating)).To(Succeed())
		Expect(api.Get(ctx, key, mutating)).To(Succeed())
		for i := range validating.Webhooks {
			validating.Webhooks[i].ClientConfig.CABundle = nil
		}
		mutating.Webhooks[0].ClientConfig.CABundle = nil
		Expect(api.Update(ctx, validating)).To(Succeed())
		Expect(api.Update(ctx, mutating)).To(Succeed())
		expectInUse(ctx)
	})

	// underLoad asks both managers for admission all the time while f runs, and expects
	// an answer of every request.
	underLoad := func(ctx context.Context, f func()) {
		GinkgoHelper()
		loading, stop := context.WithCancel(ctx)
		var load sync.WaitGroup
		failures := make(chan error, 100)
		var admitted atomic.Int64
		hash := uniqueHash()
		for n := range 4 {
			mandelbox := newMandelbox(hash, "us-nowhere-1")
			mandelbox.Namespace = []string{"default", devNamespace}[n%2]
			load.Go(func() {
				for loading.Err() == nil {
					switch _, err := admit(loading, mandelbox.DeepCopy()); {
					case err == nil:
						admitted.Add(1)
					case loading.Err() == nil:
						select {
						case failures <- err:
						default:
						}
					}
				}
			})
		}
		// However f ends, the load has to.
		func() {
			defer func() {
				stop()
				load.Wait()
			}()
			Eventually(admitted.Load).WithTimeout(eventuallyTimeout).Should(BeNumerically(">", 50))
			f()
			more := admitted.Load() + 50
			Eventually(admitted.Load).WithTimeout(eventuallyTimeout).Should(BeNumerically(">", more))
		}()
		close(failures)
		for err := range failures {
			Expect(err).NotTo(HaveOccurred())
		}
	}

	It("is renewed under load with no failed admission", func(ctx context.Context) {
		expectInUse(ctx)
		underLoad(ctx, func() {
			for range 3 {
				secret := stored(ctx)
				issueUntil(secret, time.Now().AddDate(0, 0, 30))
				old := secret.Data[corev1.TLSCertKey]
				Expect(api.Update(ctx, secret)).To(Succeed())
				Eventually(func() []byte { return stored(ctx).Data[corev1.TLSCertKey] }).
					WithTimeout(eventuallyTimeout).ShouldNot(Equal(old))
				expectInUse(ctx)
			}
		})
	})

	It("changes over to another CA under load with no failed admission, months before the old one ends", func(ctx context.Context) {
		expectInUse(ctx)
		before := stored(ctx)
		old := firstOf(before.Data["ca.crt"])
		DeferCleanup(certificateClock.SetTime, time.Now())
		versions := watchSecret(ctx, before)
		underLoad(ctx, func() {
			certificateClock.SetTime(old.NotAfter.AddDate(0, 0, -120))
			// What the replicas would see at their next look, they see at a change.
			Eventually(func() error {
				secret := stored(ctx)
				secret.Annotations = map[string]string{"example.com/look": "now"}
				return api.Update(ctx, secret)
			}).Should(Succeed())
			Eventually(func() []byte { return firstOf(stored(ctx).Data["ca.crt"]).Raw }).
				WithTimeout(eventuallyTimeout).ShouldNot(Equal(old.Raw))
			expectInUse(ctx)
		})
		secret := stored(ctx)
		Expect(secret.Data).NotTo(HaveKey("next-ca.key"))
		Expect(firstOf(secret.Data["ca.crt"]).NotAfter).To(BeTemporally(">", old.NotAfter))
		Expect(secret.Data["ca.key"]).NotTo(Equal(before.Data["ca.key"]))
		_, beside := pem.Decode(secret.Data["ca.crt"])
		Expect(firstOf(beside).Raw).To(Equal(old.Raw), "the old CA, of which a replica may still serve a certificate")
		expectAnnounced(versions())
	})
})

// version is a version of a Secret, and when it was seen.
type version struct {
	*corev1.Secret
	seen time.Time
}

// watchSecret follows a Secret from this version on, and returns what ends that and
// tells the versions that there were.
func watchSecret(ctx context.Context, from *corev1.Secret) func() []version {
	GinkgoHelper()
	watcher, err := client.NewWithWatch(plane.Config(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	watch, err := watcher.Watch(ctx, &corev1.SecretList{}, client.InNamespace(from.Namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: from.ResourceVersion}})
	Expect(err).NotTo(HaveOccurred())
	versions, ended := []version{{from, time.Now()}}, make(chan struct{})
	go func() {
		defer close(ended)
		for event := range watch.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok && secret.Name == from.Name {
				versions = append(versions, version{secret, time.Now()})
			}
		}
	}()
	return func() []version {
		watch.Stop()
		<-ended
		return versions
	}
}

// expectAnnounced expects of each certificate in the versions of a Secret that its CA
// had been in the bundle, which API servers are given, for the overlap when it came:
// an API server that hears late of a CA must never meet a certificate of it.
func expectAnnounced(versions []version) {
	GinkgoHelper()
	changes := 0
	for i := range versions[1:] {
		before, after := versions[i], versions[i+1]
		if bytes.Equal(before.Data[corev1.TLSCertKey], after.Data[corev1.TLSCertKey]) {
			continue
		}
		changes++
		issued := firstOf(after.Data[corev1.TLSCertKey])
		announced := slices.IndexFunc(versions[:i+1], func(v version) bool {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(v.Data["ca.crt"])
			_, err := issued.Verify(x509.VerifyOptions{Roots: roots})
			return err == nil
		})
		Expect(announced).NotTo(Equal(-1), "a certificate came together with its CA")
		Expect(after.seen.Sub(versions[announced].seen)).To(BeNumerically(">=", overlap))
	}
	Expect(changes).To(Equal(1))
}

// firstOf is the first certificate of a bundle.
func firstOf(bundle []byte) *x509.Certificate {
	GinkgoHelper()
	block, _ := pem.Decode(bundle)
	Expect(block).NotTo(BeNil())
	certificate, err := x509.ParseCertificate(block.Bytes)
	Expect(err).NotTo(HaveOccurred())
	return certificate
}

// issueUntil puts a certificate of the Secret's own CA into it that ends then.
func issueUntil(secret *corev1.Secret, end time.Time) {
	GinkgoHelper()
	key, _ := pem.Decode(secret.Data["ca.key"])
	Expect(key).NotTo(BeNil())
	private, err := x509.ParsePKCS1PrivateKey(key.Bytes)
	Expect(err).NotTo(HaveOccurred())
	maker := rotator.CertRotator{
		DNSName: "mandelbox-operator-webhook.mandelbox-system.svc", ExtraDNSNames: []string{"localhost"},
		ExtKeyUsages: &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	ca := &rotator.KeyPairArtifacts{Cert: firstOf(secret.Data["ca.crt"]), Key: private}
	certificate, certificateKey, err := maker.CreateCertPEM(ca, time.Now().Add(-time.Hour), end)
	Expect(err).NotTo(HaveOccurred())
	secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey] = certificate, certificateKey
}
