// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gitops_test

import (
	"os"
	"path/filepath"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/cel-go/cel"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// healthCheck is an entry of a Flux Kustomization's spec.healthCheckExprs.
type healthCheck struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
	Current    string `json:"current"`
}

// fluxHealth evaluates a health check in Flux's order: a status of another generation is
// InProgress, then inProgress, failed and current are asked, and where none is true the
// object is InProgress.
// See https://github.com/fluxcd/flux2/tree/main/rfcs/0009-custom-health-checks.
func fluxHealth(t *testing.T, check healthCheck, object *unstructured.Unstructured) kstatus.Status {
	t.Helper()
	g := NewWithT(t)
	observed, _, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	g.Expect(err).NotTo(HaveOccurred())
	if observed != object.GetGeneration() {
		return kstatus.InProgressStatus
	}
	env, err := cel.NewEnv()
	g.Expect(err).NotTo(HaveOccurred())
	for _, asked := range []struct {
		expression string
		means      kstatus.Status
	}{
		{check.InProgress, kstatus.InProgressStatus},
		{check.Failed, kstatus.FailedStatus},
		{check.Current, kstatus.CurrentStatus},
	} {
		// Flux parses and doesn't type-check, since it knows no schema.
		parsed, issues := env.Parse(asked.expression)
		g.Expect(issues.Err()).NotTo(HaveOccurred(), asked.expression)
		program, err := env.Program(parsed)
		g.Expect(err).NotTo(HaveOccurred(), asked.expression)
		value, _, err := program.Eval(object.Object)
		g.Expect(err).NotTo(HaveOccurred(), asked.expression)
		g.Expect(value.Value()).To(BeAssignableToTypeOf(true), asked.expression)
		if value.Value() == true {
			return asked.means
		}
	}
	return kstatus.InProgressStatus
}

func TestFluxHealthChecks(t *testing.T) {
	g := NewWithT(t)
	raw, err := os.ReadFile(filepath.Join("flux", "kustomization.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []healthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	g.Expect(yaml.Unmarshal(raw, &kustomization)).To(Succeed())
	checks := map[string]healthCheck{}
	for _, check := range kustomization.Spec.HealthCheckExprs {
		g.Expect(check.APIVersion).To(Equal(v1alpha1.GroupVersion.String()))
		checks[check.Kind] = check
	}
	g.Expect(checks).To(HaveLen(len(states)))
	forEachState(t, func(t *testing.T, object *unstructured.Unstructured, want kstatus.Status) {
		if want == kstatus.TerminatingStatus {
			want = kstatus.InProgressStatus // CEL knows no other word for it.
		}
		NewWithT(t).Expect(fluxHealth(t, checks[object.GetKind()], object)).To(Equal(want))
	})
}
