// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// thirdCommit is a release after anotherCommit.
const thirdCommit = "89abcdef0123456789abcdef0123456789abcdef"

// channelNow reads an AMI.
func (w *world) channelNow(ctx context.Context, name string) *v1alpha1.AMI {
	GinkgoHelper()
	a := &v1alpha1.AMI{}
	Expect(w.Get(ctx, client.ObjectKey{Name: name}, a)).To(Succeed())
	return a
}

// channelIs reads a condition of an AMI as "Status/Reason".
func (w *world) channelIs(ctx context.Context, name, conditionType string) func() string {
	return func() string {
		c := meta.FindStatusCondition(w.channelNow(ctx, name).Status.Conditions, conditionType)
		if c == nil {
			return ""
		}
		return string(c.Status) + "/" + c.Reason
	}
}

// rolledOut waits until a channel's release of that hash is active everywhere.
func (w *world) rolledOut(ctx context.Context, name, hash string) *v1alpha1.AMI {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		a := w.channelNow(ctx, name)
		g.Expect(a.Revision(a.Status.ActiveRevision)).To(HaveValue(HaveField("ClientCommitHash", hash)))
		g.Expect(meta.IsStatusConditionTrue(a.Status.Conditions, v1alpha1.ConditionRolledOut)).To(BeTrue())
		g.Expect(a.Status.ObservedGeneration).To(HaveValue(Equal(a.Generation)))
	}).Should(Succeed())
	return w.channelNow(ctx, name)
}

// release changes a channel's commit hash.
func (w *world) release(ctx context.Context, name, hash string) {
	GinkgoHelper()
	w.merge(ctx, w.channelNow(ctx, name), fmt.Sprintf(`{"spec":{"clientCommitHash":%q}}`, hash))
}

// hostsOf lists the hosts of a region by the commit hash that they serve.
func (w *world) hostsOf(ctx context.Context, region string) func() map[string]int {
	return func() map[string]int {
		all, err := w.hosts(ctx, "")()
		Expect(err).NotTo(HaveOccurred())
		byHash := map[string]int{}
		for _, i := range all {
			if i.Spec.RegionName == region {
				byHash[i.Spec.ClientCommitHash]++
			}
		}
		return byHash
	}
}

// empty has a region of the local AWS give no more hosts; full again, as many as
// are asked for.
func (w *world) empty(region string) {
	w.aws.SetCapacity(awsemu.Capacity{Region: region, Available: 0})
}
func (w *world) full(region string) {
	w.aws.SetCapacity(awsemu.Capacity{Region: region, Available: -1})
}

// kubectl runs kubectl.
func kubectl(ctx context.Context, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, plane.KubectlPath(), append([]string{"--kubeconfig", plane.KubeconfigPath()}, arguments...)...)
	output, err := command.CombinedOutput()
	return string(output), err
}

// hasFailed waits for a rollout that failed in that region.
func (w *world) hasFailed(ctx context.Context, name, region string) {
	GinkgoHelper()
	Eventually(w.channelIs(ctx, name, v1alpha1.ConditionStalled)).Should(Equal("True/" + v1alpha1.ReasonBufferTimeout))
	Expect(meta.FindStatusCondition(w.channelNow(ctx, name).Status.Conditions, v1alpha1.ConditionStalled).Message).To(
		And(ContainSubstring("in "+region+" 0 of"), ContainSubstring("slots of the new release are free")))
}

// strategy and patience say how a channel rolls out.
func strategy(s v1alpha1.RolloutStrategy) func(*v1alpha1.AMI) {
	return func(a *v1alpha1.AMI) { a.Spec.Rollout.Strategy = s }
}

func patience(d time.Duration) func(*v1alpha1.AMI) {
	return func(a *v1alpha1.AMI) { a.Spec.Rollout.BufferTimeout = &metav1.Duration{Duration: d} }
}

