// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// apply applies a manifest on the server's side in an owner's name.
func (w *world) apply(ctx context.Context, owner, manifest string) (*unstructured.Unstructured, error) {
	GinkgoHelper()
	raw, err := yaml.YAMLToJSON([]byte(manifest))
	Expect(err).NotTo(HaveOccurred())
	object := &unstructured.Unstructured{}
	Expect(json.Unmarshal(raw, &object.Object)).To(Succeed())
	err = w.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(owner))
	return object, err
}

// writersOfSpec are the field managers that own anything in the spec of an object.
func (w *world) writersOfSpec(ctx context.Context, o client.Object) []string {
	GinkgoHelper()
	Expect(w.Get(ctx, client.ObjectKeyFromObject(o), o)).To(Succeed())
	Expect(o.GetManagedFields()).NotTo(BeEmpty())
	var writers []string
	for _, entry := range o.GetManagedFields() {
		fields := map[string]any{}
		Expect(json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields)).To(Succeed())
		if _, owns := fields["f:spec"]; owns {
			writers = append(writers, entry.Manager)
		}
	}
	return writers
}

func (w *world) regionManifest(ctx context.Context, fields string) string {
	GinkgoHelper()
	r := w.region(ctx, "us-east-2") // Made to learn the network of the local AWS.
	Expect(w.Delete(ctx, r)).To(Succeed())
	Eventually(func() error { return w.Get(ctx, client.ObjectKeyFromObject(r), r.DeepCopy()) }).Should(
		MatchError(apierrors.IsNotFound, "is gone"), "what is applied is to be another object")
	subnets, err := json.Marshal(r.Spec.Subnets.IDs)
	Expect(err).NotTo(HaveOccurred())
	groups, err := json.Marshal(r.Spec.SecurityGroups.IDs)
	Expect(err).NotTo(HaveOccurred())
	return fmt.Sprintf(`
apiVersion: cloud.mandelbox.dev/v1alpha1
kind: Region
metadata: {name: us-east-2}
spec:
  instanceTypes: [g4dn.12xlarge]
  subnets: {ids: %s}
  securityGroups: {ids: %s}
  capacity: {%s}
`, subnets, groups, fields)
}

