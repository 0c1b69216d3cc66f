// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// A second configuration sends what carries a label to a port where nobody
// listens: for these objects the managers are down.
var _ = Describe("While no manager can be reached", func() {
	const failure = "failed calling webhook"
	var label map[string]string
	var region *v1alpha1.Region
	var ami *v1alpha1.AMI
	var instance *v1alpha1.Instance
	var mandelbox *v1alpha1.Mandelbox

	BeforeEach(func(ctx context.Context) {
		label = map[string]string{"outage": uniqueName("outage")}
		hash := uniqueHash()
		region = create(ctx, labelled(newRegion(), label))
		ami = create(ctx, labelled(newAMI(hash, region.Name), label))
		instance = create(ctx, labelled(newInstance(region.Name, ami.Name, "row-1", hash), label))
		mandelbox = create(ctx, labelled(newMandelbox(hash, region.Name), label))

		validating, mutating := webhook.LocalConfigurations("localhost", freePort())
		validating.Name, mutating.Name = label["outage"], label["outage"]
		for i := range validating.Webhooks {
			validating.Webhooks[i].ObjectSelector = &metav1.LabelSelector{MatchLabels: label}
		}
		mutating.Webhooks[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: label}
		for _, down := range []client.Object{mutating, validating} {
			Expect(api.Create(ctx, down)).To(Succeed())
			DeferCleanup(func(ctx context.Context) { Expect(api.Delete(ctx, down)).To(Succeed()) })
		}
		Eventually(func() error {
			return api.Create(ctx, labelled(newRegion(), label), client.DryRunAll)
		}).WithTimeout(eventuallyTimeout).Should(MatchError(ContainSubstring(failure)))
	})
	all := func() map[string]client.Object {
		return map[string]client.Object{"Region": region, "AMI": ami, "Instance": instance, "Mandelbox": mandelbox}
	}

	It("finalizers and labels come and go", func(ctx context.Context) {
		for kind, object := range all() {
			controllerutil.AddFinalizer(object, "example.com/test")
			Expect(api.Update(ctx, object)).To(Succeed(), kind)
			controllerutil.RemoveFinalizer(object, "example.com/test")
			object.SetAnnotations(map[string]string{"example.com/note": "changed"})
			Expect(api.Update(ctx, object)).To(Succeed(), kind)
		}
	})
	It("finalizers come by a patch, however a person writes a time", func(ctx context.Context) {
		// Go writes what a person calls "5m" as "5m0s", so that an update, unlike a
		// patch, may change what it didn't mean to.
		region := create(ctx, newRegion())
		written := []byte(`{"spec":{"hostTimeouts":{"preConnection":"5m"}}}`)
		Expect(api.Patch(ctx, region, client.RawPatch(types.MergePatchType, written))).To(Succeed())
		before := region.DeepCopy()
		Expect(api.Patch(ctx, labelled(region, label), client.MergeFrom(before))).To(Succeed())

		objects := all()
		objects["Region with 5m"] = region
		for kind, object := range objects {
			before := object.DeepCopyObject().(client.Object)
			controllerutil.AddFinalizer(object, "example.com/test")
			Expect(api.Patch(ctx, object, client.MergeFrom(before))).To(Succeed(), kind)
			before = object.DeepCopyObject().(client.Object)
			controllerutil.RemoveFinalizer(object, "example.com/test")
			Expect(api.Patch(ctx, object, client.MergeFrom(before))).To(Succeed(), kind)
		}
	})
	It("status is written", func(ctx context.Context) {
		region.Status.Free, ami.Status.ActiveRevision = ptr.To[int32](1), "release-1"
		instance.Status.Phase, mandelbox.Status.Phase = v1alpha1.InstanceActive, v1alpha1.MandelboxRunning
		for kind, object := range all() {
			Expect(api.Status().Update(ctx, object)).To(Succeed(), kind)
		}
	})
	It("everything can be deleted, in order", func(ctx context.Context) {
		for kind, object := range all() {
			controllerutil.AddFinalizer(object, "example.com/test")
			Expect(api.Update(ctx, object)).To(Succeed(), kind)
			Expect(api.Delete(ctx, object)).To(Succeed(), kind)
			Expect(api.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed(), kind)
			object.SetFinalizers(nil)
			Expect(api.Update(ctx, object)).To(Succeed(), kind)
			Expect(api.Get(ctx, client.ObjectKeyFromObject(object), object)).To(MatchError(ContainSubstring("not found")), kind)
		}
	})
	It("what is being deleted can still be changed", func(ctx context.Context) {
		controllerutil.AddFinalizer(region, "example.com/test")
		Expect(api.Update(ctx, region)).To(Succeed())
		Expect(api.Delete(ctx, region)).To(Succeed())
		Expect(api.Get(ctx, client.ObjectKeyFromObject(region), region)).To(Succeed())
		region.Spec.Enabled = ptr.To(false)
		Expect(api.Update(ctx, region)).To(Succeed())
		controllerutil.RemoveFinalizer(region, "example.com/test")
		Expect(api.Update(ctx, region)).To(Succeed())
	})
	It("hosts are made and drained, and sessions keep their lifetime fields", func(ctx context.Context) {
		Expect(api.Create(ctx, labelled(newInstance(region.Name, ami.Name, "row-1", uniqueHash()), label), client.DryRunAll)).To(Succeed())
		instance.Spec.Drain = ptr.To(true)
		Expect(api.Update(ctx, instance)).To(Succeed())
		mandelbox.Spec.MaxSessionDuration = &metav1.Duration{Duration: eventuallyTimeout}
		Expect(api.Update(ctx, mandelbox)).To(Succeed())
	})
	It("what must be checked is refused", func(ctx context.Context) {
		Expect(api.Create(ctx, labelled(newMandelbox(uniqueHash(), region.Name), label))).To(MatchError(ContainSubstring(failure)))
		Expect(api.Create(ctx, labelled(newAMI(uniqueHash(), region.Name), label))).To(MatchError(ContainSubstring(failure)))
		region.Spec.Enabled = ptr.To(false)
		Expect(api.Update(ctx, region)).To(MatchError(ContainSubstring(failure)))
		ami.Spec.Suspend = ptr.To(true)
		Expect(api.Update(ctx, ami)).To(MatchError(ContainSubstring(failure)))
	})
})

func labelled[T client.Object](object T, labels map[string]string) T {
	object.SetLabels(labels)
	return object
}
