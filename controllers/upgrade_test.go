// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/schema"
)

// previous is the version before this one, whose CRDs, objects and calls to AWS are in
// testdata.
const previous = "v0.1.0"

// previousVariable is the environment variable that names the manager of the version
// before, which these specs then run where they go by what was recorded of it
// otherwise, and record anew; `make record-upgrade` sets it.
const previousVariable = "MANDELBOX_PREVIOUS"

var _ = Describe("An upgrade from "+previous+", and back", func() {
	It("relaunches no host, loses no session and changes nothing that the version before wrote", func(ctx context.Context) {
		w, r := newPreviousWorld(ctx)
		before := w.book(ctx)
		Expect(before).To(HaveLen(r.objects))
		calls := w.mutations()

		By("refusing to run on the CRDs of the version before")
		w.binary = ""
		_, err := controllers.NewManager(ctx, w.plane.Config(), controllers.Options{
			ClusterID: clusterID, Cloud: w.provider(), MetricsAddress: "0", ProbeAddress: "0",
		})
		_, isOutdated := errors.AsType[*schema.OutdatedError](err)
		Expect(isOutdated).To(BeTrue(), fmt.Sprint(err))

		By("taking the new CRDs, which a manager of the version before accepts")
		w.installCRDs(ctx, current())
		Expect(schema.Check(ctx, w.Client, recordedCRDs())).To(Succeed())
		w.keeps(ctx, before)

		By("going on with the new manager")
		w.startManager()
		w.worksOn(ctx, "upgraded")
		w.keeps(ctx, before)
		Expect(w.mutations()).To(Equal(with(calls, "RunTask", 1)))

		By("going back: the manager first, then the CRDs")
		w.stopManager()
		w.installCRDs(ctx, recordedCRDs())
		w.keeps(ctx, before)
		r.startPrevious(w)
		r.worksOn(ctx, w, "back")
		w.keeps(ctx, before)
		w.stopManager()
		Expect(w.mutations()).To(Equal(with(calls, "RunTask", 1+r.startedBack)))

		By("and forth again")
		w.binary = ""
		w.installCRDs(ctx, current())
		w.startManager()
		w.worksOn(ctx, "again")
		w.keeps(ctx, before)
		Expect(w.mutations()).To(Equal(with(calls, "RunTask", 2+r.startedBack)))

		By("ending what the version before began: its old hosts leave with their last sessions")
		r.endOldSessions(ctx, w)
		Eventually(w.hosts(ctx, v1alpha1.InstanceDraining)).Should(BeEmpty())
		Eventually(w.hosts(ctx, "")).Should(HaveEach(HaveField("Spec.ClientCommitHash", anotherCommit)))
		active, err := w.hosts(ctx, v1alpha1.InstanceActive)()
		Expect(err).NotTo(HaveOccurred())
		Expect(active).To(HaveLen(1))
		Expect(w.hostIDs(ctx)).To(ConsistOf(active[0].Status.InstanceID))
		Expect(w.mutations()).To(HaveKeyWithValue("RunInstances", calls["RunInstances"]))
	})
})

// newPreviousWorld makes a world on a control plane of its own with the CRDs of the
// version before, in which its manager left a fleet with sessions: recorded, or made by
// the manager itself.
func newPreviousWorld(ctx context.Context) (*world, *recording) {
	GinkgoHelper()
	own, err := controlplane.Start(context.Background(), controlplane.Options{CRDs: recordedCRDs()})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(own.Stop()).To(Succeed()) })
	r := &recording{binary: os.Getenv(previousVariable)}
	w := newWorld(func(w *world) {
		w.plane, w.unmanaged, w.binary = own, true, r.binary
		if r.binary != "" {
			// That manager has the policy of its time; this version's is for this version's.
			w.front, w.role = r.keep, nil
		}
	})
	w.namespace = "tenant"
	Expect(w.Create(ctx, namespaceNamed(w.namespace))).To(Succeed())
	if r.binary == "" {
		r.play(ctx, w)
	} else {
		r.record(ctx, w)
	}
	return w, r
}

// current are the CRDs of this version.
func current() []apiextensionsv1.CustomResourceDefinition {
	GinkgoHelper()
	definitions, err := crd.Definitions()
	Expect(err).NotTo(HaveOccurred())
	return definitions
}

