// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// regionNow reads a Region.
func (w *world) regionNow(ctx context.Context, name string) *v1alpha1.Region {
	GinkgoHelper()
	r := &v1alpha1.Region{}
	Expect(w.Get(ctx, client.ObjectKey{Name: name}, r)).To(Succeed())
	return r
}

// regionIs reads why a Region is, or isn't, Ready.
func (w *world) regionIs(ctx context.Context, name string) func() string {
	return func() string {
		ready := meta.FindStatusCondition(w.regionNow(ctx, name).Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil {
			return ""
		}
		return string(ready.Status) + "/" + ready.Reason
	}
}

// capacity changes the capacity of the Region of home.
func (w *world) capacity(ctx context.Context, format string, values ...any) {
	GinkgoHelper()
	r := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: home}}
	w.merge(ctx, r, `{"spec":{"capacity":{`+fmt.Sprintf(format, values...)+`}}}`)
}

// decision is the number of the last scaling decision at home.
func (w *world) decision(ctx context.Context) int64 {
	GinkgoHelper()
	if d := w.regionNow(ctx, home).Status.Decision; d != nil {
		return d.Number
	}
	return 0
}

// surplusFor has hosts leave once they have been too many for so long.
func surplusFor(d time.Duration) func(*v1alpha1.Region) {
	return func(r *v1alpha1.Region) { r.Spec.Capacity.ScaleDownStabilization = &metav1.Duration{Duration: d} }
}

// launching makes a region and a channel, and returns the host that is launched there.
func (w *world) launching(ctx context.Context) *v1alpha1.Instance {
	GinkgoHelper()
	w.region(ctx, home)
	w.channel(ctx, "stable", []string{home})
	Eventually(w.hosts(ctx, v1alpha1.InstancePreConnection)).Should(HaveLen(1))
	all, err := w.hosts(ctx, "")()
	Expect(err).NotTo(HaveOccurred())
	return &all[0]
}

// peak is a schedule that began a minute ago or more, and ends then.
func peak(free int32, end time.Time) v1alpha1.Schedule {
	begin := time.Now().UTC().Add(-time.Minute).Truncate(time.Minute)
	return v1alpha1.Schedule{
		Name: "peak", Cron: fmt.Sprintf("%d %d * * *", begin.Minute(), begin.Hour()),
		Duration: metav1.Duration{Duration: end.Sub(begin).Round(time.Second)}, DesiredFreeMandelboxes: ptr.To(free),
	}
}

