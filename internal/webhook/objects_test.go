// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	eventuallyTimeout = 30 * time.Second
	anImage           = "ami-0123456789abcdef0"
	anotherImage      = "ami-0fedcba9876543210"
)

// numbers counts what the suite has named. Specs share one API server and all of
// its Regions and AMIs, so each has names and commit hashes of its own.
var numbers int

func uniqueName(prefix string) string {
	numbers++
	return fmt.Sprintf("%s-%d", prefix, numbers)
}

func uniqueHash() string {
	numbers++
	return fmt.Sprintf("%040x", numbers)
}

func newRegion(changes ...func(*v1alpha1.Region)) *v1alpha1.Region {
	region := &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("us-test")},
		Spec: v1alpha1.RegionSpec{
			Subnets:        v1alpha1.ResourceSelector{IDs: []string{"subnet-1"}},
			SecurityGroups: v1alpha1.ResourceSelector{IDs: []string{"sg-1"}},
			InstanceTypes:  []string{"g4dn.xlarge"},
			Capacity:       v1alpha1.Capacity{MaxInstances: ptr.To[int32](10)},
		},
	}
	for _, change := range changes {
		change(region)
	}
	return region
}

func disabled(region *v1alpha1.Region) { region.Spec.Enabled = ptr.To(false) }

func fallingBackOn(names ...string) func(*v1alpha1.Region) {
	return func(region *v1alpha1.Region) { region.Spec.FallbackRegions = names }
}

// newAMI is a channel that offers the hash in the regions.
func newAMI(hash string, regions ...string) *v1alpha1.AMI {
	ami := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("channel")},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: hash,
			Task:             v1alpha1.TaskTemplate{Image: "registry.example.com/browser:1", CPU: 4096, MemoryMiB: 8192},
		},
	}
	for _, region := range regions {
		ami.Spec.Images = append(ami.Spec.Images, v1alpha1.RegionImage{Region: region, ImageID: anImage})
	}
	return ami
}

// revision is a release of the hash, in that state, with a row named by the id in each region.
func revision(state v1alpha1.RevisionState, hash, id string, regions ...string) v1alpha1.Revision {
	release := v1alpha1.Revision{Name: "release-" + id, ClientCommitHash: hash, State: state}
	for _, region := range regions {
		release.Regions = append(release.Regions, v1alpha1.RevisionRegion{Region: region, ID: id, ImageID: anImage})
	}
	return release
}

func newInstance(region, ami, revision, hash string) *v1alpha1.Instance {
	return &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("host")},
		Spec: v1alpha1.InstanceSpec{
			RegionName: region, AMIName: ami, Revision: revision,
			ImageID: anImage, ClientCommitHash: hash, InstanceTypes: []string{"g4dn.xlarge"},
		},
	}
}

// newMandelbox asks for the hash in the regions, for a user who has no other.
func newMandelbox(hash string, regions ...string) *v1alpha1.Mandelbox {
	return &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: uniqueName("session")},
		Spec: v1alpha1.MandelboxSpec{
			UserID: uniqueName("user"), SessionID: "session", Regions: regions, ClientCommitHash: hash,
		},
	}
}

// create makes the object and deletes it when the spec is over. It returns when
// the webhooks' caches have it.
func create[T client.Object](ctx context.Context, object T) T {
	GinkgoHelper()
	Expect(api.Create(ctx, object)).To(Succeed())
	DeferCleanup(remove, object)
	awaitSeen(ctx, object)
	return object
}

// remove deletes the object, which no controller here lets go.
func remove(ctx context.Context, object client.Object) {
	GinkgoHelper()
	noFinalizers := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	Expect(client.IgnoreNotFound(api.Patch(ctx, object, noFinalizers))).To(Succeed())
	Expect(client.IgnoreNotFound(api.Delete(ctx, object))).To(Succeed())
}

// updateStatus writes the object's status, and returns when the webhooks' caches have it.
func updateStatus(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(api.Status().Update(ctx, object)).To(Succeed())
	awaitSeen(ctx, object)
}

func awaitSeen(ctx context.Context, object client.Object) {
	GinkgoHelper()
	seen := object.DeepCopyObject().(client.Object)
	Eventually(func(g Gomega) {
		// What has no namespace is asked of both.
		for _, asked := range []*server{production, development} {
			g.Expect(asked.GetClient().Get(ctx, client.ObjectKeyFromObject(object), seen)).To(Succeed())
			g.Expect(seen.GetResourceVersion()).To(Equal(object.GetResourceVersion()))
		}
	}).WithTimeout(eventuallyTimeout).WithPolling(5 * time.Millisecond).Should(Succeed())
}

// refresh reads the object anew, and returns when the webhooks' caches have it so.
func refresh(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(api.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	awaitSeen(ctx, object)
}

// namespaceWithLimit makes a namespace that has its own limit of Mandelboxes per user.
func namespaceWithLimit(ctx context.Context, limit string) string {
	GinkgoHelper()
	return create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: uniqueName("tenant"), Annotations: map[string]string{v1alpha1.AnnotationMandelboxesPerUser: limit},
	}}).Name
}

// warnings of one request.
type warnings []string

type warningsKey struct{}

// recordWarnings puts the API server's warnings into the context of the request.
type recordWarnings struct{}

func (recordWarnings) HandleWarningHeaderWithContext(ctx context.Context, _ int, _, text string) {
	if all, ok := ctx.Value(warningsKey{}).(*warnings); ok {
		*all = append(*all, text)
	}
}

// recording returns a context whose requests leave their warnings behind.
func recording(ctx context.Context) (context.Context, *warnings) {
	all := &warnings{}
	return context.WithValue(ctx, warningsKey{}, all), all
}

// admit asks whether the object could be made, and returns the warnings, without making it.
func admit(ctx context.Context, object client.Object) (warnings, error) {
	ctx, all := recording(ctx)
	err := api.Create(ctx, object, client.DryRunAll)
	return *all, err
}

// admitUpdate asks the same of a change.
func admitUpdate(ctx context.Context, object client.Object) (warnings, error) {
	ctx, all := recording(ctx)
	err := api.Update(ctx, object, client.DryRunAll)
	return *all, err
}

func expectAdmitted(all warnings, err error) {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
	Expect(all).To(BeEmpty())
}

func expectWarned(text ...string) func(warnings, error) {
	return func(all warnings, err error) {
		GinkgoHelper()
		Expect(err).NotTo(HaveOccurred())
		var matchers []any
		for _, t := range text {
			matchers = append(matchers, ContainSubstring(t))
		}
		Expect([]string(all)).To(ConsistOf(matchers...))
	}
}

// expectRefused sees the field and every text in the refusal.
func expectRefused(path string, text ...string) func(warnings, error) {
	return func(_ warnings, err error) {
		GinkgoHelper()
		Expect(err).To(MatchError(apierrors.IsInvalid, "is an Invalid error"))
		var status apierrors.APIStatus
		Expect(errors.As(err, &status)).To(BeTrue())
		Expect(status.Status().Details.Causes).To(ContainElement(HaveField("Field", path)))
		for _, t := range text {
			Expect(err).To(MatchError(ContainSubstring(t)))
		}
	}
}
