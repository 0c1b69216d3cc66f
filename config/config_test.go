// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config_test installs what is in this folder into a real API server.
package config_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/internal/cli"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
)

const (
	namespace = "mandelbox-system"
	name      = "mandelbox-operator"
	image     = "registry.example.com:5000/team/mandelbox-operator:v1.2.3"
	patience  = 30 * time.Second
)

// cluster is a control plane that make and kubectl act on.
type cluster struct {
	*controlplane.ControlPlane
	client.Client
	t *testing.T
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	g := NewWithT(t)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(plane.Stop()).To(Succeed()) })
	api, err := client.New(plane.Config(), client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	return &cluster{ControlPlane: plane, Client: api, t: t}
}

// run runs a program in the repository's root, and returns what it printed.
func (c *cluster) run(program string, args ...string) string {
	c.t.Helper()
	command := exec.CommandContext(c.t.Context(), program, args...)
	command.Dir = ".."
	command.Env = append(os.Environ(), "KUBECONFIG="+c.KubeconfigPath())
	output, err := command.CombinedOutput()
	NewWithT(c.t).Expect(err).NotTo(HaveOccurred(), "%s %v: %s", program, args, output)
	return string(output)
}

func (c *cluster) make(target string) {
	c.t.Helper()
	c.run("make", target, "KUBECTL="+c.KubectlPath(), "IMG="+image)
}

// finalize does what the namespace controller does, which a control plane without
// controllers lacks: it lets a namespace go that is being deleted.
func (c *cluster) finalize(ctx context.Context) error {
	clients, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return err
	}
	watch, err := clients.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + namespace})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		if found, ok := event.Object.(*corev1.Namespace); ok && found.DeletionTimestamp != nil {
			found.Spec.Finalizers = nil
			_, err := clients.CoreV1().Namespaces().Finalize(ctx, found, metav1.UpdateOptions{})
			return err
		}
	}
	return ctx.Err()
}

func TestDeployAndUndeploy(t *testing.T) {
	g := NewWithT(t)
	c := startCluster(t)
	c.make("install")
	c.make("deploy")

	var deployment appsv1.Deployment
	g.Expect(c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &deployment)).To(Succeed())
	template := deployment.Spec.Template
	g.Expect(template.Spec.Containers[0].Image).To(Equal(image))

	t.Run("the manager's pods are as restricted as their namespace asks", func(t *testing.T) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: name + "-", Labels: template.Labels},
			Spec:       template.Spec,
		}
		NewWithT(t).Expect(c.Create(t.Context(), pod, client.DryRunAll)).To(Succeed())
		privileged := pod.DeepCopy()
		privileged.Spec.Containers[0].SecurityContext = nil
		NewWithT(t).Expect(c.Create(t.Context(), privileged, client.DryRunAll)).To(
			MatchError(ContainSubstring("violates PodSecurity")), "nobody looks at the pods of this namespace")
	})
	t.Run("the manager takes its arguments", func(t *testing.T) {
		expectArgumentsTaken(t, template.Spec.Containers[0].Args)
	})
	t.Run("the Services find the manager's pods", func(t *testing.T) {
		expectServicesMatch(t, c, template)
	})
	t.Run("the webhooks lead to a Service and its port", func(t *testing.T) {
		g := NewWithT(t)
		var configuration admissionregistrationv1.ValidatingWebhookConfiguration
		g.Expect(c.Get(t.Context(), client.ObjectKey{Name: name}, &configuration)).To(Succeed())
		g.Expect(configuration.Webhooks).NotTo(BeEmpty())
		var mutating admissionregistrationv1.MutatingWebhookConfiguration
		g.Expect(c.Get(t.Context(), client.ObjectKey{Name: name}, &mutating)).To(Succeed())
		g.Expect(mutating.Webhooks).To(HaveLen(1))
		called := []*admissionregistrationv1.ServiceReference{mutating.Webhooks[0].ClientConfig.Service}
		for _, hook := range configuration.Webhooks {
			called = append(called, hook.ClientConfig.Service)
		}
		for _, at := range called {
			var service corev1.Service
			g.Expect(c.Get(t.Context(), client.ObjectKey{Namespace: at.Namespace, Name: at.Name}, &service)).To(Succeed())
			g.Expect(service.Spec.Ports[0].Port).To(Equal(*at.Port))
		}
	})
	t.Run("every role that is bound exists", func(t *testing.T) {
		g := NewWithT(t)
		for role, object := range map[string]client.Object{
			"ClusterRole": &rbacv1.ClusterRole{}, "Role": &rbacv1.Role{},
		} {
			key := client.ObjectKey{Name: "mandelbox-operator-manager-role"}
			if role == "Role" {
				key.Namespace = namespace
			}
			g.Expect(c.Get(t.Context(), key, object)).To(Succeed(), role)
		}
		account := "--as=system:serviceaccount:" + namespace + ":" + template.Spec.ServiceAccountName
		g.Expect(c.run(c.KubectlPath(), "auth", "can-i", "patch", "mandelboxes.cloud.mandelbox.dev/status", "--all-namespaces", account)).To(HavePrefix("yes"))
		g.Expect(c.run(c.KubectlPath(), "auth", "can-i", "update", "leases.coordination.k8s.io/mandelbox-operator", "-n", namespace, account)).To(HavePrefix("yes"))
	})

	finalized := make(chan error, 1)
	go func() { finalized <- c.finalize(t.Context()) }()
	c.make("undeploy")
	g.Eventually(finalized).WithTimeout(patience).Should(Receive(BeNil()))
	g.Expect(apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(&deployment), &deployment))).To(BeTrue())
	c.make("uninstall")
}

