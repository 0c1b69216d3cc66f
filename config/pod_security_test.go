// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// templates are the pods that a kustomization makes, by the names of their Deployments,
// which are all that makes pods here.
func templates(t *testing.T, folder string) map[string]corev1.PodTemplateSpec {
	t.Helper()
	g := NewWithT(t)
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	g.Expect(err).NotTo(HaveOccurred())
	found := map[string]corev1.PodTemplateSpec{}
	for _, r := range resources.Resources() {
		g.Expect(r.GetKind()).NotTo(BeElementOf("Pod", "DaemonSet", "StatefulSet", "ReplicaSet", "Job", "CronJob"))
		if r.GetKind() != "Deployment" {
			continue
		}
		fields, err := r.Map()
		g.Expect(err).NotTo(HaveOccurred())
		var deployment appsv1.Deployment
		g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &deployment)).To(Succeed())
		found[deployment.Name] = deployment.Spec.Template
	}
	return found
}

// judge says what the restricted level of the Pod Security Standards, as of now,
// forbids of a pod.
// See https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted.
func judge(t *testing.T, pod corev1.PodTemplateSpec) policy.AggregateCheckResult {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	return policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec))
}

func TestPodsAreRestricted(t *testing.T) {
	for _, folder := range []string{"default", filepath.Join("overlays", "cert-manager")} {
		t.Run(folder, func(t *testing.T) {
			found := templates(t, folder)
			NewWithT(t).Expect(found).To(HaveKey(name))
			for name, pod := range found {
				result := judge(t, pod)
				NewWithT(t).Expect(result.Allowed).To(BeTrue(), "%s: %s", name, result.ForbiddenDetail())
			}
		})
	}
}

// TestRestrictionsAreChecked takes out one after the other of what makes the manager's
// pods restricted, each of which has to be missed.
func TestRestrictionsAreChecked(t *testing.T) {
	for reason, change := range map[string]func(*corev1.PodSpec){
		"allowPrivilegeEscalation":  func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
		"unrestricted capabilities": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.Capabilities = nil },
		"runAsNonRoot":              func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil },
		"runAsUser=0":               func(p *corev1.PodSpec) { p.SecurityContext.RunAsUser = ptr.To[int64](0) },
		"seccompProfile":            func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil },
		"host namespaces":           func(p *corev1.PodSpec) { p.HostNetwork = true },
		"hostPort":                  func(p *corev1.PodSpec) { p.Containers[0].Ports[0].HostPort = 9443 },
		"hostPath": func(p *corev1.PodSpec) {
			p.Volumes[0].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/tmp"}}
		},
	} {
		t.Run(reason, func(t *testing.T) {
			g := NewWithT(t)
			pod := templates(t, "default")[name]
			change(&pod.Spec)
			result := judge(t, pod)
			g.Expect(result.Allowed).To(BeFalse())
			g.Expect(result.ForbiddenDetail()).To(ContainSubstring(reason))
		})
	}
}
