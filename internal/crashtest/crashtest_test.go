// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestCrashTest(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Crash test")
}

// buildManager builds the operator as users run it: without the race detector, which
// makes each start several times as long.
func buildManager(dir string) (string, error) {
	path := filepath.Join(dir, "mandelbox-operator")
	if out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the operator: %w: %s", err, out)
	}
	return path, nil
}

var _ = Describe("The operator, killed at its writes", Ordered, func() {
	var r *run
	BeforeAll(func(ctx SpecContext) {
		dir, err := os.MkdirTemp("", "mandelbox-crashtest-")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(os.RemoveAll(dir)).To(Succeed()) })
		manager, err := buildManager(dir)
		Expect(err).NotTo(HaveOccurred())
		r = &run{Options: Options{Parallel: 2, Manager: []string{manager}, Out: GinkgoWriter, Verbose: true}}
		DeferCleanup(func() { Expect(r.close()).To(Succeed()) })
		Expect(r.open(ctx)).To(Succeed())
		Expect(r.record(ctx)).To(Succeed())
	}, NodeTimeout(20*time.Minute)) // It builds the operator.

	It("comes to the same end in a sample of all plans, and lets go of everything", func(ctx SpecContext) {
		// Another seed is another sample, and a failure is printed with its plan's name.
		plans := plansOf(r.calls, 1, 20)
		Expect(r.playAll(ctx, plans)).To(Succeed())
		Expect(r.summary.Broken).To(BeEmpty())
		Expect(r.summary.Converged).To(Equal(len(plans)))
		Expect(r.summary.Crashes).To(BeNumerically(">", 5))
	}, SpecTimeout(10*time.Minute))

	It("comes through what once broke it", func(ctx SpecContext) {
		again := &run{Options: r.Options, lanes: r.lanes, expected: r.expected}
		// How the first goes is a matter of moments, too: in one of four it did no harm.
		held := "hold=amis,500ms@patch:instances/host-6/status.phase#1"
		again.Only = []string{held, held, held, held, "reset@aws:RunInstances/1#1"}
		plans, err := again.plans()
		Expect(err).NotTo(HaveOccurred())
		Expect(again.playAll(ctx, plans)).To(Succeed())
		Expect(again.summary.Broken).To(BeEmpty())
		Expect(again.summary.Converged).To(Equal(len(again.Only)))
	}, SpecTimeout(5*time.Minute))

	for _, name := range Plants() {
		It("is caught with a bug planted: "+name, func(ctx SpecContext) {
			planted, err := findPlant(name)
			Expect(err).NotTo(HaveOccurred())
			buggy := &run{Options: r.Options, plant: planted, lanes: r.lanes, expected: r.expected}
			plans, err := buggy.plans()
			Expect(err).NotTo(HaveOccurred())
			Expect(buggy.playAll(ctx, plans)).To(Succeed())
			Expect(buggy.summary.Violations).NotTo(BeZero(), planted.what)
		}, SpecTimeout(5*time.Minute))
	}
})
