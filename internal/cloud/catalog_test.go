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

func TestCatalogFollowsWants(t *testing.T) {
	t.Parallel()
	w := watch(t, func(f *fakeAWS) {
		f.types["g4dn.xlarge"] = cloud.InstanceType{Name: "g4dn.xlarge", VCPUs: 4}
		f.subnets = []cloud.Subnet{{ID: "subnet-1", FreeAddresses: 10}}
	})
	w.g.Expect(w.Catalog().Ready).To(BeFalse())
	wants := cloud.Wants{
		InstanceTypes: []string{"g4dn.xlarge", "g4dn.2xlarge"},
		Subnets:       cloud.Selector{IDs: []string{"subnet-1"}},
	}
	w.SetWants(wants)
	ready := func() bool { return w.Catalog().Ready }
	w.g.Eventually(ready).Should(BeTrue())
	w.g.Expect(w.Catalog().InstanceTypes).To(HaveKey("g4dn.xlarge"))
	w.g.Expect(w.Catalog().ClusterARN).To(Equal("arn:cluster"))
	w.g.Expect(w.Catalog().Err()).NotTo(HaveOccurred())
	w.g.Expect(w.aws.count("Images")).To(BeZero(), "none are wanted")
	w.quiet()
	w.g.Expect(w.seen(cloud.CatalogChanged)).To(HaveLen(1))

	// The same in another order costs nothing.
	wants.InstanceTypes = []string{"g4dn.2xlarge", "g4dn.xlarge", "g4dn.xlarge"}
	w.SetWants(wants)
	w.pass(10 * time.Second)
	w.g.Expect(w.aws.count("InstanceTypes")).To(Equal(1))

	// Fewer free addresses come with every launch, and are no change.
	w.aws.change(func(f *fakeAWS) { f.subnets[0].FreeAddresses = 9 })
	w.RefreshCatalog()
	w.g.Eventually(func() int32 { return w.Catalog().Subnets[0].FreeAddresses }).Should(Equal(int32(9)))
	w.quiet()
	w.g.Expect(w.seen(cloud.CatalogChanged)).To(BeEmpty())
}

func TestCatalogKeepsWhatItKnows(t *testing.T) {
	t.Parallel()
	w := watch(t, func(f *fakeAWS) { f.subnets = []cloud.Subnet{{ID: "subnet-1"}} })
	w.SetWants(cloud.Wants{Subnets: cloud.Selector{IDs: []string{"subnet-1"}}})
	w.g.Eventually(func() bool { return w.Catalog().Ready }).Should(BeTrue())
	fail := func(kind cloud.Kind) {
		w.aws.change(func(f *fakeAWS) {
			f.fail["Subnets"] = &cloud.Error{Op: "DescribeSubnets", Kind: kind, Err: errors.New("no")}
		})
		w.RefreshCatalog()
		w.g.Eventually(func() cloud.Kind { return cloud.KindOf(w.Catalog().SubnetsErr) }).Should(Equal(kind))
	}
	fail(cloud.KindThrottled)
	w.g.Expect(w.Catalog().Subnets).To(HaveLen(1), "a failed call takes nothing away")
	w.g.Expect(w.Catalog().ClusterErr).NotTo(HaveOccurred(), "each part fails by itself")
	fail(cloud.KindNotFound)
	w.g.Expect(w.Catalog().Subnets).To(BeEmpty(), "it no longer exists")
}
