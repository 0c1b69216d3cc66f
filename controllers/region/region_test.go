// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/fleettest"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

const commit = "abcdef0123"

var counter int

// unique makes names that no other spec uses.
func unique(prefix string) string {
	counter++
	return fmt.Sprintf("%s-%d", prefix, counter)
}

// isReady is what a Region says of itself by kstatus and its condition Ready.
func isReady(ctx context.Context, region *v1alpha1.Region) fleettest.Told {
	return fleet.Tells(ctx, region, &region.Status.Conditions, v1alpha1.ConditionReady)
}

func told(health kstatus.Status, reason string, status metav1.ConditionStatus) fleettest.Told {
	return fleettest.Told{Health: health, Reason: reason, Status: string(status)}
}

// release makes a channel with one active revision in a region, as the AMI
// controller would.
func release(ctx context.Context, region string, revisions ...v1alpha1.Revision) *v1alpha1.AMI {
	GinkgoHelper()
	ami := fleettest.Channel(unique("channel"), commit, region, fleettest.ImageA)
	fleet.Make(ctx, ami)
	if len(revisions) == 0 {
		revisions = []v1alpha1.Revision{revision(region, "r1", v1alpha1.RevisionActive)}
	}
	setRevisions(ctx, ami, revisions...)
	return ami
}

func revision(region, id string, state v1alpha1.RevisionState) v1alpha1.Revision {
	return v1alpha1.Revision{
		Name: "of-" + id, ClientCommitHash: commit, State: state, Time: metav1.Now(),
		Regions: []v1alpha1.RevisionRegion{{
			Region: region, ID: id, ImageID: fleettest.ImageA, TaskDefinition: "arn:of:" + id,
			ContainerName: "mandelbox", GPU: v1alpha1.GPUShared,
		}},
	}
}

func setRevisions(ctx context.Context, ami *v1alpha1.AMI, revisions ...v1alpha1.Revision) {
	GinkgoHelper()
	before := ami.DeepCopy()
	ami.Status.Revisions = revisions
	ami.Status.ActiveRevision = ""
	for _, r := range revisions {
		if r.State == v1alpha1.RevisionActive {
			ami.Status.ActiveRevision = r.Name
		}
	}
	Expect(fleet.Status().Patch(ctx, ami, client.MergeFrom(before))).To(Succeed())
}

// wake asks for a reconcile that nothing else asks for.
func wake(ctx context.Context, region *v1alpha1.Region, value string) {
	GinkgoHelper()
	fleettest.Change(ctx, fleet, region, func(r *v1alpha1.Region) {
		metav1.SetMetaDataAnnotation(&r.ObjectMeta, "test/wake", value)
	})
}

func hostCount(region string) func(context.Context) int {
	return func(ctx context.Context) int { return len(fleet.Hosts(ctx, region)) }
}

// warm boots a region's hosts until it is ready.
func warm(ctx context.Context, region *v1alpha1.Region) {
	GinkgoHelper()
	Eventually(func(g Gomega, ctx context.Context) {
		fleet.Boot(ctx, region.Name)
		g.Expect(isReady(ctx, region)).To(Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonReady, metav1.ConditionTrue)))
	}).WithContext(ctx).Should(Succeed())
}

func eventReasons(ctx context.Context, object client.Object) []string {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(fleet.List(ctx, &list)).To(Succeed())
	var reasons []string
	for _, event := range list.Items {
		if event.Regarding.UID == object.GetUID() {
			reasons = append(reasons, event.Reason)
		}
	}
	return reasons
}