// expectArgumentsTaken has the manager read its arguments, and then tell its flags.
func expectArgumentsTaken(t *testing.T, args []string) {
	t.Helper()
	var out, errs bytes.Buffer
	NewWithT(t).Expect(cli.Run(append(slices.Clone(args), "--help"), &out, &errs)).To(Equal(0), "%v: %s", args, &errs)
}

func expectServicesMatch(t *testing.T, c *cluster, template corev1.PodTemplateSpec) {
	t.Helper()
	g := NewWithT(t)
	var services corev1.ServiceList
	g.Expect(c.List(t.Context(), &services, client.InNamespace(namespace))).To(Succeed())
	g.Expect(services.Items).To(HaveLen(2))
	var ports []string
	for _, port := range template.Spec.Containers[0].Ports {
		ports = append(ports, port.Name)
	}
	for _, service := range services.Items {
		for key, value := range service.Spec.Selector {
			g.Expect(template.Labels).To(HaveKeyWithValue(key, value), service.Name)
		}
		g.Expect(ports).To(ContainElement(service.Spec.Ports[0].TargetPort.StrVal), service.Name)
	}
}

// TestCertManager sees that the overlay gives the manager cert-manager's
// certificate, and applies what of it a cluster without cert-manager knows.
func TestCertManager(t *testing.T) {
	g := NewWithT(t)
	c := startCluster(t)
	c.make("install")
	manifests := c.run(c.KubectlPath(), "kustomize", filepath.Join("config", "overlays", "cert-manager"))
	secrets := map[string]bool{}
	for _, object := range decode(t, manifests) {
		if strings.HasPrefix(object.GetAPIVersion(), "cert-manager.io/") {
			if secret, found, err := unstructured.NestedString(object.Object, "spec", "secretName"); err == nil && found {
				secrets[secret] = true
			}
			continue
		}
		if object.GetKind() == "Deployment" {
			args, _, err := unstructured.NestedStringSlice(firstContainer(g, object), "args")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(args).To(ContainElement("--webhook-own-certificates=false"))
			expectArgumentsTaken(t, args)
			g.Expect(mountedSecrets(g, object)).To(ContainElement(BeKeyOf(secrets)), "the Deployment mounts no Secret of a Certificate")
		}
		err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"), client.ForceOwnership)
		g.Expect(err).NotTo(HaveOccurred(), "%s %s", object.GetKind(), object.GetName())
	}
	g.Expect(secrets).NotTo(BeEmpty())
}

func decode(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var certificates, others []*unstructured.Unstructured
	for _, document := range strings.Split(manifests, "\n---\n") {
		object := &unstructured.Unstructured{}
		NewWithT(t).Expect(yaml.Unmarshal([]byte(document), &object.Object)).To(Succeed())
		if object.GetKind() == "Certificate" {
			certificates = append(certificates, object)
		} else {
			others = append(others, object)
		}
	}
	return append(certificates, others...)
}

func firstContainer(g *WithT, deployment *unstructured.Unstructured) map[string]any {
	containers, found, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(BeTrue())
	container, ok := containers[0].(map[string]any)
	g.Expect(ok).To(BeTrue())
	return container
}

func mountedSecrets(g *WithT, deployment *unstructured.Unstructured) []string {
	volumes, _, err := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "volumes")
	g.Expect(err).NotTo(HaveOccurred())
	var names []string
	for _, volume := range volumes {
		if fields, ok := volume.(map[string]any); ok {
			if secret, found, err := unstructured.NestedString(fields, "secret", "secretName"); err == nil && found {
				names = append(names, secret)
			}
		}
	}
	return names
}

// operation finds the AWS operations that the code calls, by their parameters.
var operation = regexp.MustCompile(`\b(ec2|ecs|sqs)\.([A-Z][A-Za-z]+)Input\b`)

// TestIAMPolicy compares the policy with the code: it allows every operation that
// is called and, but for what comes with them, no other.
func TestIAMPolicy(t *testing.T) {
	g := NewWithT(t)
	called := map[string]bool{
		// Tags that are given when a thing is made, roles that are given to it, and the
		// roles of the services themselves.
		"ec2:CreateTags": true, "ecs:TagResource": true, "iam:PassRole": true, "iam:CreateServiceLinkedRole": true,
	}
	sources, err := filepath.Glob(filepath.Join("..", "internal", "cloud", "aws", "*.go"))
	g.Expect(err).NotTo(HaveOccurred())
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		content, err := os.ReadFile(source)
		g.Expect(err).NotTo(HaveOccurred())
		for _, match := range operation.FindAllStringSubmatch(string(content), -1) {
			// A batch needs the permission of the single call:
			// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
			called[match[1]+":"+strings.TrimSuffix(match[2], "Batch")] = true
		}
	}
	g.Expect(allowed(g)).To(Equal(called))
}

// allowed are the actions of the policy.
func allowed(g *WithT) map[string]bool {
	content, err := os.ReadFile(filepath.Join("aws", "iam-policy.json"))
	g.Expect(err).NotTo(HaveOccurred())
	var policy struct {
		Statement []struct {
			Effect string
			Action any
		}
	}
	g.Expect(json.Unmarshal(content, &policy)).To(Succeed())
	actions := map[string]bool{}
	for _, statement := range policy.Statement {
		g.Expect(statement.Effect).To(Equal("Allow"))
		switch action := statement.Action.(type) {
		case string:
			actions[action] = true
		case []any:
			for _, one := range action {
				text, ok := one.(string)
				g.Expect(ok).To(BeTrue())
				actions[text] = true
			}
		}
	}
	return actions
}
