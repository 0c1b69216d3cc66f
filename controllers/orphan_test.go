// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// stray launches hosts that no Instance asked for, with the tags of a control cluster
// or, where that is empty, without any.
func (w *world) stray(ctx context.Context, region string, n int32, cluster string) []string {
	GinkgoHelper()
	launch := &ec2.RunInstancesInput{
		ImageId: awssdk.String(awsemu.DefaultImageID), InstanceType: ec2types.InstanceTypeG4dn12xlarge,
		MinCount: awssdk.Int32(n), MaxCount: awssdk.Int32(n),
	}
	if cluster != "" {
		launch.TagSpecifications = []ec2types.TagSpecification{{
			ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{
				{Key: awssdk.String(cloud.TagCluster), Value: awssdk.String(cluster)},
				{Key: awssdk.String(cloud.TagRegion), Value: awssdk.String(region)},
			},
		}}
	}
	out, err := ec2.NewFromConfig(w.awsConfig(region)).RunInstances(ctx, launch)
	Expect(err).NotTo(HaveOccurred())
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, *i.InstanceId)
	}
	return ids
}

// running lists the ids of what runs in EC2.
func (w *world) running(ctx context.Context, region string) func() []string {
	return func() []string {
		var ids []string
		for _, i := range w.ec2Hosts(ctx, region) {
			ids = append(ids, *i.InstanceId)
		}
		return ids
	}
}

// regionStalled reads why a Region is stalled; empty if it isn't.
func (w *world) regionStalled(ctx context.Context, name string) func() string {
	return func() string {
		stalled := meta.FindStatusCondition(w.regionNow(ctx, name).Status.Conditions, v1alpha1.ConditionStalled)
		if stalled == nil {
			return ""
		}
		return stalled.Reason + ": " + stalled.Message
	}
}

// stalledAndReconciling says whether a Region is both; "" if it isn't.
func stalledAndReconciling(o client.Object) string {
	conditions := o.(*v1alpha1.Region).Status.Conditions
	if meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled) && meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReconciling) {
		return "stalled and reconciling at once"
	}
	return ""
}

// regionKstatus is what GitOps tools make of a Region.
func (w *world) regionKstatus(ctx context.Context, name string) (status.Status, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w.regionNow(ctx, name))
	if err != nil {
		return "", err
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		return "", err
	}
	return result.Status, nil
}

