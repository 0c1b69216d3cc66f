// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
)

// crds is the folder of the generated CRDs.
var crds = filepath.Join("..", "..", "config", "crd", "bases")

var (
	plane *controlplane.ControlPlane
	api   client.Client
)

func TestKinds(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	RunSpecs(t, "Kinds", suite, reporter)
}

var _ = BeforeSuite(func() {
	var err error
	plane, err = controlplane.Start(context.Background(), controlplane.Options{CRDPaths: []string{crds}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })

	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	api, err = client.New(plane.Config(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})

// refusals are the messages that some spec saw a refusal with.
var refusals = map[string]bool{}

// refused notes, while the specs are laid out, that one of them expects the message.
func refused(message string) string {
	refusals[message] = true
	return message
}

// create makes the object and deletes it when the spec is over.
func create(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(api.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx context.Context) {
		Expect(client.IgnoreNotFound(api.Delete(ctx, object))).To(Succeed())
	})
}

// expectAccepted sees that the API server would make the object, without making it.
func expectAccepted(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(api.Create(ctx, object, client.DryRunAll)).To(Succeed())
}

// expectRefused sees that the API server calls the object invalid, with the message.
func expectRefused(ctx context.Context, object client.Object, message string) {
	GinkgoHelper()
	expectInvalid(api.Create(ctx, object, client.DryRunAll), message)
}

func expectInvalid(err error, message string) {
	GinkgoHelper()
	Expect(err).To(MatchError(apierrors.IsInvalid, "is an Invalid error"))
	Expect(err).To(MatchError(ContainSubstring(message)))
}

// update is one change of an object that exists, and whether it may be made.
type update[T client.Object] struct {
	before, change func(T)
	refusal        string // Empty where the change is accepted.
}

// expectUpdate makes the object, changes it, and sees what becomes of that.
func expectUpdate[T client.Object](ctx context.Context, object T, u update[T]) {
	GinkgoHelper()
	if u.before != nil {
		u.before(object)
	}
	create(ctx, object)
	u.change(object)
	err := api.Update(ctx, object)
	if u.refusal == "" {
		Expect(err).NotTo(HaveOccurred())
		return
	}
	expectInvalid(err, u.refusal)
}

// names counts the objects of the suite.
var names int

// uniqueName gives every object of the suite a name of its own.
func uniqueName(prefix string) string {
	names++
	return fmt.Sprintf("%s-%d", prefix, names)
}
