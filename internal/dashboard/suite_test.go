// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// patience is how long what should be so in a moment may take on a machine that has
// other things to do.
const patience = time.Minute

// browser is the Chromium whose tabs the specs use.
var browser context.Context

func TestDashboard(t *testing.T) {
	RegisterFailHandler(Fail)
	ctrllog.SetLogger(logr.Discard())
	suite, reporter := GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	RunSpecs(t, "The dashboard", suite, reporter)
}

var _ = BeforeSuite(func() {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // It refuses its sandbox to root, as whom CI runs; its only pages are ours.
		// A name that somebody has made to lead here.
		chromedp.Flag("host-resolver-rules", "MAP rebound.example 127.0.0.1"),
		chromedp.WindowSize(1440, 900), chromedp.WSURLReadTimeout(patience))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	DeferCleanup(end)
	browser, end = chromedp.NewContext(allocator)
	DeferCleanup(end)
	_, err := chromedp.Run(browser, chromedp.Title())
	Expect(err).NotTo(HaveOccurred(), "a Chromium has to start: `make chromium` installs one")
})

// serve serves the dashboard of a source until the spec ends.
func serve(source Source) *Dashboard {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	d, err := New(Options{Source: source, Cluster: "production", Listener: listener})
	Expect(err).NotTo(HaveOccurred())
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx) }()
	DeferCleanup(func() {
		end()
		Eventually(ended).WithTimeout(patience).Should(Receive(MatchError(context.Canceled)))
	})
	return d
}

// tab is a tab of the browser, and what it complained of.
type tab struct {
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// newTab opens an empty tab.
func newTab() *tab {
	GinkgoHelper()
	t := &tab{}
	var end context.CancelFunc
	t.ctx, end = chromedp.NewContext(browser)
	DeferCleanup(end)
	Expect(chromedp.Run(t.ctx, chromedp.Title())).To(BeEmpty())
	messages := chromedp.Console(t.ctx)
	go func() {
		for message, err := range messages {
			if err != nil {
				return // The tab is closed.
			}
			t.complain(message.String() + " " + message.URL)
		}
	}()
	return t
}

// open opens the page of a fleet in a new tab.
func open(d *Dashboard) *tab {
	GinkgoHelper()
	t := newTab()
	t.visit(d)
	return t
}

// visit opens the page of a fleet, and waits until it is live. The spec fails if the
// page writes anything on the console.
func (t *tab) visit(d *Dashboard) {
	GinkgoHelper()
	t.do(chromedp.Navigate(d.URL()))
	t.says("#link", Equal("Live"))
	DeferCleanup(func() { Expect(t.complained()).To(BeEmpty(), "on the console") })
}

func (t *tab) complain(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complaints = append(t.complaints, what)
}

func (t *tab) complained() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.complaints...)
}

// do does something in a tab.
func (t *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	Expect(chromedp.Do(ctx, actions...)).To(Succeed())
}

// get is what an action finds in a tab.
func get[T any](t *tab, action chromedp.Action[T]) T {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	Expect(err).NotTo(HaveOccurred())
	return value
}

// eval is what a script evaluates to, or what its promise is kept with.
func eval[T any](t *tab, script string) T {
	GinkgoHelper()
	return get(t, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

// call calls a command of the browser's protocol.
func call[P, R any](t *tab, command cdp.Command[P, R], params P) R {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	Expect(err).NotTo(HaveOccurred())
	return result
}

// says waits until the text of an element is as it should be.
func (t *tab) says(selector string, matcher OmegaMatcher) {
	GinkgoHelper()
	Eventually(func() string { return t.text(selector) }).WithTimeout(patience).Should(matcher)
}

// text is the text of the first element that a selector finds; none is empty.
func (t *tab) text(selector string) string {
	GinkgoHelper()
	return strings.TrimSpace(eval[string](t, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector)))
}

// count is how many elements a selector finds.
func (t *tab) count(selector string) int {
	GinkgoHelper()
	return eval[int](t, fmt.Sprintf("document.querySelectorAll(%q).length", selector))
}