// offered makes two regions with a host each, and a channel that serves in both.
func (w *world) offered(ctx context.Context, change ...func(*v1alpha1.AMI)) {
	GinkgoHelper()
	w.region(ctx, near)
	w.region(ctx, far)
	w.channel(ctx, "stable", []string{near, far}, change...)
	w.rolledOut(ctx, "stable", commit)
	Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(2))
}

var _ = Describe("A rollout", func() {
	It("takes over in all regions by one write, and lets the old release's sessions run until they end", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx)
		m := w.session(ctx, "before", []string{near})
		w.runs(ctx, m)
		versions := w.watchSwap(ctx, "stable")
		w.release(ctx, "stable", anotherCommit)
		w.rolledOut(ctx, "stable", anotherCommit)
		Eventually(versions).Should(HaveExactElements(
			HaveEach(commit), HaveEach(anotherCommit)),
			"all regions go from one release to the next in one version of the object")

		By("sending new sessions of the channel to the new release only")
		next := w.session(ctx, "after", []string{near}, ofChannel("stable"))
		w.runs(ctx, next)
		Expect(next.Status.InstanceName).NotTo(Equal(m.Status.InstanceName))
		By("refusing a client of the old release, though a host that is leaving serves it")
		w.ends(ctx, w.session(ctx, "behind", []string{near}), v1alpha1.ReasonCommitHashMismatch)
		By("keeping the old release's host as long as its session runs")
		Eventually(w.hostsOf(ctx, near)).Should(Equal(map[string]int{commit: 1, anotherCommit: 1}))
		Eventually(w.hostsOf(ctx, far)).Should(Equal(map[string]int{anotherCommit: 1}))
		Consistently(w.phase(ctx, m), "1s").Should(Equal("Running/Running"))
		w.remove(ctx, m)
		Eventually(w.hostsOf(ctx, near)).Should(Equal(map[string]int{anotherCommit: 1}))
	})

	It("offers no less after the swap than before it: as much as was free, and as wait", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, home, 2, free(2*slotsPerHost), func(r *v1alpha1.Region) { r.Spec.Capacity.MaxInstances = ptr.To[int32](6) })
		w.capacity(ctx, `"desiredFreeMandelboxes":1`)
		w.release(ctx, "stable", anotherCommit)
		w.rolledOut(ctx, "stable", anotherCommit)
		Expect(w.hostsOf(ctx, home)()).To(HaveKeyWithValue(anotherCommit, 2), "16 slots were free")
	})

	It("goes on launching the old release as demand needs, until the swap", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, home, 1, oneSlot(1), func(r *v1alpha1.Region) { r.Spec.Capacity.MaxInstances = ptr.To[int32](6) })
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = 5 * time.Second })
		w.release(ctx, "stable", anotherCommit)
		Eventually(w.hostsOf(ctx, home)).Should(HaveKeyWithValue(anotherCommit, BeNumerically(">=", 1)))
		one, two := w.session(ctx, "one", []string{home}), w.session(ctx, "two", []string{home})
		w.runs(ctx, one)
		Eventually(w.hostsOf(ctx, home)).Should(HaveKeyWithValue(commit, BeNumerically(">=", 2)))
		w.rolledOut(ctx, "stable", anotherCommit)
		Expect(w.phase(ctx, one)()).To(Equal("Running/Running"))
		Eventually(w.phase(ctx, two)).Should(Or(Equal("Running/Running"), Equal("Finished/"+v1alpha1.ReasonCommitHashMismatch)))
	})

	It("changes nothing when a region fails: the new hosts leave, the old release serves, and reverting the spec recovers", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx, patience(4*time.Second))
		m := w.session(ctx, "lives", []string{far})
		w.runs(ctx, m)
		w.empty(far)
		w.release(ctx, "stable", anotherCommit)
		w.hasFailed(ctx, "stable", far)
		Eventually(w.hostsOf(ctx, near)).Should(Equal(map[string]int{commit: 1}))
		Eventually(w.hostsOf(ctx, far)).Should(Equal(map[string]int{commit: 1}))
		Expect(w.channelIs(ctx, "stable", v1alpha1.ConditionReady)()).To(Equal("True/" + v1alpha1.ReasonReady))
		Expect(w.phase(ctx, m)()).To(Equal("Running/Running"))
		w.runs(ctx, w.session(ctx, "more", []string{far}))

		w.release(ctx, "stable", commit)
		w.rolledOut(ctx, "stable", commit)
	})

	It("recovers from a failure when the spec is mended", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx, patience(3*time.Second))
		w.empty(far)
		w.release(ctx, "stable", anotherCommit)
		w.hasFailed(ctx, "stable", far)
		w.full(far)
		By("giving the same release more time, with another type that has no shortage")
		w.merge(ctx, w.regionNow(ctx, far), `{"spec":{"instanceTypes":["g4dn.8xlarge"]}}`)
		w.merge(ctx, w.channelNow(ctx, "stable"), `{"spec":{"rollout":{"bufferTimeout":"15m"}}}`)
		w.rolledOut(ctx, "stable", anotherCommit)
	})

	It("turns to the newest release when the spec changes in the middle", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx)
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = time.Hour })
		w.release(ctx, "stable", anotherCommit)
		Eventually(w.hostsOf(ctx, near)).Should(HaveKey(anotherCommit))
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = 0 })
		w.release(ctx, "stable", thirdCommit)
		w.rolledOut(ctx, "stable", thirdCommit)
		for _, region := range []string{near, far} {
			Eventually(w.hostsOf(ctx, region)).Should(Equal(map[string]int{thirdCommit: 1}))
		}
	})

	It("retires the regions that the release leaves out", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx)
		m := w.session(ctx, "lives", []string{far})
		w.runs(ctx, m)
		w.merge(ctx, w.channelNow(ctx, "stable"), fmt.Sprintf(
			`{"spec":{"clientCommitHash":%q,"images":[{"region":%q,"imageID":%q}]}}`, anotherCommit, near, awsemu.DefaultImageID))
		w.rolledOut(ctx, "stable", anotherCommit)
		late := w.session(ctx, "late", []string{far}, ofChannel("stable"))
		Eventually(w.phase(ctx, late)).Should(Equal("Pending/" + v1alpha1.ReasonChannelNotFound))
		Consistently(w.phase(ctx, m), "1s").Should(Equal("Running/Running"))
		w.remove(ctx, m)
		Eventually(w.hostsOf(ctx, far)).Should(BeEmpty())
	})

	It("stands still while it is suspended", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx)
		w.merge(ctx, w.channelNow(ctx, "stable"), fmt.Sprintf(`{"spec":{"suspend":true,"clientCommitHash":%q}}`, anotherCommit))
		Eventually(w.channelIs(ctx, "stable", v1alpha1.ConditionRolledOut)).Should(Equal("False/" + v1alpha1.ReasonSuspended))
		Consistently(w.hostsOf(ctx, near), "1s").Should(Equal(map[string]int{commit: 1}))
		w.merge(ctx, w.channelNow(ctx, "stable"), `{"spec":{"suspend":false}}`)
		w.rolledOut(ctx, "stable", anotherCommit)
	})

	It("leaves the other channels of the region alone, each of which has a buffer of its own", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, home, 1)
		w.channel(ctx, "canary", []string{home}, offering(anotherCommit), func(a *v1alpha1.AMI) {
			a.Spec.Images[0].DesiredFreeMandelboxes = ptr.To[int32](2 * slotsPerHost)
		})
		Eventually(w.hostsOf(ctx, home)).Should(Equal(map[string]int{commit: 1, anotherCommit: 2}))
		w.rolledOut(ctx, "canary", anotherCommit)
		before := w.channelNow(ctx, "canary").Status.ActiveRevision
		w.release(ctx, "stable", thirdCommit)
		w.rolledOut(ctx, "stable", thirdCommit)
		Eventually(w.hostsOf(ctx, home)).Should(Equal(map[string]int{thirdCommit: 1, anotherCommit: 2}))
		Expect(w.channelNow(ctx, "canary").Status.ActiveRevision).To(Equal(before))
	})

	It("is told by kubectl: whether it is done, where it is, and what is wrong", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx)
		Eventually(func() (string, error) { return kubectl(ctx, "get", "ami", "stable") }).Should(And(
			ContainSubstring(v1alpha1.ReasonRolledOut), ContainSubstring(near+" done, "+far+" done")))
		w.empty(far)
		w.release(ctx, "stable", anotherCommit)
		Eventually(func() (string, error) { return kubectl(ctx, "get", "ami", "stable") }).Should(And(
			ContainSubstring(v1alpha1.ReasonRollingOut), ContainSubstring(near+" 8/8 warm, "+far+" 0/8 warm")))
		w.merge(ctx, w.channelNow(ctx, "stable"), `{"spec":{"rollout":{"bufferTimeout":"1s"}}}`)
		Eventually(func() (string, error) { return kubectl(ctx, "get", "ami", "stable", "-o", "wide") }).Should(And(
			ContainSubstring(v1alpha1.ReasonBufferTimeout), ContainSubstring(far+" failed"), ContainSubstring("in "+far+" 0 of 8 slots")))

		w.release(ctx, "stable", commit)
		Eventually(func() (string, error) {
			return kubectl(ctx, "wait", "ami/stable", "--for=condition=RolledOut", "--timeout=20s")
		}).Should(ContainSubstring("condition met"))
	})
})