var _ = Describe("Scaling", func() {
	It("asks in one decision for what the waiting sessions and the buffer need beyond what there is", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, home, free(slotsPerHost), func(r *v1alpha1.Region) { r.Spec.Enabled = ptr.To(false) })
		w.channel(ctx, "stable", []string{home})
		Eventually(w.regionIs(ctx, home)).Should(Equal("True/" + v1alpha1.ReasonDisabled))
		for n := range 17 {
			m := w.session(ctx, fmt.Sprintf("s%d", n), []string{home})
			Eventually(w.phase(ctx, m)).Should(Equal("Pending/"+v1alpha1.ReasonRegionNotEnabled), "the manager knows of it")
		}
		w.merge(ctx, w.regionNow(ctx, home), `{"spec":{"enabled":true}}`)
		w.expectOneTaskEach(ctx, 17)
		// 17 sessions and 8 free slots are four hosts of eight.
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(4))
		Expect(w.decision(ctx)).To(BeNumerically("<=", 2), "one for the buffer if that was seen first, and one for the sessions")
		w.expectOneHostEach(ctx)
	})

	It("counts a waiting session once, in the region that it would land in", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, near, oneSlot(4), free(0))
		w.region(ctx, far, oneSlot(4), free(0))
		w.channel(ctx, "stable", []string{near, far})
		m := w.session(ctx, "one", []string{near, far})
		w.runs(ctx, m)
		Expect(m.Status.Region).To(Equal(near))
		Expect(w.ec2Hosts(ctx, near)).To(HaveLen(1))
		Expect(w.ec2Hosts(ctx, far)).To(BeEmpty())
		Expect(w.regionNow(ctx, far).Status.Decision).To(BeNil())
	})

	It("looks at once, whenever a session waits or a slot is freed", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, home, 1, oneSlot(1), free(1), func(r *v1alpha1.Region) { r.Spec.Capacity.MaxInstances = ptr.To[int32](2) }, surplusFor(time.Millisecond))
		m := w.session(ctx, "one", []string{home})
		w.runs(ctx, m)
		By("a slot that was taken: the buffer is filled again")
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(2))
		By("a slot that was freed: a host too many leaves")
		w.remove(ctx, m)
		Eventually(w.hosts(ctx, "")).Should(HaveLen(1))
	})

	It("takes a change of the capacity into account at once, up and down", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 1, surplusFor(time.Millisecond), free(1))
		w.capacity(ctx, `"desiredFreeMandelboxes":%d`, 3*slotsPerHost)
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(3))
		w.capacity(ctx, `"desiredFreeMandelboxes":1,"minInstances":2`)
		Eventually(w.hosts(ctx, "")).Should(HaveLen(2), "several at once, and never below minInstances")
		Consistently(w.hosts(ctx, v1alpha1.InstanceActive), "1s").Should(HaveLen(2))
		w.capacity(ctx, `"minInstances":0`)
		Eventually(w.hosts(ctx, "")).Should(HaveLen(1))
		w.capacity(ctx, `"desiredFreeMandelboxes":%d,"maxInstances":2`, 5*slotsPerHost)
		Eventually(w.regionIs(ctx, home)).Should(Equal("True/" + v1alpha1.ReasonMaxInstancesReached))
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(2))
	})

	It("lets hosts leave only after they have been too many for the stabilisation, and never one with a session", func(ctx context.Context) {
		w := newWorld()
		// Three hosts, of which a session leaves room enough for the buffer.
		w.fleet(ctx, 3, free(2*slotsPerHost+1))
		m := w.session(ctx, "one", []string{home})
		w.runs(ctx, m)
		w.capacity(ctx, `"desiredFreeMandelboxes":1`)
		Eventually(func() *metav1.Time { return w.regionNow(ctx, home).Status.SurplusSince }).ShouldNot(BeNil())
		Consistently(w.hosts(ctx, v1alpha1.InstanceActive), "1s").Should(HaveLen(3), "5 minutes by default")
		w.capacity(ctx, `"scaleDownStabilization":"1s"`)
		Eventually(w.hosts(ctx, "")).Should(HaveLen(1))
		left, err := w.hosts(ctx, "")()
		Expect(err).NotTo(HaveOccurred())
		Expect(w.phase(ctx, m)()).To(Equal("Running/Running"))
		Expect(left[0].Name).To(Equal(m.Status.InstanceName))
	})

	It("launches new hosts with changed parameters, counts those without, and lets them leave first", func(ctx context.Context) {
		w := newWorld()
		old := w.fleet(ctx, 1, surplusFor(time.Millisecond), free(1))[0]
		Expect(w.regionNow(ctx, home).Status.OutdatedHosts).To(HaveValue(BeZero()))
		w.merge(ctx, w.regionNow(ctx, home), `{"spec":{"tags":[{"key":"team","value":"streaming"}]}}`)
		Eventually(func() *int32 { return w.regionNow(ctx, home).Status.OutdatedHosts }).Should(HaveValue(BeEquivalentTo(1)))
		Expect(w.is(ctx, &old)()).To(Equal("Active/Ready"), "it serves on")

		w.capacity(ctx, `"desiredFreeMandelboxes":%d`, 3*slotsPerHost)
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(3))
		w.capacity(ctx, `"desiredFreeMandelboxes":%d`, 2*slotsPerHost)
		Eventually(w.gone(ctx, &old)).Should(BeTrue())
		Eventually(func() *int32 { return w.regionNow(ctx, home).Status.OutdatedHosts }).Should(HaveValue(BeZero()))
		Expect(w.hosts(ctx, v1alpha1.InstanceActive)()).To(HaveLen(2))
	})

	It("keeps more room while a schedule is in force, until the second that it ends", func(ctx context.Context) {
		w := newWorld()
		end := time.Now().Add(15 * time.Second).Truncate(time.Second)
		w.fleet(ctx, 3, free(1), surplusFor(time.Millisecond), func(r *v1alpha1.Region) {
			r.Spec.Capacity.Schedules = []v1alpha1.Schedule{peak(3*slotsPerHost, end)}
		})
		Expect(w.regionNow(ctx, home).Status.Schedules).To(ConsistOf("peak"))
		Eventually(func() []string { return w.regionNow(ctx, home).Status.Schedules }).Should(BeEmpty())
		Expect(time.Now()).To(And(BeTemporally(">=", end), BeTemporally("<", end.Add(10*time.Second))))
		Eventually(w.hosts(ctx, "")).Should(HaveLen(1))
	})

	It("asks for spot where the Region says so, and for on-demand when spot has none", func(ctx context.Context) {
		w := newWorld()
		// Each of the three zones refuses once; of the next call it is known to be on-demand.
		w.fault(awsemu.Fault{Operation: "RunInstances", Phase: awsemu.PhaseBefore, Action: awsemu.ActionError,
			Code: "SpotMaxPriceTooLow", Message: "Your Spot request price is lower than the minimum.", Status: 400, Count: 3})
		first := w.fleet(ctx, 1, free(1), func(r *v1alpha1.Region) { r.Spec.PurchaseOption = v1alpha1.PurchaseSpot })[0]
		Expect(first.Labels).To(HaveKeyWithValue(v1alpha1.LabelDecision, "1"), "the Instance stays, and tries on")
		Expect(w.ec2Hosts(ctx, home)).To(HaveLen(1))
		Expect(w.ec2Hosts(ctx, home)[0].InstanceLifecycle).To(BeEmpty())
		Expect(w.launchTokens()).To(HaveLen(4), "a call whose answer could not be written down may be repeated, but only as the same")
		Expect(w.aws.Requests(awsemu.RequestFilter{Operation: "RunInstances", Code: "SpotMaxPriceTooLow"})).To(HaveLen(3))
	})

	It("asks for spot as long as there is some", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 2, func(r *v1alpha1.Region) { r.Spec.PurchaseOption = v1alpha1.PurchaseSpot })
		for _, host := range w.ec2Hosts(ctx, home) {
			Expect(host.InstanceLifecycle).To(Equal(ec2types.InstanceLifecycleTypeSpot))
		}
	})

	It("says that no zone has a host to give, and keeps the Instance", func(ctx context.Context) {
		w := newWorld()
		w.empty(home)
		i := w.launching(ctx)
		Eventually(w.is(ctx, i)).Should(Equal("PreConnection/" + v1alpha1.ReasonInsufficientCapacity))
		Eventually(w.told(ctx, i)).Should(ContainElement(v1alpha1.ReasonInsufficientCapacity))
		Eventually(w.scrape).Should(HaveKeyWithValue("launches_refused_total InsufficientCapacity us-east-1", BeNumerically(">", 0)))
		Eventually(func() int { return w.calls("RunInstances") }).Should(Equal(3), "each zone was asked once, and is remembered")
		Consistently(func() int { return w.calls("RunInstances") }, "1s").Should(Equal(3))
		Expect(w.hosts(ctx, "")()).To(ConsistOf(HaveField("UID", i.UID)))
	})

	It("names the quota to raise, and keeps the Instance", func(ctx context.Context) {
		w := newWorld()
		w.fault(awsemu.Fault{Operation: "RunInstances", Phase: awsemu.PhaseBefore, Action: awsemu.ActionError,
			Code: "VcpuLimitExceeded", Message: "You have requested more vCPU capacity than your current limit allows.", Status: 400})
		i := w.launching(ctx)
		Eventually(w.is(ctx, i)).Should(Equal("PreConnection/" + v1alpha1.ReasonQuotaExceeded))
		Eventually(func() string {
			Expect(w.Get(ctx, client.ObjectKeyFromObject(i), i)).To(Succeed())
			return meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionLaunched).Message
		}).Should(ContainSubstring(`raise the quota "Running On-Demand G and VT instances"`))
		Eventually(func() int { return w.calls("RunInstances") }).Should(Equal(3), "each zone was asked once, and is remembered")
		Consistently(func() int { return w.calls("RunInstances") }, "1s").Should(Equal(3))
		Expect(w.hosts(ctx, "")()).To(HaveLen(1))
		Expect(w.decision(ctx)).To(BeEquivalentTo(1))
	})

	It("stops launching an image when half of its last four hosts never became Active, says why, and tries again when it is told to", func(ctx context.Context) {
		w := newWorld()
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = time.Hour })
		w.region(ctx, home, free(4*slotsPerHost), timeouts(time.Second, time.Minute))
		w.channel(ctx, "stable", []string{home})
		Eventually(w.regionIs(ctx, home)).Should(Equal("False/" + v1alpha1.ReasonHostsNeverActive))
		stalled := meta.FindStatusCondition(w.regionNow(ctx, home).Status.Conditions, v1alpha1.ConditionStalled)
		Expect(stalled.Message).To(And(ContainSubstring("channel stable"), ContainSubstring("4 of its last 4 hosts never became Active")))
		Eventually(w.hosts(ctx, "")).Should(BeEmpty())
		launched := w.calls("RunInstances")

		By("remembering it over a restart")
		w.stopManager()
		w.startManager()
		Consistently(w.hosts(ctx, ""), "1s").Should(BeEmpty())
		Expect(w.calls("RunInstances")).To(Equal(launched))
		Eventually(w.channelIs(ctx, "stable", v1alpha1.ConditionStalled)).Should(Equal("True/" + v1alpha1.ReasonHostsNeverActive))

		w.delay(func(d *awsemu.Delays) { d.AgentBoot = 0 })
		w.merge(ctx, w.regionNow(ctx, home), fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}},"spec":{"hostTimeouts":{"preConnection":"15m"}}}`,
			v1alpha1.AnnotationRetryLaunches, time.Now().UTC().Add(time.Second).Format(time.RFC3339)))
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(4))
		Eventually(w.regionIs(ctx, home)).Should(Equal("True/" + v1alpha1.ReasonReady))
		Eventually(w.channelIs(ctx, "stable", v1alpha1.ConditionRolledOut)).Should(Equal("True/" + v1alpha1.ReasonRolledOut))
	})
})

var _ = Describe("A Region that is switched off", func() {
	It("launches nothing and takes no session; its sessions live on, and its hosts leave as they become empty", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 2)
		m := w.session(ctx, "lives", []string{home})
		w.runs(ctx, m)
		w.merge(ctx, w.regionNow(ctx, home), `{"spec":{"enabled":false}}`)
		Eventually(w.hosts(ctx, "")).Should(HaveLen(1))
		late := w.session(ctx, "late", []string{home})
		Eventually(w.phase(ctx, late)).Should(Equal("Pending/" + v1alpha1.ReasonRegionNotEnabled))
		Consistently(w.phase(ctx, m), "1s").Should(Equal("Running/Running"))
		Expect(w.phase(ctx, late)()).To(Equal("Pending/" + v1alpha1.ReasonRegionNotEnabled))

		w.remove(ctx, m)
		Eventually(w.hosts(ctx, "")).Should(BeEmpty())
		Eventually(func() []ec2types.Instance { return w.ec2Hosts(ctx, home) }).Should(BeEmpty())

		By("taking up where it left off when it is switched on")
		w.merge(ctx, w.regionNow(ctx, home), `{"spec":{"enabled":true}}`)
		w.runs(ctx, late)
	})
})

var _ = Describe("A Region that is deleted", func() {
	It("drains first: it waits for its sessions, then for its hosts, and leaves nothing", func(ctx context.Context) {
		w := newWorld()
		w.fleet(ctx, 2)
		m := w.session(ctx, "lives", []string{home})
		w.runs(ctx, m)
		Expect(w.Delete(ctx, w.regionNow(ctx, home))).To(Succeed())
		Eventually(w.regionIs(ctx, home)).Should(Equal("False/" + v1alpha1.ReasonInUse))
		Eventually(w.hosts(ctx, "")).Should(HaveLen(1))
		Consistently(w.phase(ctx, m), "1s").Should(Equal("Running/Running"))
		Eventually(func() string {
			return meta.FindStatusCondition(w.regionNow(ctx, home).Status.Conditions, v1alpha1.ConditionReady).Message
		}).Should(ContainSubstring("1 host with 1 session"))

		w.remove(ctx, m)
		Eventually(func() error {
			return client.IgnoreNotFound(w.Get(ctx, client.ObjectKey{Name: home}, &v1alpha1.Region{}))
		}).Should(Succeed())
		Eventually(w.hosts(ctx, "")).Should(BeEmpty())
		Expect(w.ec2Hosts(ctx, home)).To(BeEmpty())
	})
})
