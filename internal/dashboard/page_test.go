// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/view"
	"github.com/mandelbox/mandelbox-operator/internal/view/viewtest"
)

// inScheme has a tab prefer light or dark.
func inScheme(t *tab, scheme string) {
	GinkgoHelper()
	call(t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// faintTexts is a script for the texts of a page that stand out too little from what
// is behind them: https://www.w3.org/TR/WCAG22/#contrast-minimum asks for 4.5.
const faintTexts = `(() => {
	const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
	const light = (rgb) => {
		const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (node) => {
		for (; node; node = node.parentElement) {
			const [r, g, b, a = 1] = channels(getComputedStyle(node).backgroundColor);
			if (a === 1) return [r, g, b];
		}
		return [255, 255, 255];
	};
	const faint = [];
	for (const node of document.querySelectorAll("body *")) {
		const own = [...node.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
		if (!own || !node.checkVisibility()) continue;
		const [a, b] = [light(channels(getComputedStyle(node).color).slice(0, 3)), light(behind(node))];
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < 4.5) faint.push(node.textContent + ": " + contrast.toFixed(2));
	}
	return faint;
})()`

// brokenWords is a script for the words of the queue's reasons that go over several lines.
const brokenWords = `[...document.querySelectorAll("#waiting tr > :nth-child(3)")].flatMap((cell) => {
	const letters = [];
	const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) for (let i = 0; i < texts.currentNode.length; i++) letters.push([texts.currentNode, i]);
	return [...cell.textContent.matchAll(/[A-Z][a-z]*/g)].filter((word) => {
		const [first, last] = [letters[word.index], letters[word.index + word[0].length - 1]];
		const range = document.createRange();
		range.setStart(...first);
		range.setEnd(last[0], last[1] + 1);
		return new Set([...range.getClientRects()].map((r) => r.top)).size > 1;
	}).map((word) => word[0]);
})`

var _ = Describe("The page", func() {
	It("shows what is wrong first, regions with their hosts and slots, rollouts and the queue", func() {
		t := open(serve(remember(busyFleet())))
		Expect(get(t, chromedp.Title())).To(Equal("(3) Mandelboxes production"))
		Expect(eval[[]string](t, `[...document.querySelectorAll("main h2")].filter((h) => h.checkVisibility()).map((h) => h.textContent)`)).To(
			Equal([]string{"What is wrong", "Hosts", "Channels and rollouts", "Queue"}))
		Expect(eval[[]string](t, `[...document.querySelectorAll("#troubles strong")].map((s) => s.textContent)`)).To(
			Equal([]string{"Unauthorized", "AgentDisconnected", "NoInstanceAvailable"}))
		Expect(t.text("#troubles .broken")).To(And(ContainSubstring("Region us-west-2"), ContainSubstring("kubectl mandelbox logs region/us-west-2")))
		Expect(t.text("#totals")).To(And(MatchRegexp(`Sessions\s+69 running`), MatchRegexp(`Waiting\s+3 for a slot`), MatchRegexp(`Hosts\s+13 of 17 active`)))
		Expect(eval[[]string](t, `[...document.querySelectorAll(".region h3")].map((h) => h.textContent)`)).To(
			Equal([]string{"eu-central-1", "us-east-1", "us-west-2"}))
		Expect(t.count(".host")).To(Equal(17))
		for state, n := range map[string]int{"running": 69, "starting": 1, "ending": 1, "closed": 8} {
			Expect(t.count(fmt.Sprintf(".slots [data-state=%s]", state))).To(Equal(n), state)
		}
		Expect(t.count(".host[data-release=coming]")).To(Equal(4))
		Expect(t.text("#channels")).To(And(ContainSubstring("0123456789ab → fedcba987654"), ContainSubstring("warms: 1 of 2 hosts warm, 5 old")))
		Expect(t.text("#waiting")).To(And(ContainSubstring("team-b/john"), ContainSubstring("stable in us-west-2"), ContainSubstring("4m")))
	})

	It("breaks the reasons for waiting between their words only", func() {
		t := open(serve(remember(busyFleet())))
		Expect(eval[[]string](t, brokenWords)).To(BeEmpty())
		Expect(t.text("#waiting .reason")).To(HavePrefix("NoInstanceAvailable"), "it can still be searched for and copied")
	})

	It("says so when nothing is wrong and nobody waits", func() {
		t := open(serve(remember(fullFleet(3, 8))))
		Expect(t.text("#troubles")).To(Equal("Nothing is wrong."))
		Expect(t.text("#side")).To(ContainSubstring("No session waits for a slot."))
	})

	It("says so when there is no fleet yet", func() {
		t := open(serve(remember(view.Snapshot{})))
		t.says("#map", ContainSubstring("There is no Region yet, and no host."))
	})

	It("forgets a channel in a region with its last host there", func() {
		fleet := fullFleet(3, 2)
		stray := viewtest.Host("stray", "us-east-1", "gone", 2)
		fleet.Instances = append(fleet.Instances, *stray)
		source := remember(fleet)
		t := open(serve(source))
		Expect(t.count(".channel")).To(Equal(4))
		source.change(func(m *memory) { m.snapshot.Instances = m.snapshot.Instances[:3] })
		Eventually(func() int { return t.count(".channel") }).WithTimeout(patience).Should(Equal(3))
	})

	It("finds a host by its sessions and users", func() {
		t := open(serve(remember(fullFleet(30, 8))))
		t.do(chromedp.SendKeys("#find", "user-0042"))
		t.says("#found", Equal("on 1 of 30 hosts"))
		Expect(t.count(".host:not(.off)")).To(Equal(1))
		Expect(t.count(".slots .hit")).To(Equal(1))
		t.do(chromedp.SendKeys("#find", kb.Escape))
		t.says("#found", BeEmpty())
		Expect(t.count(".host.off")).To(BeZero())
	})

	It("shows all of a host that one chooses, and keeps that up to date", func() {
		source := remember(fullFleet(3, 8))
		t := open(serve(source))
		Expect(t.count("#host[hidden]")).To(Equal(1))
		t.do(chromedp.Click(`.host[data-name="us-east-1-002"]`))
		t.says("#host", And(ContainSubstring("us-east-1-002"), ContainSubstring("team-c/user-0018"), ContainSubstring("g4dn.xlarge")))
		source.toggle(2, 2)
		t.says("#host-slots", Not(ContainSubstring("team-c/user-0018")))
		t.do(chromedp.Click("#host-close"))
		Expect(t.count("#host[hidden]")).To(Equal(1))
	})

	It("leads from what is wrong to the host", func() {
		t := open(serve(remember(busyFleet())))
		t.do(chromedp.Click("#troubles button.link"))
		t.says("#host", ContainSubstring("Its ECS agent is silent"))
	})

	It("lets hosts come and go where they belong", func() {
		source := remember(fullFleet(6, 2))
		t := open(serve(source))
		source.change(func(m *memory) { m.snapshot.Instances = m.snapshot.Instances[:5] })
		Eventually(func() int { return t.count(".host") }).WithTimeout(patience).Should(Equal(5))
		source.change(func(m *memory) { m.snapshot = fullFleet(9, 2) })
		Eventually(func() []string {
			return eval[[]string](t, `[...document.querySelectorAll(".host")].map((h) => h.dataset.name)`)
		}).WithTimeout(patience).Should(Equal([]string{
			"ap-northeast-1-000", "ap-northeast-1-003", "ap-northeast-1-006", "eu-central-1-001", "eu-central-1-004", "eu-central-1-007",
			"us-east-1-002", "us-east-1-005", "us-east-1-008",
		}))
	})

	It("works by keyboard alone", func() {
		t := open(serve(remember(busyFleet())))
		press := func(keys ...string) string {
			for _, key := range keys {
				t.do(chromedp.KeyEvent(key))
			}
			return eval[string](t, "document.activeElement.dataset.name ?? (document.activeElement.id || document.activeElement.innerText)")
		}
		const first, second = "eu-central-1-20cbafb1b7-5-0", "eu-central-1-20cbafb1b7-1-0"
		Expect(press(kb.Tab)).To(Equal("Skip to the map of hosts"))
		Expect(press(kb.Tab)).To(Equal("find"))
		Expect(press(kb.Tab)).To(Equal("us-east-1-20cbafb1b7-4-3"), "the host that something is wrong with")
		Expect(press(kb.Tab)).To(Equal("names"))
		Expect(press(kb.Tab)).To(Equal(first), "the map is one stop")
		Expect(press(kb.ArrowRight)).To(Equal(second))
		Expect(press(kb.ArrowDown)).To(Equal("eu-central-1-20cbafb1b7-1-2"), "the one below")
		Expect(press(kb.ArrowUp)).To(Equal(second))
		Expect(press(kb.End)).To(Equal("us-east-1-20cbafb1b7-4-3"))
		Expect(press(kb.Home, kb.ArrowRight)).To(Equal(second))
		Expect(press(kb.Shift+kb.Tab, kb.Tab)).NotTo(Equal(first), "the stop is where one was")
		t.do(chromedp.Focus(`.host[data-name="` + second + `"]`))
		Expect(press(kb.Enter)).To(Equal("host-title"), "the keyboard is where the host is told of")
		Expect(t.text("#host")).To(ContainSubstring(second))
		Expect(press(kb.Escape)).To(Equal(second), "and back on the map")
		Expect(press("/")).To(Equal("find"))
	})

	It("keeps the keyboard on the map when the host under it leaves", func() {
		source := remember(fullFleet(6, 2))
		t := open(serve(source))
		t.do(chromedp.Focus(`.host[data-name="us-east-1-005"]`))
		source.change(func(m *memory) { m.snapshot.Instances = m.snapshot.Instances[:5] })
		Eventually(func() string { return eval[string](t, "document.activeElement.dataset.name ?? ''") }).WithTimeout(patience).Should(Equal("us-east-1-002"))
	})

	It("gives everything that is read out a name and a role", func() {
		t := open(serve(remember(busyFleet())))
		t.do(chromedp.Click(`.host[data-name="us-east-1-20cbafb1b7-2-3"]`))
		named := map[string][]string{}
		for _, node := range call(t, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
			if node.Ignored {
				continue
			}
			role, name := textOf(node.Role), textOf(node.Name)
			named[role] = append(named[role], name)
			for _, property := range node.Properties {
				if property.Name == accessibility.PropertyNameFocusable && string(property.Value.Value) == "true" && role != "RootWebArea" {
					Expect(name).NotTo(BeEmpty(), "something that can be focused, a "+role)
				}
			}
		}
		Expect(named["region"]).To(ContainElements("What is wrong", "Hosts", "us-east-1", "us-east-1-20cbafb1b7-2-3", "Channels and rollouts", "Queue"))
		Expect(named["searchbox"]).To(Equal([]string{"Find a host, session or user"}))
		Expect(named["list"]).To(ContainElement("Hosts of stable in us-east-1"))
		Expect(named["status"]).NotTo(BeEmpty(), "how fresh the page is is said when it changes")
		Expect(named["progressbar"]).To(ContainElement("Warm hosts of the release in us-east-1"))
		Expect(named["button"]).To(ContainElements(
			"eu-central-1-20cbafb1b7-1-2, Active, 4 of 8 slots taken",
			"eu-central-1-20cbafb1b7-2-1, Active, 0 of 8 slots taken, release coming",
			"us-east-1-20cbafb1b7-4-1, PreConnection, no slots yet, release coming",
			"us-east-1-20cbafb1b7-4-3, Unresponsive, 5 of 8 slots taken, AgentDisconnected",
		))
	})

	DescribeTable("is legible in", func(scheme, ground string) {
		t := newTab()
		inScheme(t, scheme)
		t.visit(serve(remember(busyFleet())))
		t.do(chromedp.Click(`.host[data-name="us-east-1-20cbafb1b7-2-3"]`))
		Expect(eval[string](t, "getComputedStyle(document.body).backgroundColor")).To(Equal(ground))
		Expect(eval[[]string](t, faintTexts)).To(BeEmpty(), "texts that stand out too little")
	},
		Entry("light", "light", "rgb(246, 246, 244)"),
		Entry("dark", "dark", "rgb(17, 20, 23)"),
	)

	It("looks as the documentation shows it", func() {
		t := newTab()
		t.do(chromedp.EmulateViewport(1280, 760))
		t.visit(serve(remember(busyFleet())))
		t.do(chromedp.Click(`.host[data-name="us-east-1-20cbafb1b7-2-3"]`))
		shot := smaller(get(t, chromedp.CaptureScreenshot()))
		Expect(len(shot)).To(And(BeNumerically(">", 20_000), BeNumerically("<", 150_000)))
		file := filepath.Join("..", "..", "docs", "dashboard.png")
		if os.Getenv("MANDELBOX_RECORD") != "" {
			Expect(os.WriteFile(file, shot, 0o644)).To(Succeed()) //nolint:gosec // It is to be read by all.
		}
		Expect(os.ReadFile(file)).NotTo(BeEmpty())
	})
})

// smaller is a PNG of the colours that are in it most, which a page has few of.
func smaller(shot []byte) []byte {
	GinkgoHelper()
	picture, err := png.Decode(bytes.NewReader(shot))
	Expect(err).NotTo(HaveOccurred())
	bounds := picture.Bounds()
	seen := map[color.Color]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			seen[picture.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(seen), func(a, b color.Color) int { return cmp.Compare(seen[b], seen[a]) })
	few := image.NewPaletted(bounds, colours[:min(256, len(colours))])
	draw.Draw(few, bounds, picture, bounds.Min, draw.Src)
	var out bytes.Buffer
	Expect((&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few)).To(Succeed())
	return out.Bytes()
}

// textOf is a value of the accessibility tree that is a text.
func textOf(value *accessibility.Value) string {
	if value == nil {
		return ""
	}
	var text string
	Expect(json.Unmarshal(value.Value, &text)).To(Succeed())
	return text
}