var _ = Describe("A rollout region by region", func() {
	// halfway has the near region on the next release, and the far one, which has no
	// room for it, on the old one.
	halfway := func(ctx context.Context, w *world) {
		GinkgoHelper()
		w.empty(far)
		w.release(ctx, "stable", anotherCommit)
		Eventually(func(g Gomega) {
			a := w.channelNow(ctx, "stable")
			g.Expect(a.ActiveRevisionIn(near)).To(HaveField("ClientCommitHash", anotherCommit))
			g.Expect(a.ActiveRevisionIn(far)).To(HaveField("ClientCommitHash", commit))
		}).Should(Succeed())
	}
	// mend has the far region launch hosts of a type that it doesn't lack.
	mend := func(ctx context.Context, w *world) {
		GinkgoHelper()
		w.full(far)
		w.merge(ctx, w.regionNow(ctx, far), `{"spec":{"instanceTypes":["g4dn.8xlarge"]}}`)
		all, err := w.hosts(ctx, v1alpha1.InstancePreConnection)()
		Expect(err).NotTo(HaveOccurred())
		for i := range all {
			Expect(client.IgnoreNotFound(w.Delete(ctx, &all[i]))).To(Succeed())
		}
	}

	It("swaps each region as soon as it has its buffer, and is done when all have", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx, strategy(v1alpha1.RolloutPerRegion))
		halfway(ctx, w)
		next, old := w.session(ctx, "next", []string{near}, ofCommit(anotherCommit)), w.session(ctx, "old", []string{far})
		w.runs(ctx, next)
		w.runs(ctx, old)
		w.ends(ctx, w.session(ctx, "behind", []string{near}), v1alpha1.ReasonCommitHashMismatch)
		Eventually(w.hostsOf(ctx, near)).Should(Equal(map[string]int{anotherCommit: 1}))
		Expect(w.channelIs(ctx, "stable", v1alpha1.ConditionRolledOut)()).To(Equal("False/" + v1alpha1.ReasonRollingOut))

		mend(ctx, w)
		a := w.rolledOut(ctx, "stable", anotherCommit)
		Expect(a.Swapped()).To(BeEmpty())
		Expect(w.phase(ctx, old)()).To(Equal("Running/Running"))
	})

	It("takes the regions that have swapped back, each with its buffer, when the spec is reverted", func(ctx context.Context) {
		w := newWorld()
		w.offered(ctx, strategy(v1alpha1.RolloutPerRegion))
		halfway(ctx, w)
		m := w.session(ctx, "lives", []string{near}, ofCommit(anotherCommit))
		w.runs(ctx, m)
		w.release(ctx, "stable", commit)
		a := w.rolledOut(ctx, "stable", commit)
		Expect(a.Swapped()).To(BeEmpty())
		w.runs(ctx, w.session(ctx, "again", []string{near}))
		Expect(w.phase(ctx, m)()).To(Equal("Running/Running"))
		w.remove(ctx, m)
		Eventually(w.hostsOf(ctx, near)).Should(Equal(map[string]int{commit: 1}))
	})
})

