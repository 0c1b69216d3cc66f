// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/follow"
	"github.com/mandelbox/mandelbox-operator/internal/view/viewtest"
)

// counting counts requests.
type counting struct {
	http.RoundTripper
	requests *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

var _ = Describe("With an API server", Ordered, func() {
	var (
		plane *controlplane.ControlPlane
		api   client.Client
		// asked counts what the dashboard asks of the API server.
		asked atomic.Int64
		t     *tab
	)

	BeforeAll(func(ctx SpecContext) {
		var err error
		plane, err = controlplane.Start(context.Background(), controlplane.Options{
			CRDPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")},
		})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })
		scheme := runtime.NewScheme()
		Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
		Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
		api, err = client.New(plane.Config(), client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		Expect(api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}})).To(Succeed())
		Expect(viewtest.Put(ctx, api, viewtest.Region("us-east-1"), viewtest.AMI("stable", "us-east-1"), viewtest.Host("east-1", "us-east-1", "stable", 4))).To(Succeed())

		config := plane.Config()
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{next, &asked} })
		watching, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		following, end := context.WithCancel(context.Background())
		DeferCleanup(end)
		t = newTab()
		t.visit(serve(follow.Start(following, watching, "")))
	})

	It("shows a change by being told of it: neither the page nor the server asks", func(ctx SpecContext) {
		Eventually(func() int { return t.count(".host") }).WithTimeout(patience).Should(Equal(1))
		before := asked.Load()
		// The browser asks for the icon once the page is there, which may be late.
		const loads = "performance.getEntriesByType('resource').filter((e) => !e.name.endsWith('/icon.svg')).length"
		loaded := eval[int](t, loads)
		eval[bool](t, `{
			window.shown = new Promise((done) => new MutationObserver(() => {
				if (document.querySelectorAll(".host").length === 2) done(Date.now());
			}).observe(document.body, { subtree: true, childList: true }));
			true;
		}`)

		host := viewtest.Host("east-2", "us-east-1", "stable", 2)
		Expect(viewtest.Put(ctx, api, host)).To(Succeed())
		written := time.Now()
		shown := time.UnixMilli(eval[int64](t, "window.shown"))
		AddReportEntry("from the API server's answer to the page", shown.Sub(written).String())

		t.says(`#totals [data-total="Slots"]`, MatchRegexp(`6\s+of 6 free`))
		Expect(asked.Load()).To(Equal(before), "the API server was asked nothing")
		Expect(eval[int](t, loads)).To(Equal(loaded), "the page loaded nothing")
	})

	It("survives a restart of the API server, and says how old it is meanwhile", func(ctx SpecContext) {
		Expect(plane.KillAPIServer(ctx)).To(Succeed())
		t.says("#link", HavePrefix("Behind since "))
		Expect(t.count(".host")).To(Equal(2), "what was seen last is still there")
		Expect(plane.StartAPIServer(ctx)).To(Succeed())
		// An informer that failed for a while tries again once a minute at the latest.
		Eventually(func() string { return t.text("#link") }).WithTimeout(3 * patience).Should(Equal("Live"))
		Expect(viewtest.Put(ctx, api, viewtest.Host("east-3", "us-east-1", "stable", 2))).To(Succeed())
		Eventually(func() int { return t.count(".host") }).WithTimeout(patience).Should(Equal(3))
		Expect(t.complained()).To(BeEmpty())
	})
})
