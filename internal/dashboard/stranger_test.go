// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/chromedp/chromedp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("Another site's page, which has come to know the address,", func() {
	var dashboard *Dashboard
	var t *tab

	BeforeEach(func() {
		dashboard = serve(remember(busyFleet()))
		stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, err := fmt.Fprint(w, "<title>Stranger</title><body>")
			Expect(err).NotTo(HaveOccurred())
		}))
		DeferCleanup(stranger.Close)
		t = newTab()
		t.do(chromedp.Navigate(stranger.URL))
	})

	DescribeTable("gets nothing by", func(script string) {
		Expect(eval[string](t, fmt.Sprintf(script, dashboard.URL()))).To(Equal("refused"))
	},
		Entry("a fetch", `fetch(%q).then((r) => r.text(), () => "refused")`),
		Entry("a fetch that need not be read", `fetch(%q + "icon.svg", {mode: "no-cors"}).then((r) => r.type, () => "refused")`),
		Entry("an event source", `new Promise((done) => {
			const source = new EventSource(%q + "events");
			source.onopen = source.onmessage = () => done("opened");
			source.onerror = () => done("refused");
		})`),
		Entry("an image", `new Promise((done) => {
			const image = new Image();
			image.onload = () => done("loaded");
			image.onerror = () => done("refused");
			image.src = %q + "icon.svg";
		})`),
		Entry("a script", `new Promise((done) => {
			const script = document.createElement("script");
			script.type = "module";
			script.onload = () => done("loaded");
			script.onerror = () => done("refused");
			script.src = %q + "page.js";
			document.head.append(script);
		})`),
		Entry("a window that it opens", `new Promise((done) => {
			const frame = document.createElement("iframe");
			frame.onload = () => {
				try { done(frame.contentDocument === null ? "refused" : "empty"); } catch { done("refused"); }
			};
			frame.src = %q;
			document.body.append(frame);
		})`),
	)

	It("is told so when it leads there", func() {
		t.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.href = %q`, dashboard.URL())))
		t.says("body", Equal("The dashboard answers no other site."))
	})

	It("gets nothing by a name of its own that leads to this machine", func() {
		address, err := url.Parse(dashboard.URL())
		Expect(err).NotTo(HaveOccurred())
		t.do(chromedp.Navigate("http://rebound.example:" + address.Port() + address.Path))
		t.says("body", Equal("The dashboard answers to "+dashboard.guard.origin()+" alone."))
	})
})

var _ = Describe("The ticket", func() {
	It("opens the page in the browser that it is given to, and is of no use to who reads it there", func() {
		dashboard := serve(remember(fullFleet(3, 8)))
		t := newTab()
		t.do(chromedp.Navigate(dashboard.TicketURL()))
		t.says("#link", Equal("Live"))
		Expect(get(t, chromedp.Location())).To(Equal(dashboard.URL()))
		other := newTab()
		other.do(chromedp.Navigate(dashboard.TicketURL()))
		other.says("body", HavePrefix("There is nothing here."))
	})
})
