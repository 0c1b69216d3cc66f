// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

func TestSpotInterruptionsAreFoundAtTheNotice(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	delays := awsemu.FastDelays()
	delays.SpotNotice = time.Hour
	l.SetDelays(delays)
	launch := l.launch(t, "spot", 2)
	launch.Spot = true
	hosts, err := l.api.LaunchHosts(t.Context(), launch)
	g.Expect(err).NotTo(HaveOccurred())
	theirs := launch
	theirs.Token, theirs.Tags = "theirs", nil
	others, err := openAs(t, awsemu.RootAccessKey, "c2", l.endpoint).LaunchHosts(t.Context(), theirs)
	g.Expect(err).NotTo(HaveOccurred())
	list, err := l.api.ListSpotInterruptions(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(list).To(BeEmpty())

	g.Expect(l.InterruptSpot("", "us-east-1", hosts[1].InstanceID)).To(Succeed())
	g.Expect(l.InterruptSpot("", "us-east-1", others[0].InstanceID)).To(Succeed())
	g.Expect(l.api.TerminateHost(t.Context(), hosts[0].InstanceID)).To(Succeed())
	list, err = l.api.ListSpotInterruptions(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(list).To(HaveLen(1))
	g.Expect(list[0].InstanceID).To(Equal(hosts[1].InstanceID))
	g.Expect(list[0].NoticedAt).To(BeTemporally("~", time.Now(), patience))
	g.Expect(list[0].Message).To(HavePrefix("instance-terminated-no-capacity: "))
}
