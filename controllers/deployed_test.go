// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/freeport"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// asDeployed has the manager of a world do all that it does by config/: elect a
// leader, serve webhooks with a certificate of its own, and metrics to those who may
// read them, at an address that it returns.
func asDeployed(w *world) (metrics string) {
	GinkgoHelper()
	metrics = fmt.Sprintf("localhost:%d", freePort())
	hooks := &controllers.WebhookOptions{
		Host: "localhost", Port: freePort(), OwnCertificates: true,
		Certificates: webhook.CertOptions{CertDir: GinkgoT().TempDir(), ExtraDNSNames: []string{"localhost"}},
	}
	w.configure = func(o *controllers.Options) {
		o.ClusterID = "" // The UID of kube-system, which it reads.
		o.LeaderElection, o.LeaderElectionNamespace = true, managerNamespace
		o.MetricsAddress, o.Webhooks = metrics, hooks
	}
	var err error
	w.role, err = managerrole.Of(string(plane.ClusterUID()))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(managerrole.Verify(w.role)).To(Succeed()) })
	validating, mutating := webhook.LocalConfigurations("localhost", hooks.Port)
	admin, err := client.New(plane.Config(), client.Options{Scheme: controllers.NewScheme()})
	Expect(err).NotTo(HaveOccurred())
	Expect(admin.Create(context.Background(), validating)).To(Succeed())
	Expect(admin.Create(context.Background(), mutating)).To(Succeed())
	DeferCleanup(func() {
		Expect(admin.Delete(context.Background(), validating)).To(Succeed())
		Expect(admin.Delete(context.Background(), mutating)).To(Succeed())
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: managerNamespace, Name: webhook.DefaultSecretName}}
		Expect(client.IgnoreNotFound(admin.Delete(context.Background(), secret))).To(Succeed())
	})
	return metrics
}

func freePort() int {
	GinkgoHelper()
	port, err := freeport.Find(context.Background())
	Expect(err).NotTo(HaveOccurred())
	return port
}

// awaitWebhooks waits until the API server can call the manager's webhooks, that which
// puts the finalizer on a session among them.
func (w *world) awaitWebhooks(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		probe := w.newSession("probe", []string{"us-nowhere-1"})
		g.Expect(w.Create(ctx, probe, client.DryRunAll)).To(Succeed())
		g.Expect(probe.Finalizers).To(ConsistOf(v1alpha1.MandelboxFinalizer))
	}).WithTimeout(time.Minute).Should(Succeed())
}

// readMetrics asks for the manager's metrics with a token, or with none if it is empty.
func readMetrics(ctx context.Context, address, token string) (status int, body string) {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// The manager signs this certificate itself, for nobody to check.
	doer := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer doer.CloseIdleConnections()
	answer, err := doer.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(answer.Body.Close()).To(Succeed()) }()
	content, err := io.ReadAll(answer.Body)
	Expect(err).NotTo(HaveOccurred())
	return answer.StatusCode, string(content)
}

// account makes a ServiceAccount in the world's namespace, with the ClusterRoles that
// are named, and returns a token of it.
func (w *world) account(ctx context.Context, name string, roles ...string) string {
	GinkgoHelper()
	Expect(w.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}})).To(Succeed())
	for _, role := range roles {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: name}},
		}
		Expect(w.Create(ctx, binding)).To(Succeed())
		DeferCleanup(func() { Expect(w.Delete(context.Background(), binding)).To(Succeed()) })
	}
	admin, err := kubernetes.NewForConfig(plane.Config())
	Expect(err).NotTo(HaveOccurred())
	return accountToken(ctx, admin, w.namespace, name)
}