var _ = Describe("A Region", func() {
	It("is prepared before any channel asks for it", func(ctx context.Context) {
		region := fleet.Region(unique("prepared"))
		fleet.Make(ctx, region)
		By("not looking ready before anyone has looked at it")
		Expect(fleettest.Health(region)).To(Equal(kstatus.InProgressStatus))

		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonNoChannel, metav1.ConditionTrue)))
		Expect(region.Status.Subnets).To(HaveLen(3))
		Expect(region.Status.SecurityGroups).To(HaveLen(1))
		Expect(region.Status.ECSClusterARN).To(HaveSuffix(":cluster/" + region.Name))
		Expect(region.Finalizers).To(ContainElement(v1alpha1.RegionFinalizer))
		Expect(fleet.AWS.Requests(awsemu.RequestFilter{Operation: "CreateCluster"})).NotTo(BeEmpty())
	})

	It("launches the hosts that a channel's buffer needs, once", func(ctx context.Context) {
		region := fleet.Region(unique("buffer"))
		fleet.Make(ctx, region)
		ami := release(ctx, region.Name)

		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.InProgressStatus, v1alpha1.ReasonScalingUp, metav1.ConditionFalse)))
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(3))
		for _, host := range fleet.Hosts(ctx, region.Name) {
			Expect(host.Name).To(HavePrefix(region.Name + "-r1-1-"))
			Expect(metav1.IsControlledBy(&host, region)).To(BeTrue())
			Expect(host.Labels).To(And(
				HaveKeyWithValue(v1alpha1.LabelRegion, region.Name), HaveKeyWithValue(v1alpha1.LabelAMI, ami.Name),
				HaveKeyWithValue(v1alpha1.LabelRevision, "r1"), HaveKeyWithValue(v1alpha1.LabelDecision, "1")))
			Expect(host.Spec).To(Equal(v1alpha1.InstanceSpec{
				RegionName: region.Name, AMIName: ami.Name, Revision: "r1", ImageID: fleettest.ImageA,
				ClientCommitHash: commit, InstanceTypes: []string{"g4dn.12xlarge"},
			}))
		}

		By("being ready when they are")
		warm(ctx, region)
		Expect(region.Status.Free).To(HaveValue(BeEquivalentTo(24)))
		Expect(region.Status.Hosts.Active).To(HaveValue(BeEquivalentTo(3)))
		Expect(region.Status.ActiveImages).To(ConsistOf(fleettest.ImageA))
		Expect(fleet.Tells(ctx, region, &region.Status.Conditions, v1alpha1.ConditionAvailable)).To(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonHasRoom, metav1.ConditionTrue)))
		Expect(region.Status.Decision.Number).To(BeEquivalentTo(1))
		Expect(region.Status.Decision.Done).To(HaveValue(BeTrue()))
		Eventually(eventReasons).WithContext(ctx).WithArguments(region).Should(ContainElement(v1alpha1.ReasonScalingUp))
		Expect(fleet.Hosts(ctx, region.Name)).To(HaveLen(3))
	})

	It("launches more hosts for Mandelboxes that wait", func(ctx context.Context) {
		region := fleet.Region(unique("queue"))
		fleet.Make(ctx, region)
		ami := release(ctx, region.Name)
		warm(ctx, region)

		key := placement.Key{Region: region.Name, AMI: ami.Name, Revision: "r1"}
		queue.set(key, 20) // 20 that wait and 20 to be free are five hosts.
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(5))
		Eventually(func(ctx context.Context) *int32 { isReady(ctx, region); return region.Status.Pending }).
			WithContext(ctx).Should(HaveValue(BeEquivalentTo(20)))
		queue.set(key, 0)
	})

	It("stays within maxInstances and says so", func(ctx context.Context) {
		region := fleet.Region(unique("bounded"), func(r *v1alpha1.Region) { r.Spec.Capacity.MaxInstances = ptr.To[int32](2) })
		fleet.Make(ctx, region)
		release(ctx, region.Name)
		Eventually(func(g Gomega, ctx context.Context) {
			fleet.Boot(ctx, region.Name)
			g.Expect(isReady(ctx, region)).To(
				Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonMaxInstancesReached, metav1.ConditionTrue)))
			g.Expect(region.Status.Hosts.Active).To(HaveValue(BeEquivalentTo(2)))
		}).WithContext(ctx).Should(Succeed())
		Expect(fleet.Hosts(ctx, region.Name)).To(HaveLen(2))
		Eventually(eventReasons).WithContext(ctx).WithArguments(region).Should(ContainElement(v1alpha1.ReasonMaxInstancesReached))
	})

	It("carries out a decision that was left undone, without doubling it", func(ctx context.Context) {
		region := fleet.Region(unique("replay"), func(r *v1alpha1.Region) {
			r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](0)
		})
		fleet.Make(ctx, region)
		ami := release(ctx, region.Name)
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonReady, metav1.ConditionTrue)))

		By("finding one of its hosts made, as by a manager that died in the middle")
		made := &v1alpha1.Instance{
			ObjectMeta: metav1.ObjectMeta{Name: region.Name + "-r1-7-1"},
			Spec: v1alpha1.InstanceSpec{
				RegionName: region.Name, AMIName: ami.Name, Revision: "r1", ImageID: fleettest.ImageA,
				ClientCommitHash: commit, InstanceTypes: []string{"g4dn.12xlarge"},
			},
		}
		Expect(fleet.Create(ctx, made)).To(Succeed())
		before := region.DeepCopy()
		region.Status.Decision = &v1alpha1.ScalingDecision{
			Number: 7, Time: metav1.Now(), Done: ptr.To(false),
			Launches: []v1alpha1.ScalingLaunch{{AMIName: ami.Name, Revision: "r1", Count: 3}},
		}
		Expect(fleet.Status().Patch(ctx, region, client.MergeFrom(before))).To(Succeed())
		wake(ctx, region, "replay")

		Eventually(func(g Gomega, ctx context.Context) {
			g.Expect(fleet.Get(ctx, client.ObjectKeyFromObject(region), region)).To(Succeed())
			g.Expect(region.Status.Decision.Number).To(BeEquivalentTo(7))
			g.Expect(region.Status.Decision.Done).To(HaveValue(BeTrue()))
		}).WithContext(ctx).Should(Succeed())
		var names []string
		for _, host := range fleet.Hosts(ctx, region.Name) {
			names = append(names, strings.TrimPrefix(host.Name, region.Name))
		}
		Expect(names).To(ConsistOf("-r1-7-0", "-r1-7-1", "-r1-7-2"))
	})

	It("lets empty hosts go that are too many, and no other", func(ctx context.Context) {
		region := fleet.Region(unique("surplus"))
		fleet.Make(ctx, region)
		release(ctx, region.Name)
		warm(ctx, region)
		hosts := fleet.Hosts(ctx, region.Name)
		fleet.Claim(ctx, hosts[0].Name, 1)

		fleettest.Change(ctx, fleet, region, func(r *v1alpha1.Region) {
			r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](3)
		})
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(1))
		Expect(fleet.Hosts(ctx, region.Name)[0].Name).To(Equal(hosts[0].Name))
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonReady, metav1.ConditionTrue)))
	})

	It("lets hosts of a replaced release go as their sessions end", func(ctx context.Context) {
		region := fleet.Region(unique("replaced"))
		fleet.Make(ctx, region)
		ami := release(ctx, region.Name)
		warm(ctx, region)
		busy := fleet.Hosts(ctx, region.Name)[0]
		fleet.Claim(ctx, busy.Name, 2)

		setRevisions(ctx, ami, revision(region.Name, "r1", v1alpha1.RevisionRetiring), revision(region.Name, "r2", v1alpha1.RevisionActive))
		Eventually(func(g Gomega, ctx context.Context) {
			revisions := map[string]int{}
			for _, host := range fleet.Hosts(ctx, region.Name) {
				revisions[host.Spec.Revision]++
			}
			g.Expect(revisions).To(Equal(map[string]int{"r1": 1, "r2": 3}))
			g.Expect(fleet.Get(ctx, client.ObjectKeyFromObject(&busy), &busy)).To(Succeed())
			g.Expect(busy.Draining()).To(BeTrue())
		}).WithContext(ctx).Should(Succeed())

		By("deleting the last once it is empty")
		fleet.Claim(ctx, busy.Name, 0)
		Eventually(func(ctx context.Context) bool {
			return apierrors.IsNotFound(fleet.Get(ctx, client.ObjectKeyFromObject(&busy), &busy))
		}).WithContext(ctx).Should(BeTrue())
	})

	It("fills the buffer of a release that warms beside the active one, and keeps it", func(ctx context.Context) {
		region := fleet.Region(unique("warming"))
		fleet.Make(ctx, region)
		ami := release(ctx, region.Name)
		warm(ctx, region)
		setRevisions(ctx, ami, revision(region.Name, "r1", v1alpha1.RevisionActive), revision(region.Name, "r2", v1alpha1.RevisionWarming))
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(6))
		fleet.Boot(ctx, region.Name)
		Eventually(func(ctx context.Context) *int32 { isReady(ctx, region); return region.Status.Hosts.Active }).
			WithContext(ctx).Should(HaveValue(BeEquivalentTo(6)))
		Expect(region.Status.Free).To(HaveValue(BeEquivalentTo(24)), "only active releases serve")
		Consistently(hostCount(region.Name)).WithContext(ctx).WithTimeout(2 * time.Second).Should(Equal(6))
	})

	It("launches nothing while it is disabled", func(ctx context.Context) {
		region := fleet.Region(unique("disabled"), func(r *v1alpha1.Region) { r.Spec.Enabled = ptr.To(false) })
		fleet.Make(ctx, region)
		release(ctx, region.Name)
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonDisabled, metav1.ConditionTrue)))
		Expect(fleet.Hosts(ctx, region.Name)).To(BeEmpty())
		fleettest.Change(ctx, fleet, region, func(r *v1alpha1.Region) { r.Spec.Enabled = ptr.To(true) })
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(3))
	})

	It("stalls on a network that does not exist, until the spec is mended", func(ctx context.Context) {
		region := fleet.Region(unique("network"), func(r *v1alpha1.Region) {
			r.Spec.Subnets.IDs = []string{"subnet-0123456789abcdef0"}
		})
		fleet.Make(ctx, region)
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.FailedStatus, v1alpha1.ReasonSubnetsNotFound, metav1.ConditionFalse)))
		Eventually(eventReasons).WithContext(ctx).WithArguments(region).Should(ContainElement(v1alpha1.ReasonSubnetsNotFound))

		sound := fleet.Region("sound").Spec.Subnets
		fleettest.Change(ctx, fleet, region, func(r *v1alpha1.Region) {
			r.Spec.Subnets = sound
			r.Spec.SecurityGroups = v1alpha1.ResourceSelector{Tags: []v1alpha1.Tag{{Key: "nobody", Value: ptr.To("has")}}}
		})
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.FailedStatus, v1alpha1.ReasonSecurityGroupsNotFound, metav1.ConditionFalse)))
		groups := fleet.Region("sound").Spec.SecurityGroups
		fleettest.Change(ctx, fleet, region, func(r *v1alpha1.Region) { r.Spec.SecurityGroups = groups })
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonNoChannel, metav1.ConditionTrue)))
	})

	DescribeTable("says what AWS answers, until it answers otherwise",
		func(ctx context.Context, awsRegion string, fault awsemu.Fault, want fleettest.Told) {
			region := fleet.Region(unique("refused"), func(r *v1alpha1.Region) { r.Spec.AWSRegion = awsRegion })
			fault.Region = awsRegion
			id, err := fleet.AWS.AddFault(fault)
			Expect(err).NotTo(HaveOccurred())
			fleet.Make(ctx, region)
			Eventually(isReady).WithContext(ctx).WithArguments(region).Should(Equal(want))
			Expect(fleet.AWS.RemoveFault(id)).To(BeTrue())
			Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
				Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonNoChannel, metav1.ConditionTrue)))
		},
		Entry("a missing permission", "eu-west-1",
			awsemu.Fault{Operation: "DescribeInstanceTypes", Phase: "before", Action: "error", Code: "UnauthorizedOperation", Message: "no", Status: 403},
			told(kstatus.FailedStatus, v1alpha1.ReasonUnauthorized, metav1.ConditionFalse)),
		Entry("throttling", "eu-west-2",
			awsemu.Fault{Operation: "DescribeClusters", Phase: "before", Action: "throttle"},
			told(kstatus.InProgressStatus, v1alpha1.ReasonThrottled, metav1.ConditionFalse)),
	)

	It("waits for its hosts when it is deleted", func(ctx context.Context) {
		region := fleet.Region(unique("leaving"))
		fleet.Make(ctx, region)
		release(ctx, region.Name)
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(3))
		held := fleet.Hosts(ctx, region.Name)[0]
		fleettest.Change(ctx, fleet, &held, func(i *v1alpha1.Instance) { i.Finalizers = []string{"test.mandelbox.dev/session"} })

		Expect(fleet.Delete(ctx, region)).To(Succeed())
		Eventually(hostCount(region.Name)).WithContext(ctx).Should(Equal(1))
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(
			Equal(told(kstatus.TerminatingStatus, v1alpha1.ReasonInUse, metav1.ConditionFalse)))

		fleettest.Change(ctx, fleet, &held, func(i *v1alpha1.Instance) { i.Finalizers = nil })
		Eventually(func(ctx context.Context) bool {
			return apierrors.IsNotFound(fleet.Get(ctx, client.ObjectKeyFromObject(region), region))
		}).WithContext(ctx).Should(BeTrue())
		Eventually(func() bool { _, open := fleet.Regions.Get(region.Name); return open }).Should(BeFalse())
	})

	It("mends what another manager wrote into its status by what it had not yet seen", func(ctx context.Context) {
		region := fleet.Region(unique("misled"))
		fleet.Make(ctx, region)
		release(ctx, region.Name)
		warm(ctx, region)
		status := region.DeepCopy()
		status.Status.Free = ptr.To[int32](99)
		for i := range status.Status.Conditions {
			if c := &status.Status.Conditions[i]; c.Type == v1alpha1.ConditionReady {
				c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonObserving
			}
		}
		Expect(fleet.Status().Patch(ctx, status, client.MergeFrom(region))).To(Succeed())
		Eventually(isReady).WithContext(ctx).WithArguments(region).Should(Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonReady, metav1.ConditionTrue)))
		Expect(region.Status.Free).NotTo(HaveValue(BeEquivalentTo(99)))
	})

	It("writes nothing when nothing changed", func(ctx context.Context) {
		region := fleet.Region(unique("idle"))
		fleet.Make(ctx, region)
		release(ctx, region.Name)
		warm(ctx, region)
		wake(ctx, region, "idle")
		version := region.ResourceVersion
		Consistently(func(ctx context.Context) string {
			Expect(fleet.Get(ctx, client.ObjectKeyFromObject(region), region)).To(Succeed())
			return region.ResourceVersion
		}).WithContext(ctx).WithTimeout(2 * time.Second).Should(Equal(version))
	})
})
