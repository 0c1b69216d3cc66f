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

func TestHealthIsToldOfOnceForOurHosts(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.seen(cloud.HostChanged)
	health, known := w.HostHealth("i-1")
	w.g.Expect(known).To(BeTrue())
	w.g.Expect(health).To(BeZero())

	w.aws.change(func(f *fakeAWS) {
		f.health["i-1"] = cloud.HostHealth{InstanceID: "i-1", Impaired: true}
		f.health["i-theirs"] = cloud.HostHealth{InstanceID: "i-theirs", Impaired: true}
	})
	w.pass(40 * time.Second)
	w.g.Expect(w.seen(cloud.HostChanged)).To(Equal([]cloud.Change{{Kind: cloud.HostChanged, Token: "tok", InstanceID: "i-1"}}))
	health, _ = w.HostHealth("i-1")
	w.g.Expect(health.Impaired).To(BeTrue())
	w.pass(40 * time.Second)
	w.g.Expect(w.seen(cloud.HostChanged)).To(BeEmpty())

	w.aws.change(func(f *fakeAWS) { f.fail["ListHostHealth"] = errors.New("no permission") })
	w.pass(40 * time.Second)
	health, _ = w.HostHealth("i-1")
	w.g.Expect(health.Impaired).To(BeTrue())
	w.g.Expect(w.Err()).To(MatchError("listing host health: no permission"))
	w.g.Expect(w.Synced()).To(BeTrue())

	w.aws.change(func(f *fakeAWS) {
		delete(f.fail, "ListHostHealth")
		delete(f.health, "i-1")
	})
	w.pass(40 * time.Second)
	w.g.Expect(w.seen(cloud.HostChanged)).To(HaveLen(1))
	health, _ = w.HostHealth("i-1")
	w.g.Expect(health).To(BeZero())
}

func TestInterruption(t *testing.T) {
	t.Parallel()
	soon, later := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 9, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		events []cloud.HostEvent
		want   string
	}{
		"none":              {nil, ""},
		"the first of two":  {[]cloud.HostEvent{{Code: "instance-stop", NotBefore: later}, {Code: "system-reboot", NotBefore: soon}}, "system-reboot"},
		"the one not over":  {[]cloud.HostEvent{{Code: "instance-stop", Description: "[Completed] it"}, {Code: "instance-retirement", NotBefore: later}}, "instance-retirement"},
		"called off":        {[]cloud.HostEvent{{Code: "instance-reboot", Description: "[Canceled] it"}}, ""},
		"of the host below": {[]cloud.HostEvent{{Code: "system-maintenance"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			event, ok := cloud.HostHealth{Events: test.events}.Interruption()
			g := NewWithT(t)
			g.Expect(event.Code).To(Equal(test.want))
			g.Expect(ok).To(Equal(test.want != ""))
		})
	}
}
