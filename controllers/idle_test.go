// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// listingCalls are how often one round of listings calls each operation, for a region
// whose hosts and tasks fit on one page.
var listingCalls = map[string]int{
	"DescribeInstances":          1,
	"DescribeInstanceStatus":     1,
	"ListContainerInstances":     1,
	"DescribeContainerInstances": 1,
	"ListTasks":                  2, // those to run, and those to stop
	"DescribeTasks":              1,
}

// callsSince counts the requests that AWS got since the log was emptied, by region
// and operation.
func (w *world) callsSince() map[string]int {
	counts := map[string]int{}
	for _, r := range w.aws.Requests(awsemu.RequestFilter{}) {
		counts[r.Region+" "+r.Operation]++
	}
	return counts
}

// idles looks on over some listings, and expects of the manager no write, and of the
// regions' calls to AWS that each is of a listing, and no more than its interval allows.
func (w *world) idles(g Gomega, counter *writes, regions ...string) {
	counter.reset()
	w.aws.ResetRequests()
	began := time.Now()
	g.Eventually(func() int { return w.callsSince()[regions[0]+" DescribeInstanceStatus"] }).Should(BeNumerically(">", 10))
	counts := w.callsSince()
	rounds := int(time.Since(began)/listInterval) + 1
	for key, n := range counts {
		_, operation, _ := strings.Cut(key, " ")
		g.Expect(listingCalls).To(HaveKey(operation), key)
		g.Expect(n).To(BeNumerically("<=", rounds*listingCalls[operation]), fmt.Sprintf("%s in %d rounds", key, rounds))
	}
	for _, region := range regions {
		for operation := range listingCalls {
			g.Expect(counts).To(HaveKey(region + " " + operation))
		}
	}
	g.Expect(counter.list()).To(BeEmpty())
}

var _ = Describe("An idle fleet", func() {
	It("causes no write, and no call of AWS but its listings, with sessions that can't be placed and a channel that is stalled", func(ctx context.Context) {
		counter := &writes{all: true}
		w := newWorld(func(w *world) { w.wrap, w.touch = counter.wrap, time.Second })
		w.fleet(ctx, 2)
		w.runs(ctx, w.session(ctx, "one", []string{home}))
		By("a region that is full, with a session that waits for room there")
		w.region(ctx, far, oneSlot(1), free(0))
		w.channel(ctx, "full", []string{far}, func(a *v1alpha1.AMI) { a.Spec.ClientCommitHash = strings.Repeat("f", 40) })
		full := func(m *v1alpha1.Mandelbox) { m.Spec.ClientCommitHash = strings.Repeat("f", 40) }
		w.runs(ctx, w.session(ctx, "takes-the-slot", []string{far}, full))
		waiting := w.session(ctx, "waits", []string{far}, full)
		Eventually(w.phase(ctx, waiting)).Should(Equal("Pending/" + v1alpha1.ReasonNoInstanceAvailable))
		Eventually(w.regionIs(ctx, far)).Should(Equal("True/" + v1alpha1.ReasonMaxInstancesReached))
		By("a session that fits nowhere, and a channel whose image isn't there")
		nowhere := w.session(ctx, "fits-nowhere", []string{"mars-north-1"})
		Eventually(w.phase(ctx, nowhere)).Should(Equal("Pending/" + v1alpha1.ReasonRegionNotEnabled))
		w.channel(ctx, "stalled", []string{home}, func(a *v1alpha1.AMI) {
			a.Spec.ClientCommitHash = strings.Repeat("e", 40)
			a.Spec.Images[0].ImageID = "ami-00000000000000000"
		})
		Eventually(w.channelIs(ctx, "stalled", v1alpha1.ConditionStalled)).Should(Equal("True/" + v1alpha1.ReasonImageNotFound))

		Eventually(func(g Gomega) { w.idles(g, counter, home, far) }).WithTimeout(time.Minute).Should(Succeed())
	})
})
