// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("The webhook of Mandelboxes", func() {
	Describe("on regions", func() {
		var hash string
		var on, off *v1alpha1.Region
		BeforeEach(func(ctx context.Context) {
			hash = uniqueHash()
			on, off = create(ctx, newRegion()), create(ctx, newRegion(disabled))
			create(ctx, newAMI(hash, on.Name, off.Name))
		})

		It("accepts an enabled one", func(ctx context.Context) {
			expectAdmitted(admit(ctx, newMandelbox(hash, on.Name)))
		})
		It("passes over a disabled one beside it", func(ctx context.Context) {
			expectAdmitted(admit(ctx, newMandelbox(hash, off.Name, on.Name)))
		})
		It("refuses if all exist and none is enabled, and names those that are", func(ctx context.Context) {
			expectRefused("spec.regions", v1alpha1.ReasonRegionNotEnabled, on.Name)(admit(ctx, newMandelbox(hash, off.Name)))
		})
		It("accepts a disabled one that falls back on an enabled one", func(ctx context.Context) {
			fallingBack := create(ctx, newRegion(disabled, fallingBackOn(on.Name)))
			expectAdmitted(admit(ctx, newMandelbox(hash, fallingBack.Name)))
		})
		It("refuses a disabled one that falls back on a disabled one", func(ctx context.Context) {
			fallingBack := create(ctx, newRegion(disabled, fallingBackOn(off.Name)))
			expectRefused("spec.regions", v1alpha1.ReasonRegionNotEnabled)(admit(ctx, newMandelbox(hash, fallingBack.Name)))
		})
		It("warns of an absent one", func(ctx context.Context) {
			expectWarned(`there is no Region "us-nowhere-1" yet`)(admit(ctx, newMandelbox(hash, on.Name, "us-nowhere-1")))
		})
		It("warns, and doesn't refuse, if an absent one might be enabled once it comes", func(ctx context.Context) {
			expectWarned(`there is no Region "us-nowhere-1" yet`)(admit(ctx, newMandelbox(hash, off.Name, "us-nowhere-1")))
		})
	})

	Describe("on releases", func() {
		var region, elsewhere *v1alpha1.Region
		BeforeEach(func(ctx context.Context) {
			elsewhere = create(ctx, newRegion())
			region = create(ctx, newRegion())
		})
		inChannel := func(name, region string) *v1alpha1.Mandelbox {
			mandelbox := newMandelbox("", region)
			mandelbox.Spec.AMIName = name
			return mandelbox
		}

		It("warns of a commit hash that no channel offers", func(ctx context.Context) {
			hash := uniqueHash()
			expectWarned("no AMI offers " + hash)(admit(ctx, newMandelbox(hash, region.Name)))
		})
		It("warns of a commit hash that is only offered elsewhere", func(ctx context.Context) {
			hash := uniqueHash()
			create(ctx, newAMI(hash, elsewhere.Name))
			expectWarned("no AMI offers " + hash)(admit(ctx, newMandelbox(hash, region.Name)))
		})
		It("accepts a commit hash that is offered where the region falls back on", func(ctx context.Context) {
			hash := uniqueHash()
			create(ctx, newAMI(hash, elsewhere.Name))
			fallingBack := create(ctx, newRegion(fallingBackOn(elsewhere.Name)))
			expectAdmitted(admit(ctx, newMandelbox(hash, fallingBack.Name)))
		})
		It("accepts a commit hash that a rollout has not replaced yet", func(ctx context.Context) {
			hash := uniqueHash()
			ami := create(ctx, newAMI(uniqueHash(), region.Name))
			ami.Status.Revisions = []v1alpha1.Revision{revision(v1alpha1.RevisionActive, hash, "r1", region.Name)}
			updateStatus(ctx, ami)
			expectAdmitted(admit(ctx, newMandelbox(hash, region.Name)))
		})
		It("warns of a channel that doesn't exist", func(ctx context.Context) {
			expectWarned(`there is no AMI "nowhere" yet`)(admit(ctx, inChannel("nowhere", region.Name)))
		})
		It("warns of a channel that isn't offered there", func(ctx context.Context) {
			ami := create(ctx, newAMI(uniqueHash(), elsewhere.Name))
			expectWarned("has no image in these regions yet")(admit(ctx, inChannel(ami.Name, region.Name)))
		})
		It("accepts a channel that is offered there", func(ctx context.Context) {
			ami := create(ctx, newAMI(uniqueHash(), region.Name))
			expectAdmitted(admit(ctx, inChannel(ami.Name, region.Name)))
		})
		It("refuses a developer's client and names the flag that allows it", func(ctx context.Context) {
			expectRefused("spec.clientCommitHash", "--allow-dev-clients")(admit(ctx, newMandelbox(v1alpha1.LocalDevCommitHash, region.Name)))
		})
		It("accepts a developer's client of a manager that allows it", func(ctx context.Context) {
			mandelbox := newMandelbox(v1alpha1.LocalDevCommitHash, region.Name)
			mandelbox.Namespace = devNamespace
			_, err := admit(ctx, mandelbox)
			Expect(err).NotTo(HaveOccurred())
		})
	})

	Describe("on the limit of a user", func() {
		var hash, region, user string
		BeforeEach(func(ctx context.Context) {
			hash, region, user = uniqueHash(), create(ctx, newRegion()).Name, uniqueName("user")
			create(ctx, newAMI(hash, region))
		})
		another := func(namespace string) *v1alpha1.Mandelbox {
			mandelbox := newMandelbox(hash, region)
			mandelbox.Namespace, mandelbox.Spec.UserID = namespace, user
			return mandelbox
		}
		hold := func(ctx context.Context, namespace string, count int) *v1alpha1.Mandelbox {
			GinkgoHelper()
			var last *v1alpha1.Mandelbox
			for range count {
				last = create(ctx, another(namespace))
			}
			return last
		}
		atLimit := expectRefused("spec.userID", v1alpha1.ReasonUserAlreadyActive)

		It("refuses one more than the manager allows", func(ctx context.Context) {
			hold(ctx, "default", 2)
			expectAdmitted(admit(ctx, another("default")))
			hold(ctx, "default", 1)
			atLimit(admit(ctx, another("default")))
		})
		It("refuses what it sees when ten come in one instant through two API servers, and no fewer than the limit", func(ctx context.Context) {
			config, err := plane.AddAPIServer(ctx)
			Expect(err).NotTo(HaveOccurred())
			second, err := client.New(config, client.Options{Scheme: scheme})
			Expect(err).NotTo(HaveOccurred())
			servers := []client.Client{api, second}
			answers := make(chan error, 10)
			for n := range cap(answers) {
				mandelbox := another("default")
				go func() { answers <- servers[n%2].Create(ctx, mandelbox) }()
				DeferCleanup(func(ctx context.Context) {
					Expect(client.IgnoreNotFound(api.Delete(ctx, mandelbox))).To(Succeed())
				})
			}
			admitted := 0
			for range cap(answers) {
				if err := <-answers; err != nil {
					atLimit(nil, err)
				} else {
					admitted++
				}
			}
			Expect(admitted).To(BeNumerically(">=", 3))
			for _, server := range servers {
				Eventually(func() error { return server.Create(ctx, another("default"), client.DryRunAll) }).
					WithTimeout(eventuallyTimeout).Should(MatchError(ContainSubstring(v1alpha1.ReasonUserAlreadyActive)))
			}
		})
		It("counts each user alone", func(ctx context.Context) {
			hold(ctx, "default", 3)
			expectAdmitted(admit(ctx, newMandelbox(hash, region)))
		})
		It("counts each namespace alone", func(ctx context.Context) {
			tenant := namespaceWithLimit(ctx, "1")
			hold(ctx, "default", 3)
			expectAdmitted(admit(ctx, another(tenant)))
			hold(ctx, tenant, 1)
			atLimit(admit(ctx, another(tenant)))
		})
		It("doesn't count a session that is over", func(ctx context.Context) {
			over := hold(ctx, "default", 3)
			over.Status.Phase = v1alpha1.MandelboxFinished
			updateStatus(ctx, over)
			expectAdmitted(admit(ctx, another("default")))
		})
		It("doesn't count a session that is being deleted", func(ctx context.Context) {
			hold(ctx, "default", 2)
			going := another("default")
			going.Finalizers = []string{v1alpha1.MandelboxFinalizer}
			create(ctx, going)
			Expect(api.Delete(ctx, going)).To(Succeed())
			DeferCleanup(func(ctx context.Context) {
				going.Finalizers = nil
				Expect(api.Update(ctx, going)).To(Succeed())
			})
			refresh(ctx, going)
			expectAdmitted(admit(ctx, another("default")))
		})
		It("allows any number where the namespace says 0", func(ctx context.Context) {
			tenant := namespaceWithLimit(ctx, "0")
			hold(ctx, tenant, 4)
			expectAdmitted(admit(ctx, another(tenant)))
		})
		It("allows more where the namespace says so", func(ctx context.Context) {
			tenant := namespaceWithLimit(ctx, "4")
			hold(ctx, tenant, 3)
			expectAdmitted(admit(ctx, another(tenant)))
		})
		DescribeTable("keeps to the manager's, with a warning, where the namespace's makes no sense", func(ctx context.Context, limit string) {
			tenant := namespaceWithLimit(ctx, limit)
			for range 3 {
				create(ctx, another(tenant))
			}
			all, err := admit(ctx, another(tenant))
			atLimit(all, err)
			Expect([]string(all)).To(ContainElement(ContainSubstring("the manager's limit of 3 holds")))
		},
			Entry("a word", "many"),
			Entry("a negative number", "-1"),
		)
	})
})
