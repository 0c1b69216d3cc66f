// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gitops_test reads the objects that were recorded from the controllers the way
// GitOps tools do: by Flux's library, by Argo CD's Lua, and by the CEL of a Flux
// Kustomization.
package gitops_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sjson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// argocd is the folder in the layout of Argo CD's resource_customizations.
const argocd = "argocd"

// states are what kstatus is to read from each recorded object. The specs of package
// controllers see that the controllers still make such objects.
var states = map[string]map[string]kstatus.Status{
	"Region": {
		"new":                   kstatus.InProgressStatus,
		"no-channel":            kstatus.CurrentStatus,
		"scaling-up":            kstatus.InProgressStatus,
		"ready":                 kstatus.CurrentStatus,
		"max-instances-reached": kstatus.CurrentStatus,
		"suspended":             kstatus.CurrentStatus,
		"disabled":              kstatus.CurrentStatus,
		"subnets-not-found":     kstatus.FailedStatus,
		"unauthorized":          kstatus.FailedStatus,
		"deleting":              kstatus.TerminatingStatus,
	},
	"AMI": {
		"new":               kstatus.InProgressStatus,
		"first-hosts":       kstatus.InProgressStatus,
		"rolled-out":        kstatus.CurrentStatus,
		"suspended":         kstatus.CurrentStatus,
		"rolling-out":       kstatus.InProgressStatus,
		"buffer-timeout":    kstatus.FailedStatus,
		"commit-hash-taken": kstatus.FailedStatus,
		"image-not-found":   kstatus.FailedStatus,
		"deleting":          kstatus.TerminatingStatus,
	},
	"Instance": {
		"new":                kstatus.InProgressStatus,
		"revision-not-found": kstatus.FailedStatus,
		"registering":        kstatus.InProgressStatus,
		"active":             kstatus.CurrentStatus,
		"draining":           kstatus.InProgressStatus,
		"unauthorized":       kstatus.FailedStatus,
		"deleting":           kstatus.TerminatingStatus,
	},
	"Mandelbox": {
		"new":                 kstatus.InProgressStatus,
		"unknown-commit-hash": kstatus.InProgressStatus,
		"no-room":             kstatus.InProgressStatus,
		"region-full":         kstatus.InProgressStatus,
		"starting":            kstatus.InProgressStatus,
		"running":             kstatus.CurrentStatus,
		"completed":           kstatus.CurrentStatus,
		"crashed":             kstatus.FailedStatus,
		"user-already-active": kstatus.FailedStatus,
		"unauthorized":        kstatus.FailedStatus,
		"deleting":            kstatus.TerminatingStatus,
	},
}

// folder is a kind's own, for Argo CD.
func folder(kind string) string { return filepath.Join(argocd, v1alpha1.GroupVersion.Group, kind) }

// read reads a manifest the way a client decodes an object: with integers.
func read(t *testing.T, path string) *unstructured.Unstructured {
	t.Helper()
	g := NewWithT(t)
	raw, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	encoded, err := yaml.YAMLToJSON(raw)
	g.Expect(err).NotTo(HaveOccurred())
	object := &unstructured.Unstructured{}
	g.Expect(k8sjson.Unmarshal(encoded, &object.Object)).To(Succeed())
	return object
}

// forEachState runs a test on each recorded object; every object must be in the table,
// and of the kind it is filed under.
func forEachState(t *testing.T, test func(t *testing.T, object *unstructured.Unstructured, want kstatus.Status)) {
	t.Helper()
	for kind, wants := range states {
		paths, err := filepath.Glob(filepath.Join(folder(kind), "testdata", "*.yaml"))
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		NewWithT(t).Expect(paths).To(HaveLen(len(wants)), "%s: the table of states and the recorded objects differ", kind)
		for state, want := range wants {
			t.Run(kind+"/"+state, func(t *testing.T) {
				object := read(t, filepath.Join(folder(kind), "testdata", state+".yaml"))
				NewWithT(t).Expect(object.GroupVersionKind()).To(Equal(v1alpha1.GroupVersion.WithKind(kind)))
				test(t, object, want)
			})
		}
	}
}

func TestKstatus(t *testing.T) {
	forEachState(t, func(t *testing.T, object *unstructured.Unstructured, want kstatus.Status) {
		g := NewWithT(t)
		result, err := kstatus.Compute(object)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(result.Status).To(Equal(want))
		if want == kstatus.FailedStatus {
			g.Expect(strings.TrimSpace(result.Message)).NotTo(BeEmpty(), "a pipeline that fails must say why")
		}
	})
}

func TestEveryKindIsThere(t *testing.T) {
	kinds, err := filepath.Glob(filepath.Join(folder("*"), "health.lua"))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(kinds).To(HaveLen(len(states)))
}
