// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami_test

import (
	"context"
	"fmt"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/fleettest"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

var counter int

// unique makes names that no other spec uses.
func unique(prefix string) string {
	counter++
	return fmt.Sprintf("%s-%d", prefix, counter)
}

// commit makes a commit hash that no other spec uses.
func commit() string {
	counter++
	return fmt.Sprintf("abcdef%04d", counter)
}

func rolledOut(ctx context.Context, ami *v1alpha1.AMI) fleettest.Told {
	return fleet.Tells(ctx, ami, &ami.Status.Conditions, v1alpha1.ConditionRolledOut)
}

func ready(ctx context.Context, ami *v1alpha1.AMI) fleettest.Told {
	return fleet.Tells(ctx, ami, &ami.Status.Conditions, v1alpha1.ConditionReady)
}

func told(health kstatus.Status, reason string, status metav1.ConditionStatus) fleettest.Told {
	return fleettest.Told{Health: health, Reason: reason, Status: string(status)}
}

// places makes Regions of the names.
func places(ctx context.Context, names ...string) {
	GinkgoHelper()
	for _, name := range names {
		fleet.Make(ctx, fleet.Region(name, func(r *v1alpha1.Region) {
			r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To[int32](8)
		}))
	}
}

// released makes a channel and boots hosts until it is rolled out and serves.
func released(ctx context.Context, ami *v1alpha1.AMI) {
	GinkgoHelper()
	fleet.Make(ctx, ami)
	booted(ctx, ami)
}

func booted(ctx context.Context, ami *v1alpha1.AMI) {
	GinkgoHelper()
	Eventually(func(g Gomega, ctx context.Context) {
		for _, image := range ami.Spec.Images {
			fleet.Boot(ctx, image.Region)
		}
		g.Expect(ready(ctx, ami)).To(Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonReady, metav1.ConditionTrue)))
		g.Expect(rolledOut(ctx, ami).Reason).To(Equal(v1alpha1.ReasonRolledOut))
	}).WithContext(ctx).Should(Succeed())
}

// hosts counts the hosts of a region by their revision.
func hosts(ctx context.Context, region string) map[string]int {
	counts := map[string]int{}
	for _, host := range fleet.Hosts(ctx, region) {
		counts[host.Spec.Revision]++
	}
	return counts
}

// activeRow is the row that a channel's active release has in a region.
func activeRow(ami *v1alpha1.AMI, region string) v1alpha1.RevisionRegion {
	GinkgoHelper()
	row := ami.ActiveRow(region)
	Expect(row).NotTo(BeNil())
	return *row
}

func states(ami *v1alpha1.AMI) []v1alpha1.RevisionState {
	var states []v1alpha1.RevisionState
	for _, revision := range ami.Status.Revisions {
		states = append(states, revision.State)
	}
	return states
}

