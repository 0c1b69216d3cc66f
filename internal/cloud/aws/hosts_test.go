// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func TestLaunchIsRepeatable(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	launch := l.launch(t, "launch-1", 3)

	first, err := l.api.LaunchHosts(t.Context(), launch)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(first).To(HaveLen(3))
	indexes := []int32{}
	for _, h := range first {
		g.Expect(h.Token).To(Equal("launch-1"))
		g.Expect(h.Tags).To(HaveKeyWithValue(cloud.TagRegion, "east"))
		g.Expect(h.Zone).NotTo(BeEmpty())
		indexes = append(indexes, h.Index)
	}
	g.Expect(indexes).To(ConsistOf(int32(0), int32(1), int32(2)))

	again, err := l.api.LaunchHosts(t.Context(), launch)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids(again)).To(ConsistOf(ids(first)))

	// Another parameter under the same token: the launch happened, and is found.
	launch.UserData += "# changed\n"
	adopted, err := l.api.LaunchHosts(t.Context(), launch)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids(adopted)).To(ConsistOf(ids(first)))
}

func TestLaunchParametersReachEC2(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	launch := l.launch(t, "launch-public-spot", 1)
	public := true
	launch.AssociatePublicIPAddress = &public
	launch.Spot = true
	launch.BlockDevices = []cloud.BlockDevice{{DeviceName: "/dev/xvda", SizeGiB: 100, VolumeType: "gp3", IOPS: 3000, Encrypted: true}}
	hosts, err := l.api.LaunchHosts(t.Context(), launch)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(hosts).To(HaveLen(1))
	g.Expect(hosts[0].Spot).To(BeTrue())
	g.Eventually(func(g Gomega) {
		described, err := l.api.DescribeHosts(t.Context(), ids(hosts))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(described).To(HaveLen(1))
		g.Expect(described[0].State).To(Equal(cloud.HostRunning))
		g.Expect(described[0].PublicIP).NotTo(BeEmpty())
		g.Expect(described[0].SubnetID).To(Equal(launch.SubnetID))
	}).WithTimeout(patience).Should(Succeed())
}

func TestMismatchIsFoundThroughVisibilityLag(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	delays := awsemu.FastDelays()
	delays.VisibilityLag = 400 * time.Millisecond
	l.SetDelays(delays)
	launch := l.launch(t, "launch-lag", 2)
	first, err := l.api.LaunchHosts(t.Context(), launch)
	g.Expect(err).NotTo(HaveOccurred())
	launch.UserData = ""
	adopted, err := l.api.LaunchHosts(t.Context(), launch)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids(adopted)).To(ConsistOf(ids(first)))
}

func TestHostsAreOnlyOurs(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	ours, err := l.api.LaunchHosts(t.Context(), l.launch(t, "ours", 1))
	g.Expect(err).NotTo(HaveOccurred())
	theirs := l.launch(t, "theirs", 1)
	theirs.Tags = map[string]string{cloud.TagCluster: "c2", cloud.TagRegion: "east"}
	_, err = openAs(t, awsemu.RootAccessKey, "c2", l.endpoint).LaunchHosts(t.Context(), theirs)
	g.Expect(err).NotTo(HaveOccurred())

	listed, err := l.api.ListHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids(listed)).To(Equal(ids(ours)))

	described, err := l.api.DescribeHosts(t.Context(), append(ids(ours), "i-00000000000000000"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids(described)).To(Equal(ids(ours)))
}