var _ = Describe("spec.rollout.drainTimeout", func() {
	It("is the only thing by which a rollout ends sessions, and says so first", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, home, 1)
		w.merge(ctx, w.channelNow(ctx, "stable"), `{"spec":{"rollout":{"drainTimeout":"1h"}}}`)
		m := w.session(ctx, "lives", []string{home})
		w.runs(ctx, m)
		w.release(ctx, "stable", anotherCommit)
		w.rolledOut(ctx, "stable", anotherCommit)

		i := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: m.Status.InstanceName}}
		Eventually(func() string {
			Expect(w.Get(ctx, client.ObjectKeyFromObject(i), i)).To(Succeed())
			return i.Annotations[v1alpha1.AnnotationForceDrainAfter]
		}).ShouldNot(BeEmpty())
		deadline, err := time.Parse(time.RFC3339, i.Annotations[v1alpha1.AnnotationForceDrainAfter])
		Expect(err).NotTo(HaveOccurred())
		Expect(deadline).To(BeTemporally("~", time.Now().Add(time.Hour), 30*time.Second))
		Eventually(w.told(ctx, i)).Should(ContainElement(v1alpha1.ReasonDrainTimeout))
		Eventually(func() string {
			return meta.FindStatusCondition(w.channelNow(ctx, "stable").Status.Conditions, v1alpha1.ConditionRolledOut).Message
		}).Should(ContainSubstring("1 session will be ended from " + i.Annotations[v1alpha1.AnnotationForceDrainAfter]))
		Consistently(w.phase(ctx, m), "1s").Should(Equal("Running/Running"))
	})

	It("is none by default", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, home, 1)
		m := w.session(ctx, "lives", []string{home})
		w.runs(ctx, m)
		w.release(ctx, "stable", anotherCommit)
		w.rolledOut(ctx, "stable", anotherCommit)
		i := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: m.Status.InstanceName}}
		Eventually(w.is(ctx, i)).Should(Equal("Draining/" + v1alpha1.ReasonDraining))
		Expect(i.Annotations).NotTo(HaveKey(v1alpha1.AnnotationForceDrainAfter))
	})
})

