// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/config/crd"
)

// tryManifests has the API server, with the webhooks, try every manifest of the pages
// without keeping it.
func (r *reader) tryManifests(t *testing.T) {
	t.Helper()
	for _, page := range append(pages(t), "README.md") {
		for _, b := range blocks(t, page) {
			if b.language == "yaml" {
				t.Run("manifest/"+b.String(), func(t *testing.T) { r.tryManifest(t, b) })
			}
		}
	}
}

func (r *reader) tryManifest(t *testing.T, b block) {
	t.Helper()
	object, isPart := strings.CutPrefix(b.mark, "part of: ")
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		t.Fatal(err)
	}
	switch {
	case b.mark == "for: Argo CD":
		checkArgoCD(t, b)
	case isPart:
		r.run(t, fmt.Sprintf("kubectl patch %s --type merge --dry-run=server --patch-file %s", object, file))
	case strings.Contains(b.text, "\nkind: Kustomization\n"):
		r.buildKustomization(t, b)
	default:
		r.run(t, "kubectl apply --dry-run=server --validate=strict -f "+file)
	}
}

// ofThisRepository is a folder of this repository as a kustomization elsewhere names it.
var ofThisRepository = regexp.MustCompile(`https://github\.com/mandelbox/mandelbox-operator//(\S+?)\?ref=\S+`)

// buildKustomization builds an overlay, on what is here in place of what it fetches.
func (r *reader) buildKustomization(t *testing.T, b block) {
	t.Helper()
	g := NewWithT(t)
	here, err := os.Getwd()
	g.Expect(err).NotTo(HaveOccurred())
	folder := t.TempDir()
	// Kustomize takes no absolute path.
	up, err := filepath.Rel(folder, here)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(b.text).To(MatchRegexp(ofThisRepository.String()))
	text := ofThisRepository.ReplaceAllString(b.text, filepath.ToSlash(up)+"/$1")
	g.Expect(os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600)).To(Succeed())
	g.Expect(r.run(t, "kubectl kustomize "+folder)).To(ContainSubstring("kind: Deployment"))
}

// checkArgoCD sees that what an Application ignores are fields of our kinds.
// See https://argo-cd.readthedocs.io/en/stable/user-guide/diffing/.
func checkArgoCD(t *testing.T, b block) {
	t.Helper()
	g := NewWithT(t)
	var application struct {
		Spec struct {
			IgnoreDifferences []struct {
				Group, Kind  string
				JSONPointers []string `json:"jsonPointers"`
			} `json:"ignoreDifferences"`
			SyncPolicy struct {
				SyncOptions []string `json:"syncOptions"`
			} `json:"syncPolicy"`
		} `json:"spec"`
	}
	g.Expect(yaml.UnmarshalStrict([]byte(b.text), &application)).To(Succeed())
	g.Expect(application.Spec.IgnoreDifferences).NotTo(BeEmpty())
	for _, ignored := range application.Spec.IgnoreDifferences {
		g.Expect(ignored.JSONPointers).NotTo(BeEmpty())
		for _, pointer := range ignored.JSONPointers {
			g.Expect(hasField(t, ignored.Group, ignored.Kind, pointer)).To(BeTrue(), "%s of %s", pointer, ignored.Kind)
		}
	}
}

// hasField says whether a kind has the field that a JSON pointer leads to.
func hasField(t *testing.T, group, kind, pointer string) bool {
	t.Helper()
	definitions, err := crd.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	for _, definition := range definitions {
		if definition.Spec.Group != group || definition.Spec.Names.Kind != kind {
			continue
		}
		schema := *definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		for _, name := range strings.Split(strings.Trim(pointer, "/"), "/") {
			field, found := schema.Properties[name]
			if !found {
				return false
			}
			schema = field
		}
		return true
	}
	return false
}
