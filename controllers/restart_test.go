// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// programDir is where the operator's program is; empty until a spec needs it.
var programDir string

// program builds the operator once for all specs that kill it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mandelbox-operator-test-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the program: %w", err)
	}
	programDir = dir
	path := filepath.Join(dir, "mandelbox-operator")
	if out, err := exec.Command("go", "build", "-o", path, "..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the operator: %w: %s", err, out)
	}
	return path, nil
})

var _ = AfterSuite(func() {
	Expect(os.RemoveAll(programDir)).To(Succeed())
})

// asProcess has the manager of a world run as a process that is killed.
func asProcess(w *world) {
	GinkgoHelper()
	path, err := program()
	Expect(err).NotTo(HaveOccurred())
	w.binary = path
}

// startProcess starts the operator's program.
func (w *world) startProcess() {
	GinkgoHelper()
	cmd := exec.Command(w.binary, "manager", "--webhooks=false", "--health-probe-bind-address=0", "--metrics-bind-address=0",
		"--mandelboxes-per-user=0", "--cluster-id="+clusterID,
		"--aws-list-interval=200ms", "--aws-hot-interval=20ms", "--aws-grace-period=1s")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.kubeconfig(), "AWS_ENDPOINT_URL="+w.endpoint,
		"AWS_ACCESS_KEY_ID="+managerKey, "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION="+home)
	cmd.Stdout, cmd.Stderr = GinkgoWriter, GinkgoWriter
	Expect(cmd.Start()).To(Succeed())
	w.stop = func() {
		Expect(cmd.Process.Kill()).To(Succeed())
		// It was killed, which is what Wait says.
		Expect(cmd.Wait()).To(MatchError(ContainSubstring("killed")))
	}
}

// restart ends the manager, in its own way, and starts another one.
func (w *world) restart() {
	GinkgoHelper()
	w.stopManager()
	w.aws.ClearFaults()
	w.startManager()
}

// slow has the answers to an operation come late, long after their effect.
func (w *world) slow(operation string) {
	GinkgoHelper()
	w.fault(awsemu.Fault{
		Operation: operation, Phase: awsemu.PhaseAfter, Action: awsemu.ActionLatency,
		Latency: awsemu.Duration{Duration: 3 * time.Second},
	})
}

// changes counts the versions of Instances and Mandelboxes that the API server serves
// from now on.
func (w *world) changes(ctx context.Context) func() int64 {
	GinkgoHelper()
	c, err := client.NewWithWatch(w.plane.Config(), client.Options{Scheme: controllers.NewScheme()})
	Expect(err).NotTo(HaveOccurred())
	var count atomic.Int64
	var watches sync.WaitGroup
	DeferCleanup(watches.Wait) // It comes after the others, which are registered later.
	for _, list := range []client.ObjectList{&v1alpha1.InstanceList{}, &v1alpha1.MandelboxList{}} {
		versions, err := c.Watch(ctx, list)
		Expect(err).NotTo(HaveOccurred())
		watches.Go(func() {
			for range versions.ResultChan() {
				count.Add(1)
			}
		})
		DeferCleanup(versions.Stop)
	}
	return count.Load
}

// managerEnds are the ways in which a manager ends.
var managerEnds = map[string][]func(*world){"stopped": nil, "killed": {asProcess}}

var _ = Describe("A manager that ends at any moment", func() {
	for how, change := range managerEnds {
		Context("when it is "+how, func() {
			It("before the answer to a launch, leaves one EC2 instance for each Instance", func(ctx context.Context) {
				w := newWorld(change...)
				w.slow("RunInstances")
				w.region(ctx, home, free(3*slotsPerHost))
				w.channel(ctx, "stable", []string{home})
				Eventually(func() int { return len(w.ec2Hosts(ctx, home)) }).Should(Equal(3))
				launched := w.running(ctx, home)()
				w.restart()
				Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(3))
				w.expectOneHostEach(ctx)
				Expect(w.running(ctx, home)()).To(ConsistOf(launched))
			})

			It("before the answer to RunTask, leaves one task for each session", func(ctx context.Context) {
				w := newWorld(change...)
				w.fleet(ctx, 1)
				w.watchClaims(ctx, doubledSlot)
				w.slow("RunTask")
				for n := range 6 {
					w.session(ctx, fmt.Sprintf("s-%d", n), []string{home})
				}
				Eventually(func() int { return len(w.tasks(ctx, home, ecstypes.DesiredStatusRunning)) }).Should(Equal(6))
				w.restart()
				w.expectOneTaskEach(ctx, 6)
				Expect(w.tasks(ctx, home, ecstypes.DesiredStatusStopped)).To(BeEmpty())
			})

			It("while sessions and hosts are deleted, leaves nothing of them", func(ctx context.Context) {
				w := newWorld(change...)
				i := w.host(ctx)
				m := w.session(ctx, "one", []string{home})
				w.runs(ctx, m)
				w.slow("StopTask")
				Expect(w.Delete(ctx, m.DeepCopy())).To(Succeed())
				Eventually(func() []ecstypes.Task { return w.tasks(ctx, home, ecstypes.DesiredStatusRunning) }).Should(BeEmpty())
				w.restart()
				Eventually(func() error { return w.Get(ctx, client.ObjectKeyFromObject(m), m) }).ShouldNot(Succeed())
				Eventually(w.claimsOn(ctx, i)).Should(BeEmpty())

				w.slow("TerminateInstances")
				Expect(w.Delete(ctx, i.DeepCopy())).To(Succeed())
				Eventually(w.running(ctx, home)).Should(BeEmpty())
				w.restart()
				Eventually(w.gone(ctx, i)).Should(BeTrue())
				w.expectNothingLeft(ctx)
			})

			It("again and again in the middle of its writes, in the end has everything run, once", func(ctx context.Context) {
				w := newWorld(change...)
				w.watchClaims(ctx, doubledSlot)
				counts := w.changes(ctx)
				w.region(ctx, home, free(slotsPerHost))
				w.channel(ctx, "stable", []string{home})
				for n := range 10 {
					w.session(ctx, fmt.Sprintf("s-%d", n), []string{home})
				}
				// Uneven steps, so that they fall on launches, claims, commits and starts alike.
				// So many are sure to come: four of each session, and three of a host.
				for _, moment := range []int{13, 22, 29, 36, 43} {
					Eventually(counts).Should(BeNumerically(">=", moment))
					w.restart()
				}
				w.expectOneTaskEach(ctx, 10)
				w.expectOneHostEach(ctx)
			})
		})
	}
})

var _ = Describe("Two managers that both believe they lead", func() {
	It("never give a slot twice, and start one task for each session", func(ctx context.Context) {
		w := newWorld(func(w *world) { w.orphanGrace = time.Second })
		first := w.stop
		w.startManager()
		second := w.stop
		w.stop = func() {
			first()
			second()
		}
		w.watchClaims(ctx, doubledSlot)
		By("launching a fleet")
		w.fleet(ctx, 8)
		By("asking for sixty sessions")
		for n := range 60 {
			w.session(ctx, fmt.Sprintf("s-%d", n), []string{home})
		}
		By("seeing each of them run once")
		w.expectOneTaskEach(ctx, 60)
		By("seeing each host once")
		w.expectOneHostEach(ctx)
	})
})