// offer is what the regions of a channel offered at one version of the AMI.
type offer map[string]string

// watchSwap follows every version of an AMI until the spec ends; the function that it
// returns gives the offers so far that differ from the one before.
func (w *world) watchSwap(ctx context.Context, name string) func() []offer {
	GinkgoHelper()
	c, err := client.NewWithWatch(w.plane.Config(), client.Options{Scheme: controllers.NewScheme()})
	Expect(err).NotTo(HaveOccurred())
	versions, err := c.Watch(ctx, &v1alpha1.AMIList{}, client.MatchingFields{"metadata.name": name})
	Expect(err).NotTo(HaveOccurred())
	var mu sync.Mutex
	var offers []offer
	done := make(chan struct{})
	DeferCleanup(func() {
		versions.Stop()
		<-done
	})
	go func() {
		defer close(done)
		for event := range versions.ResultChan() {
			a, ok := event.Object.(*v1alpha1.AMI)
			if !ok {
				continue
			}
			now := offer{}
			for _, image := range a.Spec.Images {
				if active := a.ActiveRevisionIn(image.Region); active != nil {
					now[image.Region] = active.ClientCommitHash
				}
			}
			mu.Lock()
			if len(offers) == 0 || fmt.Sprint(offers[len(offers)-1]) != fmt.Sprint(now) {
				offers = append(offers, now)
			}
			mu.Unlock()
		}
	}()
	return func() []offer {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(offers)
	}
}