var _ = Describe("What people own", func() {
	const pipeline = "release-pipeline"

	It("is never written by the operator: of their specs it owns no field, through the life of a fleet and a release", func(ctx context.Context) {
		const person = "a-person" // By default the specs' own writes would bear the manager's name.
		w := newWorld()
		w.Client = client.WithFieldOwner(w.Client, person)
		region := w.region(ctx, near)
		channel := w.channel(ctx, "stable", []string{near})
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
		session := w.session(ctx, "one", []string{near})
		w.runs(ctx, session)
		w.release(ctx, channel.Name, anotherCommit)
		w.rolledOut(ctx, channel.Name, anotherCommit)
		for _, o := range []client.Object{region, channel, session} {
			Expect(w.writersOfSpec(ctx, o)).To(ConsistOf(person))
		}
		w.exit(near, session, 0)
		w.ends(ctx, session, v1alpha1.ReasonCompleted)
		Expect(w.writersOfSpec(ctx, session)).To(ConsistOf(person))
	})

	It("may have two owners, who apply different fields and don't get into each other's way", func(ctx context.Context) {
		w := newWorld()
		manifest := w.regionManifest(ctx, "maxInstances: 4, desiredFreeMandelboxes: 1")
		Eventually(func() error {
			_, err := w.apply(ctx, pipeline, manifest)
			return err
		}).Should(Succeed())
		const held = "apiVersion: cloud.mandelbox.dev/v1alpha1\nkind: Region\nmetadata: {name: us-east-2}\nspec: {suspend: true}\n"
		_, err := w.apply(ctx, "on-call", held)
		Expect(err).NotTo(HaveOccurred())

		By("keeping the other's field when an owner applies its own again")
		changed := strings.Replace(manifest, "maxInstances: 4", "maxInstances: 5", 1)
		_, err = w.apply(ctx, pipeline, changed)
		Expect(err).NotTo(HaveOccurred())
		var region v1alpha1.Region
		Expect(w.Get(ctx, client.ObjectKey{Name: "us-east-2"}, &region)).To(Succeed())
		Expect(region.Suspended()).To(BeTrue())
		Expect(region.Spec.Capacity.MaxInstances).To(HaveValue(BeEquivalentTo(5)))

		By("refusing an owner the field of another")
		_, err = w.apply(ctx, "on-call", "apiVersion: cloud.mandelbox.dev/v1alpha1\nkind: Region\nmetadata: {name: us-east-2}\nspec: {suspend: true, capacity: {maxInstances: 9}}\n")
		Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)

		By("taking a field away when its owner applies without it")
		_, err = w.apply(ctx, "on-call", "apiVersion: cloud.mandelbox.dev/v1alpha1\nkind: Region\nmetadata: {name: us-east-2}\n")
		Expect(err).NotTo(HaveOccurred())
		Expect(w.Get(ctx, client.ObjectKey{Name: "us-east-2"}, &region)).To(Succeed())
		Expect(region.Spec.Suspend).To(BeNil())
		Expect(w.writersOfSpec(ctx, &region)).To(ConsistOf(pipeline))
	})

	It("may have an image for each region from another owner", func(ctx context.Context) {
		w := newWorld()
		const channel = `
apiVersion: cloud.mandelbox.dev/v1alpha1
kind: AMI
metadata: {name: stable}
spec:
  clientCommitHash: ` + commit + `
  task: {image: "registry.example.com/mandelbox:1", cpu: 4096, memoryMiB: 8192}
  images: [{region: us-east-1, imageID: ` + awsemu.DefaultImageID + `}]
`
		_, err := w.apply(ctx, pipeline, channel)
		Expect(err).NotTo(HaveOccurred())
		_, err = w.apply(ctx, "europe", `
apiVersion: cloud.mandelbox.dev/v1alpha1
kind: AMI
metadata: {name: stable}
spec:
  images: [{region: eu-west-1, imageID: `+awsemu.DefaultImageID+`}]
`)
		Expect(err).NotTo(HaveOccurred())
		_, err = w.apply(ctx, pipeline, channel)
		Expect(err).NotTo(HaveOccurred())
		Expect(w.channelNow(ctx, "stable").Spec.Images).To(HaveLen(2))
	})
})

var _ = Describe("A Region that is suspended", func() {
	It("still takes sessions where slots are free, and lets them end", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: near}}
		w.merge(ctx, region, `{"spec":{"suspend":true}}`)
		session := w.session(ctx, "one", []string{near})
		w.runs(ctx, session)
		w.exit(near, session, 0)
		w.ends(ctx, session, v1alpha1.ReasonCompleted)
		Eventually(w.claims(ctx)).Should(BeZero())
	})
})

var _ = Describe("A Region that is asked to reconcile now", func() {
	It("looks anew at its network in AWS, once, and says which request it answered", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		before := w.calls("DescribeSubnets")
		now := time.Now().UTC().Format(time.RFC3339)
		out, err := kubectl(ctx, "annotate", "region", near, "--overwrite", v1alpha1.AnnotationReconcileAt+"="+now)
		Expect(err).NotTo(HaveOccurred(), out)
		region := &v1alpha1.Region{}
		Eventually(func() (string, error) {
			err := w.Get(ctx, client.ObjectKey{Name: near}, region)
			return region.Status.LastHandledReconcileAt, err
		}).Should(Equal(now))
		Eventually(func() int { return w.calls("DescribeSubnets") }).Should(BeNumerically(">", before))
		after := w.calls("DescribeSubnets")
		Consistently(func() int { return w.calls("DescribeSubnets") }, "1s", "100ms").Should(BeNumerically("<=", after+1))
	})
})
