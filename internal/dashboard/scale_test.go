// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	// watchNodes has a page count the nodes that are touched, but for ages, which grow by
	// themselves.
	watchNodes = `{
		window.touched = 0;
		const aging = (node) => (node.parentElement ?? node).closest("time.age") !== null;
		new MutationObserver((records) => { touched += records.filter((r) => !aging(r.target)).length; }).observe(document.documentElement, {
			subtree: true, childList: true, attributes: true, characterData: true,
		});
		true;
	}`
	// watchFrames has a page note its longest task and its longest time without a
	// frame, in milliseconds. See https://www.w3.org/TR/longtasks-1/.
	watchFrames = `{
		window.longest = window.gap = 0;
		new PerformanceObserver((list) => {
			for (const task of list.getEntries()) longest = Math.max(longest, task.duration);
		}).observe({ type: "longtask" });
		let last = performance.now();
		const frame = (now) => {
			gap = Math.max(gap, now - last);
			last = now;
			requestAnimationFrame(frame);
		};
		requestAnimationFrame(frame);
		true;
	}`
)

var _ = Describe("With 1,000 hosts and 8,000 sessions, the page", Serial, func() {
	// busy is for how many seconds a page's thread has worked.
	busy := func(t *tab) float64 {
		GinkgoHelper()
		for _, m := range call(t, performance.GetMetrics, cdp.Empty{}).Metrics {
			if m.Name == "TaskDuration" {
				return m.Value
			}
		}
		Fail("the browser does not measure its tasks")
		return 0
	}

	It("draws every host and slot, and Tab gets past them in one step", func() {
		t := open(serve(remember(fullFleet(1000, 8))))
		Expect(t.count(".host")).To(Equal(1000))
		Expect(t.count(".slots [data-state=running]")).To(Equal(8000))
		Expect(t.count(".host[tabindex='0']")).To(Equal(1))
	})

	It("touches as few nodes for a change as a page of three hosts", func() {
		touchedOf := func(hosts int) int {
			source := remember(fullFleet(hosts, 8))
			t := open(serve(source))
			eval[bool](t, watchNodes)
			source.toggle(4, 2)
			Eventually(func() int { return t.count(".slots [data-state=reserved], .slots [data-state=free]") }).WithTimeout(patience).Should(Equal(1))
			t.says(`#totals [data-total="Slots"]`, MatchRegexp(`1\s+of`))
			return eval[int](t, "touched")
		}
		few := touchedOf(3)
		Expect(few).To(BeNumerically(">", 0))
		Expect(touchedOf(1000)).To(BeNumerically("<=", few+1))
		Expect(few).To(BeNumerically("<", 20))
	})

	It("keeps up with sessions that come and go on fifty hosts at a time", func() {
		const rounds, atOnce = 20, 50
		source := remember(fullFleet(1000, 8))
		t := newTab()
		call(t, performance.Enable, performance.EnableParams{})
		t.visit(serve(source))
		first := busy(t)
		eval[bool](t, watchNodes)
		eval[bool](t, watchFrames)
		began := eval[float64](t, "performance.now()")
		before := busy(t)
		for round := range rounds {
			hosts := make([]int, atOnce)
			for i := range hosts {
				hosts[i] = (round*atOnce + i) % 1000
			}
			source.toggle(int32(round%8), hosts...)
			// Each is awaited in the page, which nobody asks meanwhile.
			eval[bool](t, fmt.Sprintf(`new Promise((done) => {
				const look = () => document.querySelectorAll(".slots [data-state=free]").length === %d ? done(true) : requestAnimationFrame(look);
				look();
			})`, (round+1)*atOnce))
		}
		took := eval[float64](t, "performance.now()") - began
		working := busy(t) - before
		measured := fmt.Sprintf("longest task %.0f ms, longest time without a frame %.0f ms, busy for %.2f of %.2f s; drawn first in %.2f s",
			eval[float64](t, "longest"), eval[float64](t, "gap"), working, took/1000, first)
		AddReportEntry("while updates stream", measured)
		GinkgoWriter.Println(measured)
		Expect(eval[int](t, "touched")).To(BeNumerically("<", rounds*atOnce*20), "an update costs what changed, not what there is")
	})
})