var _ = Describe("An AMI", func() {
	It("activates its first release at once, and is ready when hosts serve it", func(ctx context.Context) {
		east, west := unique("east"), unique("west")
		places(ctx, east, west)
		ami := fleettest.Channel(unique("first"), commit(), east, fleettest.ImageA, west, fleettest.ImageB)
		fleet.Make(ctx, ami)
		By("not looking ready before anyone has looked at it")
		Expect(fleettest.Health(ami)).To(Equal(kstatus.InProgressStatus))

		By("being active before there are hosts, so that Mandelboxes wait for them")
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.InProgressStatus, v1alpha1.ReasonRolledOut, metav1.ConditionTrue)))
		Expect(ready(ctx, ami)).To(Equal(told(kstatus.InProgressStatus, v1alpha1.ReasonProgressing, metav1.ConditionFalse)))

		booted(ctx, ami)
		Expect(ami.Finalizers).To(ContainElement(v1alpha1.AMIFinalizer))
		Expect(states(ami)).To(Equal([]v1alpha1.RevisionState{v1alpha1.RevisionActive}))
		row := activeRow(ami, east)
		Expect(row.TaskDefinition).To(ContainSubstring(":task-definition/mandelbox-" + ami.Name + "-" + row.ID + ":"))
		Expect(row.ContainerName).To(Equal("mandelbox"))
		Expect(row.Resources).To(Equal(v1alpha1.TaskResources{CPU: ptr.To[int32](1024), MemoryMiB: ptr.To[int32](2048), GPUs: ptr.To[int32](0)}))
		Expect(row.Ports).To(HaveLen(1))
		Expect(ami.Status.Regions).To(HaveLen(2))
		Eventually(func(g Gomega, ctx context.Context) {
			g.Expect(fleet.Get(ctx, client.ObjectKeyFromObject(ami), ami)).To(Succeed())
			for _, region := range ami.Status.Regions {
				g.Expect(region.Active).To(HaveValue(BeTrue()))
				g.Expect(region.ProtectedFromScaleDown).To(HaveValue(BeFalse()))
				g.Expect(region.Hosts.Active).To(HaveValue(BeEquivalentTo(1)))
				g.Expect(region.Free).To(HaveValue(BeEquivalentTo(8)))
			}
		}).WithContext(ctx).Should(Succeed())
		Expect([]string{ami.Status.Regions[0].ImageID, ami.Status.Regions[1].ImageID}).To(Equal([]string{fleettest.ImageA, fleettest.ImageB}))
	})

	It("swaps all regions at once, when each has the new release's buffer", func(ctx context.Context) {
		east, west := unique("east"), unique("west")
		places(ctx, east, west)
		ami := fleettest.Channel(unique("swap"), commit(), east, fleettest.ImageA, west, fleettest.ImageA)
		released(ctx, ami)
		old := ami.DeepCopy()

		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) { a.Spec.ClientCommitHash = commit() })
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.InProgressStatus, v1alpha1.ReasonRollingOut, metav1.ConditionFalse)))
		Expect(ready(ctx, ami).Status).To(Equal("True"), "the old release serves on")
		Eventually(hosts).WithContext(ctx).WithArguments(east).Should(HaveLen(2))
		Eventually(hosts).WithContext(ctx).WithArguments(west).Should(HaveLen(2))

		By("waiting for the second region when the first is warm")
		fleet.Boot(ctx, east)
		Eventually(func(g Gomega, ctx context.Context) {
			g.Expect(fleet.Get(ctx, client.ObjectKeyFromObject(ami), ami)).To(Succeed())
			g.Expect(ami.Status.Regions[0].Hosts.Active).To(HaveValue(BeEquivalentTo(2)))
			g.Expect(ami.Status.Regions[0].Message).To(BeEmpty())
			g.Expect(ami.Status.Regions[1].Message).To(ContainSubstring("0 of 8 slots"))
			g.Expect(ami.Status.Regions[1].ProtectedFromScaleDown).To(HaveValue(BeTrue()))
		}).WithContext(ctx).Should(Succeed())
		Expect(ami.Status.ActiveRevision).To(Equal(old.Status.ActiveRevision))
		Expect(states(ami)).To(Equal([]v1alpha1.RevisionState{v1alpha1.RevisionActive, v1alpha1.RevisionWarming}))

		By("swapping when the second is warm, too")
		booted(ctx, ami)
		Expect(ami.Status.ActiveRevision).NotTo(Equal(old.Status.ActiveRevision))
		Expect(states(ami)).To(Equal([]v1alpha1.RevisionState{v1alpha1.RevisionRetiring, v1alpha1.RevisionActive}))
		for _, region := range []string{east, west} {
			Eventually(hosts).WithContext(ctx).WithArguments(region).Should(Equal(map[string]int{activeRow(ami, region).ID: 1}))
		}
	})

	It("leaves a region alone that the release does not change, and retires one that it leaves out", func(ctx context.Context) {
		same, changed, dropped := unique("same"), unique("changed"), unique("dropped")
		places(ctx, same, changed, dropped)
		ami := fleettest.Channel(unique("partial"), commit(),
			same, fleettest.ImageA, changed, fleettest.ImageA, dropped, fleettest.ImageA)
		released(ctx, ami)
		before, rows := fleet.Hosts(ctx, same), []string{activeRow(ami, same).ID, activeRow(ami, changed).ID}

		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) {
			a.Spec.Images[1].ImageID = fleettest.ImageB
			a.Spec.Images = a.Spec.Images[:2]
		})
		Eventually(hosts).WithContext(ctx).WithArguments(changed).Should(HaveLen(2))
		booted(ctx, ami)
		Expect(activeRow(ami, same).ID).To(Equal(rows[0]))
		Expect(activeRow(ami, changed).ID).NotTo(Equal(rows[1]))
		Expect(ami.ActiveRow(dropped)).To(BeNil())
		Eventually(hosts).WithContext(ctx).WithArguments(dropped).Should(BeEmpty())
		after := fleet.Hosts(ctx, same)
		Expect(after).To(HaveLen(1))
		Expect(after[0].UID).To(Equal(before[0].UID))
	})

	It("keeps the old release when the new one has no buffer in time, until the spec is reverted", func(ctx context.Context) {
		east := unique("east")
		places(ctx, east)
		ami := fleettest.Channel(unique("timeout"), commit(), east, fleettest.ImageA)
		ami.Spec.Rollout.BufferTimeout = &metav1.Duration{Duration: 5 * time.Second}
		released(ctx, ami)
		old := ami.DeepCopy()

		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) { a.Spec.Images[0].ImageID = fleettest.ImageB })
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.FailedStatus, v1alpha1.ReasonBufferTimeout, metav1.ConditionFalse)))
		failure := meta.FindStatusCondition(ami.Status.Conditions, v1alpha1.ConditionStalled)
		Expect(failure.Message).To(And(ContainSubstring("in "+east), ContainSubstring("0 of 8 slots")))
		Expect(ready(ctx, ami)).To(Equal(told(kstatus.FailedStatus, v1alpha1.ReasonReady, metav1.ConditionTrue)))
		Expect(states(ami)).To(Equal([]v1alpha1.RevisionState{v1alpha1.RevisionActive, v1alpha1.RevisionFailed}))
		Eventually(hosts).WithContext(ctx).WithArguments(east).Should(Equal(map[string]int{activeRow(old, east).ID: 1}))
		Expect(rolledOut(ctx, ami).Reason).To(Equal(v1alpha1.ReasonBufferTimeout))
		Expect(meta.FindStatusCondition(ami.Status.Conditions, v1alpha1.ConditionStalled).Message).To(Equal(failure.Message))

		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) { a.Spec.Images[0].ImageID = fleettest.ImageA })
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonRolledOut, metav1.ConditionTrue)))
		Expect(ami.Status.ActiveRevision).To(Equal(old.Status.ActiveRevision))

		By("trying the release again, with patience, when it is asked for again")
		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) {
			a.Spec.Images[0].ImageID = fleettest.ImageB
			a.Spec.Rollout.BufferTimeout = &metav1.Duration{Duration: time.Minute}
		})
		Eventually(hosts).WithContext(ctx).WithArguments(east).Should(HaveLen(2))
		booted(ctx, ami)
		Expect(activeRow(ami, east).ImageID).To(Equal(fleettest.ImageB))
	})

	It("stands still while it is suspended", func(ctx context.Context) {
		east := unique("east")
		places(ctx, east)
		ami := fleettest.Channel(unique("suspended"), commit(), east, fleettest.ImageA)
		released(ctx, ami)
		old := ami.Status.ActiveRevision
		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) {
			a.Spec.Suspend = ptr.To(true)
			a.Spec.ClientCommitHash = commit()
		})
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonSuspended, metav1.ConditionFalse)))
		Expect(ready(ctx, ami)).To(Equal(told(kstatus.CurrentStatus, v1alpha1.ReasonSuspended, metav1.ConditionTrue)))
		Expect(ami.Status.Revisions).To(HaveLen(1))

		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) { a.Spec.Suspend = nil })
		Eventually(hosts).WithContext(ctx).WithArguments(east).Should(HaveLen(2))
		booted(ctx, ami)
		Expect(ami.Status.ActiveRevision).NotTo(Equal(old))
	})

	It("answers a request to reconcile now", func(ctx context.Context) {
		ami := fleettest.Channel(unique("asked"), commit(), unique("nowhere"), fleettest.ImageA)
		fleet.Make(ctx, ami)
		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) {
			metav1.SetMetaDataAnnotation(&a.ObjectMeta, v1alpha1.AnnotationReconcileAt, "2026-11-25T12:00:00Z")
		})
		Eventually(func(g Gomega, ctx context.Context) {
			g.Expect(fleet.Get(ctx, client.ObjectKeyFromObject(ami), ami)).To(Succeed())
			g.Expect(ami.Status.LastHandledReconcileAt).To(Equal("2026-11-25T12:00:00Z"))
		}).WithContext(ctx).Should(Succeed())
	})

	It("waits for a region that does not exist yet", func(ctx context.Context) {
		late := unique("late")
		ami := fleettest.Channel(unique("early"), commit(), late, fleettest.ImageA)
		fleet.Make(ctx, ami)
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.InProgressStatus, v1alpha1.ReasonRollingOut, metav1.ConditionFalse)))
		Expect(ami.Status.Regions[0].Message).To(Equal("Region " + late + " does not exist"))
		places(ctx, late)
		booted(ctx, ami)
	})

	It("stalls on a commit hash that an older AMI has in the region, until that one goes", func(ctx context.Context) {
		east, hash := unique("east"), commit()
		places(ctx, east)
		// Creation times have seconds; among equals the name decides.
		owner := fleettest.Channel("a-"+unique("owner"), hash, east, fleettest.ImageA)
		released(ctx, owner)
		younger := fleettest.Channel("b-"+unique("younger"), hash, east, fleettest.ImageB)
		fleet.Make(ctx, younger)
		Eventually(rolledOut).WithContext(ctx).WithArguments(younger).Should(
			Equal(told(kstatus.FailedStatus, v1alpha1.ReasonCommitHashTaken, metav1.ConditionFalse)))
		Expect(meta.FindStatusCondition(younger.Status.Conditions, v1alpha1.ConditionStalled).Message).To(ContainSubstring(owner.Name))
		Expect(younger.Status.Revisions).To(BeEmpty())

		Expect(fleet.Delete(ctx, owner)).To(Succeed())
		booted(ctx, younger)
	})

	It("stalls on an image that EC2 does not know, until the spec is mended", func(ctx context.Context) {
		east := unique("east")
		places(ctx, east)
		ami := fleettest.Channel(unique("typo"), commit(), east, "ami-0123456789abcdef9")
		fleet.Make(ctx, ami)
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.FailedStatus, v1alpha1.ReasonImageNotFound, metav1.ConditionFalse)))
		Expect(meta.FindStatusCondition(ami.Status.Conditions, v1alpha1.ConditionStalled).Message).To(
			And(ContainSubstring("ami-0123456789abcdef9"), ContainSubstring(east)))
		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) { a.Spec.Images[0].ImageID = fleettest.ImageA })
		booted(ctx, ami)
	})

	It("says that it may not register task definitions, and goes on when it may", func(ctx context.Context) {
		far := unique("far")
		fleet.Make(ctx, fleet.Region(far, func(r *v1alpha1.Region) { r.Spec.AWSRegion = "eu-west-3" }))
		id, err := fleet.AWS.AddFault(awsemu.Fault{
			Operation: "RegisterTaskDefinition", Region: "eu-west-3",
			Phase: "before", Action: "error", Code: "AccessDeniedException", Message: "may not", Status: 400,
		})
		Expect(err).NotTo(HaveOccurred())
		ami := fleettest.Channel(unique("refused"), commit(), far, fleettest.ImageA)
		fleet.Make(ctx, ami)
		Eventually(rolledOut).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.FailedStatus, v1alpha1.ReasonUnauthorized, metav1.ConditionFalse)))
		Expect(ami.Status.Regions[0].Message).To(ContainSubstring("AccessDeniedException"))
		Expect(fleet.AWS.RemoveFault(id)).To(BeTrue())
		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) { metav1.SetMetaDataAnnotation(&a.ObjectMeta, "test/wake", "now") })
		booted(ctx, ami)
	})

	It("runs an existing task definition by its family and revision", func(ctx context.Context) {
		east := unique("east")
		places(ctx, east)
		registered, err := fleet.Owner(ctx, fleet.Region(east)).EnsureTaskDefinition(ctx, cloud.TaskDefinition{
			Family: "existing-" + east, ContainerName: "browser", Image: "registry.example/browser:1",
			Resources: cloud.Resources{CPU: 512, MemoryMiB: 256},
			Ports:     []cloud.Port{{ContainerPort: 9000, Protocol: "udp"}},
		})
		Expect(err).NotTo(HaveOccurred())
		ami := fleettest.Channel(unique("existing"), commit(), east, fleettest.ImageA)
		ami.Spec.Task = v1alpha1.TaskTemplate{FamilyRevision: "existing-" + east + ":1"}
		released(ctx, ami)
		row := activeRow(ami, east)
		Expect(row.TaskDefinition).To(Equal(registered.ARN))
		Expect(row.ContainerName).To(Equal("browser"))
		Expect(row.Resources.CPU).To(HaveValue(BeEquivalentTo(512)))
		Expect(row.Ports).To(Equal([]v1alpha1.TaskPort{{Name: "udp-9000", ContainerPort: 9000, Protocol: v1alpha1.ProtocolUDP}}))
	})

	It("waits for its hosts when it is deleted, and they for their sessions", func(ctx context.Context) {
		east := unique("east")
		places(ctx, east)
		ami := fleettest.Channel(unique("leaving"), commit(), east, fleettest.ImageA)
		released(ctx, ami)
		busy := fleet.Hosts(ctx, east)[0]
		fleet.Claim(ctx, busy.Name, 1)

		Expect(fleet.Delete(ctx, ami)).To(Succeed())
		Eventually(ready).WithContext(ctx).WithArguments(ami).Should(
			Equal(told(kstatus.TerminatingStatus, v1alpha1.ReasonInUse, metav1.ConditionFalse)))
		Eventually(func(ctx context.Context) bool {
			Expect(fleet.Get(ctx, client.ObjectKeyFromObject(&busy), &busy)).To(Succeed())
			return busy.Draining()
		}).WithContext(ctx).Should(BeTrue())
		fleet.Claim(ctx, busy.Name, 0)
		Eventually(func(ctx context.Context) bool {
			return apierrors.IsNotFound(fleet.Get(ctx, client.ObjectKeyFromObject(ami), ami))
		}).WithContext(ctx).Should(BeTrue())
	})

	It("mends what another manager wrote into its status by what it had not yet seen", func(ctx context.Context) {
		east := unique("east")
		places(ctx, east)
		ami := fleettest.Channel(unique("misled"), commit(), east, fleettest.ImageA)
		released(ctx, ami)
		status := ami.DeepCopy()
		status.Status.Progress = "not begun"
		Expect(fleet.Status().Patch(ctx, status, client.MergeFrom(ami))).To(Succeed())
		Eventually(func(ctx context.Context) (string, error) {
			err := fleet.Get(ctx, client.ObjectKeyFromObject(ami), ami)
			return ami.Status.Progress, err
		}).WithContext(ctx).ShouldNot(Equal("not begun"))
	})

	It("writes nothing when nothing changed", func(ctx context.Context) {
		east := unique("east")
		places(ctx, east)
		ami := fleettest.Channel(unique("idle"), commit(), east, fleettest.ImageA)
		released(ctx, ami)
		fleettest.Change(ctx, fleet, ami, func(a *v1alpha1.AMI) { metav1.SetMetaDataAnnotation(&a.ObjectMeta, "test/wake", "idle") })
		version := ami.ResourceVersion
		Consistently(func(ctx context.Context) string {
			Expect(fleet.Get(ctx, client.ObjectKeyFromObject(ami), ami)).To(Succeed())
			return ami.ResourceVersion
		}).WithContext(ctx).WithTimeout(2 * time.Second).Should(Equal(version))
	})
})
