// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// messages collects what the CEL rules of a schema say when they refuse.
func messages(schema apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	for _, rule := range schema.XValidations {
		found = append(found, rule.Message)
	}
	for _, property := range schema.Properties {
		found = append(found, messages(property)...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		found = append(found, messages(*schema.Items.Schema)...)
	}
	return found
}

var _ = Describe("The kinds", func() {
	It("have no CEL rule that no spec has seen refuse", func() {
		files, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(files).To(HaveLen(4))
		var all []string
		for _, file := range files {
			content, err := os.ReadFile(file)
			Expect(err).NotTo(HaveOccurred())
			var crd apiextensionsv1.CustomResourceDefinition
			Expect(yaml.UnmarshalStrict(content, &crd)).To(Succeed())
			all = append(all, messages(*crd.Spec.Versions[0].Schema.OpenAPIV3Schema)...)
		}
		Expect(len(all)).To(BeNumerically(">", 30))
		for _, message := range all {
			Expect(refusals).To(HaveKey(message))
		}
	})

	It("go by their short names and the category cloud", func() {
		found, err := discovery.NewDiscoveryClientForConfigOrDie(plane.Config()).ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
		Expect(err).NotTo(HaveOccurred())
		kinds := map[string]metav1.APIResource{}
		for _, resource := range found.APIResources {
			kinds[resource.Name] = resource
		}
		for name, short := range map[string]string{"regions": "rgn", "amis": "ami", "instances": "mbi", "mandelboxes": "mbx"} {
			Expect(kinds[name].ShortNames).To(ConsistOf(short), name)
			// Not "mandelbox": `kubectl get mandelbox` would take it for the category.
			Expect(kinds[name].Categories).To(ConsistOf("cloud"), name)
			Expect(kinds[name].Namespaced).To(Equal(name == "mandelboxes"), name)
		}
	})

	It("are shown together, and each alone, by kubectl", func(ctx context.Context) {
		kubectl := func(arguments ...string) string {
			GinkgoHelper()
			command := exec.CommandContext(ctx, plane.KubectlPath(), append([]string{"--kubeconfig", plane.KubeconfigPath()}, arguments...)...)
			output, err := command.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(output))
			return string(output)
		}
		host, session := newInstance(), newMandelbox()
		create(ctx, host)
		create(ctx, session)
		both := And(
			ContainSubstring("instance.cloud.mandelbox.dev/"+host.Name+"\n"),
			ContainSubstring("mandelbox.cloud.mandelbox.dev/"+session.Name+"\n"))
		Expect(kubectl("get", "cloud", "-A", "-o", "name")).To(both)
		Expect(kubectl("get", "mbi,mbx", "-A", "-o", "name")).To(both)
		Expect(kubectl("get", "mandelbox", "-A", "-o", "name")).NotTo(ContainSubstring(host.Name))
		Expect(kubectl("get", "mbx", "-A", "-o", "name", "--field-selector", "spec.userID=nobody")).NotTo(ContainSubstring(session.Name))
	})
})