var _ = Describe("A manager as it is deployed", func() {
	It("leads, admits, runs sessions and is measured, with the permissions of its ServiceAccount alone", func(ctx context.Context) {
		var metrics string
		w := newWorld(func(w *world) { metrics = asDeployed(w) })
		By("admitting what makes sense, and refusing what doesn't")
		w.awaitWebhooks(ctx)
		w.fleet(ctx, 1)
		w.runs(ctx, w.session(ctx, "one", []string{home}))
		dev := w.newSession("dev", []string{home})
		dev.Spec.ClientCommitHash = "local_dev"
		Expect(w.Create(ctx, dev)).To(MatchError(ContainSubstring("--allow-dev-clients")))

		By("showing its metrics to those who may read them")
		reader := w.account(ctx, "reader", "mandelbox-operator-metrics-reader")
		Eventually(func() string {
			_, body := readMetrics(ctx, metrics, reader)
			return body
		}).WithTimeout(time.Minute).Should(ContainSubstring("controller_runtime_reconcile_total"))
		status, _ := readMetrics(ctx, metrics, w.account(ctx, "nobody"))
		Expect(status).To(Equal(http.StatusForbidden))
		status, _ = readMetrics(ctx, metrics, "")
		Expect(status).To(Equal(http.StatusUnauthorized))

		By("making its certificate anew when that is lost")
		var secret corev1.Secret
		key := client.ObjectKey{Namespace: managerNamespace, Name: webhook.DefaultSecretName}
		Expect(w.Get(ctx, key, &secret)).To(Succeed())
		lost := string(secret.Data[corev1.TLSCertKey])
		secret.Data = map[string][]byte{corev1.TLSCertKey: nil, corev1.TLSPrivateKeyKey: nil}
		Expect(w.Update(ctx, &secret)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(w.Get(ctx, key, &secret)).To(Succeed())
			g.Expect(string(secret.Data[corev1.TLSCertKey])).NotTo(Or(BeEmpty(), Equal(lost)))
		}).WithTimeout(time.Minute).Should(Succeed())
		w.awaitWebhooks(ctx)
	})
	It("works with an API server that can't stream what its caches begin with, and lists it", func(ctx context.Context) {
		w := newWorld(func(w *world) {
			asDeployed(w)
			w.wrap = withoutStreams
		})
		w.awaitWebhooks(ctx)
		w.fleet(ctx, 1)
		w.runs(ctx, w.session(ctx, "one", []string{home}))
	})
})

// withoutStreams answers for an API server that, as older ones, can't stream lists.
// See https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists.
func withoutStreams(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if !r.URL.Query().Has("sendInitialEvents") {
			return next.RoundTrip(r)
		}
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,
			"message":"sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"}`
		return &http.Response{
			StatusCode: http.StatusUnprocessableEntity, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	})
}

// unreachable sends all calls of webhooks to a port where nobody listens; back undoes it.
func (w *world) unreachable(ctx context.Context) (back func()) {
	GinkgoHelper()
	var registered admissionregistrationv1.ValidatingWebhookConfiguration
	to := func(address func(string) string) {
		GinkgoHelper()
		Eventually(func() error {
			if err := w.Get(ctx, client.ObjectKey{Name: webhook.ConfigurationName}, &registered); err != nil {
				return err
			}
			for i := range registered.Webhooks {
				called := registered.Webhooks[i].ClientConfig.URL
				*called = address(*called)
			}
			return w.Update(ctx, &registered)
		}).Should(Succeed())
	}
	var before string
	nowhere := fmt.Sprintf("localhost:%d", freePort())
	to(func(called string) string {
		at, err := url.Parse(called)
		Expect(err).NotTo(HaveOccurred())
		before, at.Host = at.Host, nowhere
		return at.String()
	})
	return func() {
		to(func(called string) string { return strings.Replace(called, nowhere, before, 1) })
	}
}

var _ = Describe("While no webhook can be reached", func() {
	It("sessions end, deletions and status go on, hosts are replaced, and what is new is refused with the reason", func(ctx context.Context) {
		w := newWorld(func(w *world) { asDeployed(w) })
		w.awaitWebhooks(ctx)
		host := &w.fleet(ctx, 1, free(1))[0]
		ends, deleted, lost := w.session(ctx, "ends", []string{home}), w.session(ctx, "deleted", []string{home}), w.session(ctx, "lost", []string{home})
		for _, m := range []*v1alpha1.Mandelbox{ends, deleted, lost} {
			w.runs(ctx, m)
		}
		back := w.unreachable(ctx)
		By("refusing what is new, and saying why")
		refused := MatchError(And(ContainSubstring(`failed calling webhook "mandelbox.cloud.mandelbox.dev"`), ContainSubstring("connection refused")))
		Eventually(func() error {
			return w.Create(ctx, w.newSession("new", []string{home}), client.DryRunAll)
		}).Should(refused)
		Expect(w.Create(ctx, w.newSession("new", []string{home}))).To(refused)

		By("ending sessions, by themselves and by deletion")
		w.exit(home, ends, 0)
		w.ends(ctx, ends, v1alpha1.ReasonCompleted)
		w.remove(ctx, deleted)
		By("replacing the host")
		Expect(w.aws.KillInstance("", home, host.Status.InstanceID)).To(Succeed())
		w.ends(ctx, lost, v1alpha1.ReasonHostLost)
		w.expectReplaced(ctx, host)
		By("draining the new one")
		next, err := w.hosts(ctx, v1alpha1.InstanceActive)()
		Expect(err).NotTo(HaveOccurred())
		w.drain(ctx, &next[0], "true")
		Eventually(w.gone(ctx, &next[0])).Should(BeTrue())

		By("taking what is new again once they are back")
		back()
		w.awaitWebhooks(ctx)
		w.runs(ctx, w.session(ctx, "new", []string{home}))
	})
})
