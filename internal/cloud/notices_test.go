// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// spotFleet is a quiet fleet whose host is spot.
func spotFleet(f *fakeAWS) {
	quietFleet(f)
	host := f.hosts["i-1"]
	host.Spot = true
	f.hosts["i-1"] = host
}

// hostOne is the change of the only host.
var hostOne = []cloud.Change{{Kind: cloud.HostChanged, Token: "tok", InstanceID: "i-1"}}

func TestSpotInterruptionsAreListedWhereThereAreSpotHostsOnly(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.pass(80 * time.Second)
	w.g.Expect(w.aws.count("ListSpotInterruptions")).To(BeZero())

	w.aws.change(spotFleet)
	w.pass(120 * time.Second)
	w.g.Expect(w.aws.count("ListSpotInterruptions")).To(BeNumerically("~", 3, 1), "one call in each listing")
}

func TestASpotInterruptionIsToldOfOnceAndLastsUntilTheHostIsGone(t *testing.T) {
	t.Parallel()
	w := watch(t, spotFleet)
	w.pass(40 * time.Second)
	w.seen(cloud.HostChanged)
	noticed := w.clock.Now()
	w.aws.change(func(f *fakeAWS) {
		f.interrupted["i-1"] = cloud.SpotInterruption{InstanceID: "i-1", NoticedAt: noticed, Message: "no capacity"}
		f.interrupted["i-gone"] = cloud.SpotInterruption{InstanceID: "i-gone", NoticedAt: noticed}
	})
	w.pass(40 * time.Second)
	w.g.Expect(w.seen(cloud.HostChanged)).To(Equal(hostOne))
	health, _ := w.HostHealth("i-1")
	event, ok := health.Interruption()
	w.g.Expect(ok).To(BeTrue())
	w.g.Expect(event).To(Equal(cloud.HostEvent{
		Code: cloud.EventSpotInterruption, Description: "no capacity", NotBefore: noticed.Add(2 * time.Minute),
	}))
	health, _ = w.HostHealth("i-gone")
	w.g.Expect(health).To(BeZero())

	watched := w.aws.count("DescribeHosts")
	w.pass(5 * time.Second)
	w.g.Expect(w.aws.count("DescribeHosts")).To(Equal(watched+5), "its end is looked for")
	w.aws.change(func(f *fakeAWS) { f.fail["ListSpotInterruptions"] = errors.New("no permission") })
	w.pass(40 * time.Second)
	w.g.Expect(w.Err()).To(MatchError("listing spot interruptions: no permission"))
	_, ok = healthOf(w).Interruption()
	w.g.Expect(ok).To(BeTrue())

	w.seen(cloud.HostChanged)
	w.aws.change(func(f *fakeAWS) {
		delete(f.fail, "ListSpotInterruptions")
		host := f.hosts["i-1"]
		host.State = cloud.HostTerminated
		f.hosts["i-1"] = host
	})
	w.pass(2 * time.Second)
	w.g.Expect(w.seen(cloud.HostChanged)).To(Equal(hostOne), "at once")
	w.pass(80 * time.Second)
	w.g.Expect(healthOf(w)).To(BeZero())
}

func healthOf(w *watched) cloud.HostHealth {
	health, _ := w.HostHealth("i-1")
	return health
}

func TestNoticesOfAnotherSource(t *testing.T) {
	t.Parallel()
	w := watch(t, spotFleet)
	w.seen(cloud.HostChanged)
	w.Notify("i-1", cloud.HostEvent{Code: cloud.EventRebalance})
	w.Notify("i-1", cloud.HostEvent{Code: cloud.EventRebalance})
	w.Notify("i-theirs", cloud.HostEvent{Code: cloud.EventSpotInterruption})
	w.g.Expect(w.seen(cloud.HostChanged)).To(Equal(hostOne))
	_, interrupted := healthOf(w).Interruption()
	w.g.Expect(interrupted).To(BeFalse())
	_, rebalance := healthOf(w).Rebalance()
	w.g.Expect(rebalance).To(BeTrue())

	at := w.clock.Now().Add(2 * time.Minute)
	w.Notify("i-1", cloud.HostEvent{Code: cloud.EventSpotInterruption})
	w.Notify("i-1", cloud.HostEvent{Code: cloud.EventSpotInterruption, NotBefore: at})
	w.Notify("i-1", cloud.HostEvent{Code: cloud.EventSpotInterruption, NotBefore: at.Add(time.Second)})
	w.g.Expect(w.seen(cloud.HostChanged)).To(HaveLen(2), "of the notice, and of its time")
	event, _ := healthOf(w).Interruption()
	w.g.Expect(event.NotBefore).To(Equal(at))

	w.pass(62 * time.Minute)
	_, rebalance = healthOf(w).Rebalance()
	w.g.Expect(rebalance).To(BeFalse(), "a recommendation need not come true")
	_, interrupted = healthOf(w).Interruption()
	w.g.Expect(interrupted).To(BeTrue())
}