// recordedCRDs are those of the version before.
func recordedCRDs() []apiextensionsv1.CustomResourceDefinition {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join("testdata", previous, "crds", "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	Expect(files).To(HaveLen(4))
	definitions := make([]apiextensionsv1.CustomResourceDefinition, len(files))
	for i, file := range files {
		raw, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(yaml.UnmarshalStrict(raw, &definitions[i])).To(Succeed())
	}
	return definitions
}

// installCRDs puts CRDs in the place of those that there are, and goes on watching the
// claims.
func (w *world) installCRDs(ctx context.Context, definitions []apiextensionsv1.CustomResourceDefinition) {
	GinkgoHelper()
	var wanted []*apiextensionsv1.CustomResourceDefinition
	for i := range definitions {
		wanted = append(wanted, &definitions[i])
	}
	_, err := envtest.InstallCRDs(w.plane.Config(), envtest.CRDInstallOptions{CRDs: wanted})
	Expect(err).NotTo(HaveOccurred())
	// The change of a CRD ends the watches of its kind.
	w.watchClaims(ctx)
}

// worksOn waits until a manager has answered to each Region and AMI, and has a new
// session run: whatever it would do to what it found, it has then had occasion to.
func (w *world) worksOn(ctx context.Context, name string) {
	GinkgoHelper()
	annotation := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationReconcileAt, name)
	w.merge(ctx, w.regionNow(ctx, home), annotation)
	w.merge(ctx, w.channelNow(ctx, "stable"), annotation)
	w.runs(ctx, w.session(ctx, name, []string{home}, ofRelease(anotherCommit)))
	Eventually(func(g Gomega) {
		g.Expect(w.regionNow(ctx, home).Status.LastHandledReconcileAt).To(Equal(name))
		g.Expect(w.channelNow(ctx, "stable").Status.LastHandledReconcileAt).To(Equal(name))
	}).Should(Succeed())
	Consistently(w.mutations, 2*listInterval).Should(Equal(w.mutations()))
}

func ofRelease(hash string) func(*v1alpha1.Mandelbox) {
	return func(m *v1alpha1.Mandelbox) { m.Spec.ClientCommitHash = hash }
}

// mutating are the operations that make, change or end something in AWS.
var mutating = []string{
	"CreateCluster", "RegisterTaskDefinition", "RunInstances", "TerminateInstances", "RunTask", "StopTask",
	"DeregisterContainerInstance", "UpdateContainerInstancesState", "CreateTags",
}

// mutations counts the calls that AWS got for them.
func (w *world) mutations() map[string]int {
	counts := map[string]int{}
	for _, operation := range mutating {
		counts[operation] = w.calls(operation)
	}
	return counts
}

// with are the counts with some more of one operation.
func with(counts map[string]int, operation string, more int) map[string]int {
	sum := map[string]int{}
	for name, count := range counts {
		sum[name] = count
	}
	sum[operation] += more
	return sum
}

// keeps sees that all that was in the book before is in it now, as it was.
func (w *world) keeps(ctx context.Context, before map[string]string) {
	GinkgoHelper()
	now := w.book(ctx)
	for name := range now {
		if _, was := before[name]; !was {
			delete(now, name)
		}
	}
	Expect(cmp.Diff(before, now)).To(BeEmpty())
}

// book is what the objects say of what runs, and what the next manager goes by, by kind
// and name.
func (w *world) book(ctx context.Context) map[string]string {
	GinkgoHelper()
	book := map[string]string{}
	for _, list := range []client.ObjectList{
		&v1alpha1.RegionList{}, &v1alpha1.AMIList{}, &v1alpha1.InstanceList{}, &v1alpha1.MandelboxList{},
	} {
		Expect(w.List(ctx, list)).To(Succeed())
		for _, o := range itemsOf(list) {
			book[fmt.Sprintf("%T %s", o, o.GetName())] = entry(o)
		}
	}
	return book
}

// entry is what an object says of what runs, and what the next manager goes by.
func entry(o client.Object) string {
	GinkgoHelper()
	var said any
	switch o := o.(type) {
	case *v1alpha1.Region:
		// Not status.launches: they go by a hash over subnets, which have other names in each local AWS.
		said = []any{o.Spec, o.Finalizers, o.Status.Decision, o.Status.ECSClusterARN}
	case *v1alpha1.AMI:
		said = []any{o.Spec, o.Finalizers, o.Status.ActiveRevision, o.Status.Revisions}
	case *v1alpha1.Instance:
		st := o.Status
		said = []any{
			o.Spec, o.Finalizers, o.Labels, st.Phase, st.Launch, st.InstanceID, st.InstanceType, st.SubnetID, st.ContainerInstanceARN,
			st.PrivateIP, st.Capacity, st.PlannedCapacity, st.LaunchedTime, st.ActiveTime, claimsBefore(st.Claims),
		}
	case *v1alpha1.Mandelbox:
		said = []any{o.Spec, o.Finalizers, o.Status}
	}
	raw, err := json.Marshal(said)
	Expect(err).NotTo(HaveOccurred())
	return string(raw)
}

// claimsBefore are the claims of the sessions that the version before had started, in
// the order of their slots.
func claimsBefore(claims []v1alpha1.Claim) []v1alpha1.Claim {
	var before []v1alpha1.Claim
	for _, claim := range claims {
		if slices.Contains(append(slices.Clone(oldSessions), newSessions...), claim.Name) {
			before = append(before, claim)
		}
	}
	slices.SortFunc(before, func(a, b v1alpha1.Claim) int { return int(a.Slot - b.Slot) })
	return before
}
