// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/freeport"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// devNamespace is where the suite's second manager answers, which allows
// developers' clients; everywhere else the first one does.
const devNamespace = "dev"

var (
	plane  *controlplane.ControlPlane
	scheme = runtime.NewScheme()
	api    client.Client
	// production and development are two replicas as far as certificates go: they
	// share the Secret.
	production, development *server
	// certificateClock says when the CA is due.
	certificateClock = clocktesting.NewFakePassiveClock(time.Now())
)

// overlap is how long a new CA is announced before it is used.
const overlap = 3 * time.Second

// server is a manager that serves the webhooks, outside the cluster.
type server struct {
	ctrl.Manager
	configuration string
	certDir       string
}

func TestWebhooks(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	RunSpecs(t, "Webhooks", suite, reporter)
}

var _ = BeforeSuite(func() {
	log.SetLogger(GinkgoLogr)
	var err error
	plane, err = controlplane.Start(context.Background(), controlplane.Options{
		CRDPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })

	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	config := plane.Config()
	config.WarningHandlerWithContext = recordWarnings{}
	api, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())

	for _, name := range []string{webhook.DefaultNamespace, devNamespace} {
		Expect(api.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	}
	production = serve(webhook.ConfigurationName, webhook.Options{MandelboxesPerUser: 3}, metav1.LabelSelectorOpNotIn)
	development = serve(webhook.ConfigurationName+"-dev", webhook.Options{AllowDevClients: true}, metav1.LabelSelectorOpIn)
})

// serve starts a manager whose webhooks the API server calls for namespaced
// objects in (or not in) devNamespace, and waits until it can call them.
func serve(configuration string, options webhook.Options, devs metav1.LabelSelectorOperator) *server {
	GinkgoHelper()
	ctx, port := context.Background(), freePort()
	validating, mutating := webhook.LocalConfigurations("localhost", port)
	validating.Name, mutating.Name = configuration, configuration
	namespaces := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: corev1.LabelMetadataName, Operator: devs, Values: []string{devNamespace},
	}}}
	for i := range validating.Webhooks {
		validating.Webhooks[i].NamespaceSelector = namespaces
	}
	for i := range mutating.Webhooks {
		mutating.Webhooks[i].NamespaceSelector = namespaces
	}
	Expect(api.Create(ctx, validating)).To(Succeed())
	Expect(api.Create(ctx, mutating)).To(Succeed())
	return start(port, options, webhook.CertOptions{ConfigurationName: configuration, Clock: certificateClock})
}

// start starts a manager that serves webhooks on the port, and waits until the API
// server can call them.
func start(port int, options webhook.Options, certificates webhook.CertOptions) *server {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.Background())
	dir := GinkgoT().TempDir()
	certificates.CertDir, certificates.ExtraDNSNames, certificates.Overlap = dir, []string{"localhost"}, overlap
	manager, err := ctrl.NewManager(plane.Config(), ctrl.Options{
		Scheme:        scheme,
		Metrics:       metricsserver.Options{BindAddress: "0"},
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{Host: "localhost", Port: port, CertDir: dir}),
	})
	Expect(err).NotTo(HaveOccurred())
	ready := make(chan struct{})
	Expect(webhook.AddCertificates(ctx, manager, certificates, ready)).To(Succeed())
	Expect(index.Register(ctx, manager.GetFieldIndexer())).To(Succeed())
	Expect(webhook.SetupWithManager(manager, options)).To(Succeed())

	stopped := make(chan error, 1)
	go func() { stopped <- manager.Start(ctx) }()
	DeferCleanup(func() {
		cancel()
		Eventually(stopped).WithTimeout(eventuallyTimeout).Should(Receive(BeNil()))
	})
	Eventually(ready).WithTimeout(eventuallyTimeout).Should(BeClosed())
	Eventually(func() error { return manager.GetWebhookServer().StartedChecker()(nil) }).WithTimeout(eventuallyTimeout).Should(Succeed())
	return &server{Manager: manager, configuration: certificates.ConfigurationName, certDir: dir}
}

func freePort() int {
	GinkgoHelper()
	port, err := freeport.Find(context.Background())
	Expect(err).NotTo(HaveOccurred())
	return port
}

// caBundles are the CAs that the API server trusts the manager's webhooks by.
func (s *server) caBundles(ctx context.Context) ([][]byte, error) {
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	if err := api.Get(ctx, client.ObjectKey{Name: s.configuration}, &validating); err != nil {
		return nil, err
	}
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	if err := api.Get(ctx, client.ObjectKey{Name: s.configuration}, &mutating); err != nil {
		return nil, err
	}
	var bundles [][]byte
	for _, hook := range validating.Webhooks {
		bundles = append(bundles, hook.ClientConfig.CABundle)
	}
	for _, hook := range mutating.Webhooks {
		bundles = append(bundles, hook.ClientConfig.CABundle)
	}
	return bundles, nil
}