func TestTerminationsShareARequest(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	hosts, err := l.api.LaunchHosts(t.Context(), l.launch(t, "to-go", 20))
	g.Expect(err).NotTo(HaveOccurred())
	before := l.calls("TerminateInstances")
	errs := atOnce(t.Context(), len(hosts), func(ctx context.Context, i int) error {
		return l.api.TerminateHost(ctx, hosts[i].InstanceID)
	})
	g.Expect(errs).To(BeEmpty())
	g.Expect(l.calls("TerminateInstances") - before).To(BeNumerically("<=", 3))

	g.Eventually(func(g Gomega) {
		listed, err := l.api.ListHosts(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(listed).To(HaveLen(20))
		for _, h := range listed {
			g.Expect(h.State).To(Equal(cloud.HostTerminated))
		}
	}).WithTimeout(patience).Should(Succeed())

	// The token's hosts are gone: it launches nothing any more.
	_, err = l.api.LaunchHosts(t.Context(), l.launch(t, "to-go", 20))
	mustKind(g, err, cloud.KindTokenSpent)
	g.Expect(cloud.KindOf(err).Definite()).To(BeTrue())
}

func TestOneUnknownHostDoesNotKeepTheOthers(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	hosts, err := l.api.LaunchHosts(t.Context(), l.launch(t, "with-a-ghost", 2))
	g.Expect(err).NotTo(HaveOccurred())
	all := append(ids(hosts), "i-0aaaaaaaaaaaaaaaa")
	// By its policy the manager would be denied what is not known: nothing says that it is its.
	owner := openAs(t, awsemu.RootAccessKey, "c1", l.endpoint)
	errs := atOnce(t.Context(), len(all), func(ctx context.Context, i int) error {
		return owner.TerminateHost(ctx, all[i])
	})
	g.Expect(errs).To(BeEmpty())
	g.Eventually(func(g Gomega) {
		described, err := l.api.DescribeHosts(t.Context(), ids(hosts))
		g.Expect(err).NotTo(HaveOccurred())
		for _, h := range described {
			g.Expect(h.State.Gone()).To(BeTrue())
		}
	}).WithTimeout(patience).Should(Succeed())
}

func TestErrorsHaveKinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault awsemu.Fault
		want  cloud.Kind
		code  string
	}{
		"throttled": {awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionThrottle}, cloud.KindThrottled, "RequestLimitExceeded"},
		"no capacity": {awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionError, Code: "InsufficientInstanceCapacity", Status: 500},
			cloud.KindCapacity, "InsufficientInstanceCapacity"},
		"unauthorized": {awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionError, Code: "UnauthorizedOperation", Status: 403},
			cloud.KindUnauthorized, "UnauthorizedOperation"},
		"connection lost": {awsemu.Fault{Operation: "RunInstances", Action: awsemu.ActionDrop}, cloud.KindUnknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, l := NewWithT(t), newLocalAWS(t)
			launch := l.launch(t, "refused", 1)
			_, err := l.AddFault(tc.fault)
			g.Expect(err).NotTo(HaveOccurred())
			_, err = l.api.LaunchHosts(t.Context(), launch)
			mustKind(g, err, tc.want)
			if tc.code != "" {
				g.Expect(err.Error()).To(HavePrefix("RunInstances: " + tc.code + ": "))
			}
		})
	}
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	ctx := t.Context()

	types, err := l.api.InstanceTypes(ctx, []string{"g4dn.xlarge", "g4dn.12xlarge", "x9.huge"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(types).To(HaveLen(2))
	g.Expect(types["g4dn.12xlarge"]).To(Equal(cloud.InstanceType{Name: "g4dn.12xlarge", VCPUs: 48, MemoryMiB: 192 * 1024, GPUs: 4}))

	images, err := l.api.Images(ctx, []string{image, "ami-0000000000000dead"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(images).To(HaveLen(1))
	g.Expect(images[image].RootDeviceName).NotTo(BeEmpty())

	all, err := l.api.Subnets(ctx, cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(all).To(HaveLen(3))
	one, err := l.api.Subnets(ctx, cloud.Selector{IDs: []string{all[1].ID}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(one).To(HaveLen(1))
	_, err = l.api.Subnets(ctx, cloud.Selector{IDs: []string{"subnet-0000000000000dead"}})
	mustKind(g, err, cloud.KindNotFound)
	_, err = l.api.SecurityGroups(ctx, cloud.Selector{IDs: []string{"sg-0000000000000dead"}})
	mustKind(g, err, cloud.KindNotFound)
	none, err := l.api.Subnets(ctx, cloud.Selector{Tags: map[string]string{"fleet": "nobody's", "any": ""}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(none).To(BeEmpty())
}

func TestCallsAreMeasured(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	_, err := l.api.ListHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	families, err := l.metrics.Gather()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(families).To(HaveLen(1))
	labels := map[string]string{}
	for _, pair := range families[0].GetMetric()[0].GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	g.Expect(labels).To(Equal(map[string]string{"service": "EC2", "operation": "DescribeInstances", "region": "us-east-1", "code": ""}))
}

func TestAZoneWithoutCapacityIsNotAskedTwice(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t, config.WithRegion("us-east-1"))
	l.SetCapacity(awsemu.Capacity{Region: "us-east-1", Available: 0})
	_, err := l.api.LaunchHosts(t.Context(), l.launch(t, "no-room", 1))
	mustKind(g, err, cloud.KindCapacity)
	g.Expect(l.calls("RunInstances")).To(Equal(1))
}
