// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// inBubble has a feed of a source run, in a time of its own, and gives a page of it to
// a test.
func inBubble(t *testing.T, source *memory, test func(g Gomega, p *page)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		source.changed = make(chan struct{}, 1) // One that belongs to the bubble.
		ctx, end := context.WithCancel(t.Context())
		feed, ended := NewFeed(source, "test"), make(chan error, 1)
		go func() { ended <- feed.Run(ctx) }()
		synctest.Wait()
		test(NewWithT(t), &page{feed: feed, has: map[string]uint64{}})
		end()
		NewWithT(t).Expect(<-ended).To(MatchError(context.Canceled))
	})
}

// page is what a page knows.
type page struct {
	feed    *Feed
	has     map[string]uint64
	changed <-chan struct{}
}

// look is what has changed since the last look: names of pieces that were set, and
// of those that are gone.
func (p *page) look() (set, gone []string) {
	var patch patch
	patch, p.changed = p.feed.since(p.has)
	return slices.Sorted(maps.Keys(patch.Set)), patch.Gone
}

// wait waits for a change, and is how long that took.
func (p *page) wait() time.Duration {
	began := time.Now()
	<-p.changed
	return time.Since(began)
}

func TestFeedTellsOnlyWhatChanges(t *testing.T) {
	source := remember(fullFleet(30, 8))
	inBubble(t, source, func(g Gomega, p *page) {
		all, gone := p.look()
		g.Expect(all).To(HaveLen(30 + 3 + 5))
		g.Expect(all).To(ContainElements("channels", "host/us-east-1-002", "link", "queue", "region/us-east-1", "totals", "troubles"))
		g.Expect(gone).To(BeEmpty())

		source.toggle(3, 2)
		g.Expect(p.wait()).To(BeNumerically("<=", gatherPause))
		g.Expect(p.look()).To(Equal([]string{"host/us-east-1-002", "region/us-east-1", "totals"}))

		source.change(func(m *memory) { m.snapshot.Instances = m.snapshot.Instances[1:] })
		p.wait()
		set, gone := p.look()
		g.Expect(set).To(Equal([]string{"channels", "region/ap-northeast-1", "totals"}))
		g.Expect(gone).To(Equal([]string{"host/ap-northeast-1-000"}))
	})
}

func TestFeedTellsAChangeAfterAQuietWhileAtOnce(t *testing.T) {
	source := remember(fullFleet(3, 8))
	inBubble(t, source, func(g Gomega, p *page) {
		p.look()
		<-time.After(gatherPause) // In the fake time of the bubble, which costs none and is exact.
		source.toggle(0, 0)
		g.Expect(p.wait()).To(BeZero())
		p.look()
		source.toggle(0, 1)
		g.Expect(p.wait()).To(Equal(gatherPause), "and gathers those that follow")
	})
}

func TestFeedSleepsWhileNothingChanges(t *testing.T) {
	source := remember(fullFleet(3, 8))
	inBubble(t, source, func(g Gomega, p *page) {
		p.look()
		select {
		case <-p.changed:
			t.Error("a page was told of a change, and there is none")
		case <-time.After(time.Hour):
		}
	})
}

func TestFeedShowsNoHalfFleet(t *testing.T) {
	source := remember(fullFleet(3, 8))
	source.loading = true
	inBubble(t, source, func(g Gomega, p *page) {
		g.Expect(p.look()).To(Equal([]string{"link"}))
		g.Expect(p.feed.pieces["link"].content).To(ContainSubstring(`"state":"loading"`))
		source.change(func(m *memory) { m.loading = false })
		p.wait()
		all, _ := p.look()
		g.Expect(all).To(ContainElement("host/us-east-1-002"))
	})
}

func TestFeedSaysSinceWhenItIsBehind(t *testing.T) {
	source := remember(fullFleet(3, 8))
	inBubble(t, source, func(g Gomega, p *page) {
		p.look()
		source.change(func(m *memory) { m.since, m.err = time.Now(), errors.New("connection refused") })
		p.wait()
		g.Expect(p.look()).To(Equal([]string{"link"}), "what is known stays")
		g.Expect(p.feed.pieces["link"].content).To(And(ContainSubstring(`"state":"behind"`), ContainSubstring("connection refused"), ContainSubstring(`"since":`)))
	})
}

func TestFeedSeesTroublesThatComeWithTime(t *testing.T) {
	source := remember(fullFleet(3, 8))
	inBubble(t, source, func(g Gomega, p *page) {
		source.change(func(m *memory) {
			waiting := session("team-a", "ada", "us-east-1")
			waiting.CreationTimestamp.Time = time.Now()
			m.snapshot.Mandelboxes = append(slices.Clone(m.snapshot.Mandelboxes), *waiting)
		})
		p.look()
		p.wait()
		set, _ := p.look()
		g.Expect(set).To(ContainElement("queue"))
		g.Expect(p.wait()).To(BeNumerically("~", 30*time.Second, lookAnewPause), "it has waited for long")
		g.Expect(p.look()).To(Equal([]string{"troubles"}))
	})
}

// canary is a secret that must show up nowhere.
const canary = "canary-5d81fe"

func TestFeedTellsNoSecret(t *testing.T) {
	fleet := busyFleet()
	env := []v1alpha1.EnvVar{{Name: "TOKEN", Value: ptr.To(canary)}}
	applied := map[string]string{"kubectl.kubernetes.io/last-applied-configuration": canary}
	for i := range fleet.Regions {
		fleet.Regions[i].Spec.UserData, fleet.Regions[i].Annotations = canary, applied
	}
	for i := range fleet.AMIs {
		task := &fleet.AMIs[i].Spec.Task
		task.Env, task.HealthCheck = env, &v1alpha1.TaskHealthCheck{Command: []string{canary}}
		fleet.AMIs[i].Spec.Warmup = &v1alpha1.Warmup{Command: []string{canary}}
		task.Logging = &v1alpha1.TaskLogging{Driver: "splunk", Options: []v1alpha1.LogOption{{Name: "splunk-token", Value: canary}}}
		fleet.AMIs[i].Annotations = applied
	}
	for i := range fleet.Mandelboxes {
		fleet.Mandelboxes[i].Spec.Env, fleet.Mandelboxes[i].Annotations = env, applied
	}
	g := NewWithT(t)
	pieces, err := NewFeed(remember(fleet), "test").look()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(len(pieces)).To(BeNumerically(">", 20))
	for name, content := range pieces {
		g.Expect(content).NotTo(ContainSubstring(canary), name)
	}
}

// BenchmarkLook is what a change of a large fleet costs before a page is told of it.
func BenchmarkLook(b *testing.B) {
	feed := NewFeed(remember(fullFleet(1000, 8)), "test")
	for b.Loop() {
		if err := feed.update(); err != nil {
			b.Fatal(err)
		}
	}
}
