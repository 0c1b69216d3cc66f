// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func lines(o PlanOptions) []string {
	var out []string
	for _, e := range Plan(o) {
		out = append(out, e.String())
	}
	return out
}

func TestTheSameSeedGivesTheSamePlan(t *testing.T) {
	g := NewWithT(t)
	o := PlanOptions{Seed: 7, Duration: 5 * time.Minute, Regions: 3, Rate: 3}
	plan := lines(o)
	g.Expect(lines(o)).To(Equal(plan))
	g.Expect(Plan(o)).To(Equal(Plan(o)), "also in what is not printed")

	o.Seed = 8
	g.Expect(lines(o)).NotTo(Equal(plan))
}

func TestAPlanHasEverythingThatCanGoWrong(t *testing.T) {
	all := []Kind{Arrive, Exit, Leave, Release, KillHost, CutAgent, Trouble, NoCapacity, Lag, KillManager, RestartManager, Rival}
	for seed := range uint64(3) {
		g := NewWithT(t)
		seen := map[Kind]int{}
		plan := Plan(PlanOptions{Seed: seed, Duration: 30 * time.Minute, Regions: 3, Rate: 2})
		for _, e := range plan {
			seen[e.Kind]++
		}
		for _, kind := range all {
			g.Expect(seen[kind]).To(BeNumerically(">=", 3), "seed %d, %s", seed, kind)
		}
		// A Poisson process of 2 a second, a twentieth of it in groups.
		g.Expect(seen[Arrive]).To(BeNumerically("~", 4300, 500), "seed %d", seed)
		g.Expect(seen).To(HaveLen(len(all)), "seed %d", seed)
	}
}

func TestAPlanIsInOrderAndWhole(t *testing.T) {
	g := NewWithT(t)
	o := PlanOptions{Seed: 1, Duration: 3 * time.Minute, Regions: 2, Rate: 4}
	plan := Plan(o)
	g.Expect(slices.IsSortedFunc(plan, func(a, b Event) int { return int(a.At - b.At) })).To(BeTrue())
	arrived := map[string]bool{}
	for _, e := range plan {
		name := e.Session.Namespace + "/" + e.Session.Name
		g.Expect(e.At).To(And(BeNumerically(">=", 0), BeNumerically("<", o.Duration)), e.String())
		switch e.Kind {
		case Arrive:
			g.Expect(arrived).NotTo(HaveKey(name))
			arrived[name] = true
			g.Expect(e.Session.Regions).NotTo(BeEmpty())
		case Exit, Leave:
			g.Expect(arrived).To(HaveKey(name), "nobody goes who hasn't come: %s", e)
		case KillHost, CutAgent, NoCapacity:
			g.Expect(regionNames[:2]).To(ContainElement(e.Region))
			g.Expect(e.Pick).To(And(BeNumerically(">=", 0), BeNumerically("<", 1)))
		}
	}
}

func TestAPlanIsPrinted(t *testing.T) {
	g := NewWithT(t)
	var out strings.Builder
	o := Options{PlanOptions: PlanOptions{Seed: 2, Duration: time.Minute, Regions: 1, Rate: 1}, Plan: true, Out: &out}
	_, err := Run(t.Context(), o)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(out.String()).To(Equal(strings.Join(lines(o.PlanOptions), "\n") + "\n"))
}

func TestWhatCannotRunIsRefused(t *testing.T) {
	good := PlanOptions{Seed: 2, Duration: time.Minute, Regions: 1, Rate: 1}
	for name, change := range map[string]func(*Options){
		"no duration":      func(o *Options) { o.Duration = 0 },
		"no rate":          func(o *Options) { o.Rate = 0 },
		"too many regions": func(o *Options) { o.Regions = 99 },
		"an unknown bug":   func(o *Options) { o.Plant = "unheard-of" },
	} {
		o := Options{PlanOptions: good, Out: &strings.Builder{}}
		change(&o)
		_, err := Run(t.Context(), o)
		NewWithT(t).Expect(err).To(HaveOccurred(), name)
	}
}
