// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"bytes"
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/view/viewtest"
)

var (
	plane *controlplane.ControlPlane
	api   client.Client
)

func TestKubectl(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	RunSpecs(t, "The kubectl plugin", suite, reporter)
}

// The suite has one fleet, which no manager looks at: two regions, of which one is
// stalled, a channel that is being rolled out, and in us-east-1 a host that is
// full and one of the old release.
var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	plane, err = controlplane.Start(context.Background(), controlplane.Options{
		CRDPaths: []string{filepath.Join("..", "..", "..", "config", "crd", "bases")},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })
	api, err = client.New(plane.Config(), client.Options{Scheme: newScheme()})
	Expect(err).NotTo(HaveOccurred())

	for _, team := range []string{"team-a", "team-b"} {
		Expect(api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}})).To(Succeed())
	}
	west := viewtest.Region("us-west-2")
	west.Status.Conditions = append(west.Status.Conditions,
		viewtest.Condition(v1alpha1.ConditionStalled, true, v1alpha1.ReasonUnauthorized, "not allowed: ec2:RunInstances"))
	channel := viewtest.RollingOut(viewtest.AMI("stable", "us-east-1"))
	channel.Spec.Task.Env = []v1alpha1.EnvVar{{Name: "TOKEN", Value: ptr.To(canary)}}
	channel.Spec.Task.HealthCheck = &v1alpha1.TaskHealthCheck{Command: []string{"CMD", canary}}
	channel.Spec.Task.Logging = &v1alpha1.TaskLogging{Driver: "splunk", Options: []v1alpha1.LogOption{{Name: "splunk-token", Value: canary}}}
	channel.Spec.Warmup = &v1alpha1.Warmup{Command: []string{canary}}
	west.Spec.UserData = "export TOKEN=" + canary
	for _, applied := range []client.Object{channel, west} {
		applied.SetAnnotations(map[string]string{corev1.LastAppliedConfigAnnotation: canary})
	}
	ada, alan := viewtest.Session("team-a", "ada", "stable", "us-east-1"), viewtest.Session("team-b", "alan", "stable", "us-east-1", "us-west-2")
	ada.Spec.Env = []v1alpha1.EnvVar{{Name: "PASSWORD", Value: ptr.To(canary)}}
	Expect(viewtest.Put(ctx, api, viewtest.Region("us-east-1"), west, channel, ada, alan)).To(Succeed())

	full := viewtest.Host("east-full", "us-east-1", "stable", 1)
	full.Spec.Revision, full.Spec.ClientCommitHash = "old", viewtest.OldHash
	viewtest.Seat(full, 0, ada)
	Expect(viewtest.Put(ctx, api, full, viewtest.Host("east-warm", "us-east-1", "stable", 4))).To(Succeed())
	Expect(api.Status().Update(ctx, ada)).To(Succeed())
})

// canary is a secret that must show up nowhere.
const canary = "canary-b53c1e"

// run runs the plugin as the administrator and returns what it printed.
func run(ctx context.Context, args ...string) (string, error) {
	out, _, err := runAs(ctx, plane.KubeconfigPath(), args...)
	return out, err
}

func runAs(ctx context.Context, kubeconfig string, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	command := New("kubectl-mandelbox", "v0.0.0-test")
	// The word to complete is the last.
	command.SetArgs(slices.Insert(args, 1, "--kubeconfig", kubeconfig))
	command.SetOut(&out)
	command.SetErr(&errs)
	err = command.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

var (
	ages   = regexp.MustCompile(`\b(\d+[dhms])+\b`)
	spaces = regexp.MustCompile(` +`)
)

// plain is an output with its columns close together and "AGE" for each age.
func plain(output string) string {
	return spaces.ReplaceAllString(ages.ReplaceAllString(strings.TrimSpace(output), "AGE"), " ")
}
