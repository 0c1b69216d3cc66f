// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak_test

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/cli"
	"github.com/mandelbox/mandelbox-operator/internal/soak"
)

// asOperator in the environment has the test's own binary be the operator's.
const asOperator = "SOAK_TEST_AS_OPERATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asOperator) != "" {
		os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr))
	}
	if err := os.Setenv(asOperator, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestSoak(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Soak")
}

// self is the command that runs the operator.
func self() []string {
	GinkgoHelper()
	path, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	return []string{path}
}

// whenWritten does something when a text is written to it.
type whenWritten struct {
	text *regexp.Regexp
	do   func()
}

func (w whenWritten) Write(p []byte) (int, error) {
	if w.text.Match(p) {
		w.do()
	}
	return len(p), nil
}

var _ = Describe("A short soak", func() {
	It("finds no promise broken, an idle fleet silent, and nothing left behind", func(ctx SpecContext) {
		// This seed's plan has two managers at a time, twice, and releases that turn back.
		options := soak.Options{
			PlanOptions: soak.PlanOptions{Seed: 1, Duration: 30 * time.Second, Regions: 2, Rate: 1.5},
			Manager:     self(), Out: GinkgoWriter,
		}
		options.ShortEndings()
		summary, err := soak.Run(ctx, options)
		Expect(err).NotTo(HaveOccurred())
		Expect(summary.Found).To(BeEmpty())
		Expect(summary.Ran).To(BeNumerically(">", 10))
		Expect(summary.Faults).To(BeNumerically(">", 5))
	}, SpecTimeout(5*time.Minute))

	It("ends in order when it is interrupted", func(ctx SpecContext) {
		soaking, interrupt := context.WithCancel(ctx)
		defer interrupt()
		options := soak.Options{
			PlanOptions: soak.PlanOptions{Seed: 2, Duration: time.Hour, Regions: 1, Rate: 1},
			Manager:     self(), Out: io.MultiWriter(GinkgoWriter, whenWritten{regexp.MustCompile(`sessions: [1-9]\d* started`), interrupt}),
		}
		options.ShortEndings()
		summary, err := soak.Run(soaking, options)
		Expect(err).NotTo(HaveOccurred())
		Expect(summary.Started).To(BeNumerically(">", 0))
		Expect(summary.Finished).To(Equal(summary.Started))
	}, SpecTimeout(5*time.Minute))
})

var _ = Describe("A planted bug", Ordered, func() {
	var nursery *soak.Nursery
	BeforeAll(func(ctx SpecContext) {
		var err error
		nursery, err = soak.NewNursery(ctx, self(), GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(nursery.Stop)
	})

	names := soak.Plants()
	// Those that leave the world without rules come last.
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case soak.Lawless(a) == soak.Lawless(b):
			return 0
		case soak.Lawless(b):
			return -1
		}
		return 1
	})
	for _, name := range names {
		It("is found within a minute: "+name, func(ctx SpecContext) {
			Expect(nursery.Renew(ctx)).To(Succeed())
			rule, found, err := nursery.Plant(ctx, name)
			Expect(err).NotTo(HaveOccurred())
			Expect(found).To(ContainElement(HaveField("Rule", rule)), "%v", found)
			Expect(found).To(HaveEach(Satisfy(func(v checker.Violation) bool { return v.Message != "" && v.Object != "" })))
		}, SpecTimeout(2*time.Minute))
	}
})