var _ = Describe("What belongs to nobody in AWS", func() {
	var w *world
	BeforeEach(func(ctx context.Context) {
		w = newWorld(func(w *world) { w.orphanGrace = 300 * time.Millisecond })
		w.region(ctx, "sa-east-1")
		w.channel(ctx, "stable", []string{"sa-east-1"})
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
	})

	It("is terminated after its grace when it carries our tags, and left alone when it is another's", func(ctx context.Context) {
		ours := w.stray(ctx, "sa-east-1", 1, clusterID)
		others := append(w.stray(ctx, "sa-east-1", 1, "another-cluster"), w.stray(ctx, "sa-east-1", 1, "")...)
		Eventually(w.running(ctx, "sa-east-1")).ShouldNot(ContainElement(ours[0]))
		Eventually(w.scrape).Should(HaveKeyWithValue("orphans_removed_total host sa-east-1", BeNumerically(">=", 1)), "once, and again until it is seen to go")
		Consistently(w.running(ctx, "sa-east-1"), "500ms").Should(And(HaveLen(3), ContainElements(others)))
		Expect(w.hosts(ctx, v1alpha1.InstanceActive)()).To(HaveLen(1))
	})

	It("stays when it is too much at once, and has the Region stalled, until a person agrees", func(ctx context.Context) {
		w.watchVersions(ctx, &v1alpha1.RegionList{}, stalledAndReconciling)
		w.stray(ctx, "sa-east-1", 7, clusterID)
		Eventually(w.regionStalled(ctx, "sa-east-1")).Should(HavePrefix("TooManyOrphans: 7 of 8 hosts belong to no Instance"))
		Expect(w.regionIs(ctx, "sa-east-1")()).To(Equal("False/TooManyOrphans"))
		Expect(w.regionKstatus(ctx, "sa-east-1")).To(Equal(status.FailedStatus))
		Eventually(w.told(ctx, w.regionNow(ctx, "sa-east-1"))).Should(ContainElement("TooManyOrphans"))
		Consistently(w.running(ctx, "sa-east-1"), "1s").Should(HaveLen(8))
		told, err := w.told(ctx, w.regionNow(ctx, "sa-east-1"))()
		Expect(err).NotTo(HaveOccurred())
		Expect(slices.DeleteFunc(told, func(reason string) bool { return reason != "TooManyOrphans" })).To(HaveLen(1))

		region := &v1alpha1.Region{}
		region.Name = "sa-east-1"
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"7"}}}`, v1alpha1.AnnotationRemoveOrphans)
		Expect(w.Patch(ctx, region, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
		Eventually(w.running(ctx, "sa-east-1")).Should(HaveLen(1))
		Eventually(w.regionIs(ctx, "sa-east-1")).Should(Equal("True/Ready"))
		Expect(w.regionStalled(ctx, "sa-east-1")()).To(BeEmpty())
	})

	It("has the Region stalled again after a restart of the manager, and no longer than it is there", func(ctx context.Context) {
		w.watchVersions(ctx, &v1alpha1.RegionList{}, stalledAndReconciling)
		strays := w.stray(ctx, "sa-east-1", 3, clusterID)
		Eventually(w.regionStalled(ctx, "sa-east-1")).Should(HavePrefix("TooManyOrphans: 3 of 4"))
		w.stopManager()
		strays = append(strays, w.stray(ctx, "sa-east-1", 1, clusterID)...)
		w.startManager()
		Eventually(w.regionStalled(ctx, "sa-east-1")).Should(HavePrefix("TooManyOrphans: 4 of 5"))
		for _, id := range strays {
			Expect(w.aws.KillInstance("", "sa-east-1", id)).To(Succeed())
		}
		Eventually(w.regionIs(ctx, "sa-east-1")).Should(Equal("True/Ready"))
		Expect(w.regionStalled(ctx, "sa-east-1")()).To(BeEmpty())
	})

	It("is only reported by a manager that is told to", func(ctx context.Context) {
		w.stopManager()
		w.dryRun = true
		w.startManager()
		strays := w.stray(ctx, "sa-east-1", 7, clusterID)
		Eventually(w.told(ctx, w.regionNow(ctx, "sa-east-1"))).Should(ContainElement("OrphansFound"))
		w.expectValues(map[string]float64{"orphans host sa-east-1": 7})
		Consistently(w.running(ctx, "sa-east-1"), "500ms").Should(ContainElements(strays))
		Expect(w.regionStalled(ctx, "sa-east-1")()).To(BeEmpty())
	})

	It("holds a Region that is being deleted until it is removed", func(ctx context.Context) {
		w.stray(ctx, "sa-east-1", 7, clusterID)
		region := &v1alpha1.Region{}
		region.Name = "sa-east-1"
		Expect(w.Delete(ctx, region)).To(Succeed())
		Eventually(func() error { return w.Get(ctx, client.ObjectKeyFromObject(region), region) }).Should(MatchError(ContainSubstring("not found")))
		Expect(w.running(ctx, "sa-east-1")()).To(BeEmpty())
	})

	It("is not what runs while all Instances are away", func(ctx context.Context) {
		m := w.session(ctx, "survivor", []string{"sa-east-1"})
		Eventually(w.phase(ctx, m)).Should(Equal("Running/Running"))
		before := w.running(ctx, "sa-east-1")()
		w.stopManager()
		hosts, err := w.hosts(ctx, "")()
		Expect(err).NotTo(HaveOccurred())
		for i := range hosts {
			Expect(w.Patch(ctx, &hosts[i], client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())
			Expect(w.Delete(ctx, &hosts[i])).To(Succeed())
		}
		w.startManager()
		Eventually(w.told(ctx, w.regionNow(ctx, "sa-east-1"))).Should(ContainElement("OrphanDrained"))
		Consistently(w.running(ctx, "sa-east-1"), "500ms").Should(ContainElements(before), "a host with a session on it is drained, not terminated")
		Expect(w.phase(ctx, m)()).To(Equal("Running/Running"), "the session goes on, and is said to")
		w.exit("sa-east-1", m, 0)
		w.ends(ctx, m, v1alpha1.ReasonCompleted)
		Eventually(w.running(ctx, "sa-east-1")).ShouldNot(ContainElements(before))
	})
})
