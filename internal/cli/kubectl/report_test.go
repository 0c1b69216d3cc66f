// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

var _ = Describe("kubectl mandelbox report", func() {
	It("bundles objects, events and versions", func(ctx SpecContext) {
		Expect(api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mandelbox-system"}})).To(Succeed())
		labels := map[string]string{"app": "manager"}
		Expect(api.Create(ctx, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "mandelbox-system", Name: "manager"},
			Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "manager", Image: "operator:v1", Args: []string{"manager", "--leader-elect", "--token=" + canary}, Env: []corev1.EnvVar{{Name: "AWS_SECRET_ACCESS_KEY", Value: canary}},
				}}},
			}},
		})).To(Succeed())
		var region v1alpha1.Region
		Expect(api.Get(ctx, types.NamespacedName{Name: "us-west-2"}, &region)).To(Succeed())
		tell(ctx, &region, "Region", "Unauthorized", "not allowed: ec2:RunInstances")

		file := filepath.Join(GinkgoT().TempDir(), "report.tar.gz")
		_, err := run(ctx, "report", "-f", file)
		Expect(err).NotTo(HaveOccurred())
		info, err := os.Stat(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))
		content, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		files := unpacked(content)
		Expect(files).To(HaveKeyWithValue("status.txt", ContainSubstring("WHAT IS WRONG")))
		Expect(files).To(HaveKeyWithValue("tree.txt", ContainSubstring("east-full")))
		Expect(files).To(HaveKeyWithValue("objects/mandelboxes.yaml", And(ContainSubstring("name: PASSWORD"), ContainSubstring("value: "+redacted))))
		Expect(files).To(HaveKeyWithValue("objects/amis.yaml", And(ContainSubstring("name: TOKEN"), ContainSubstring("value: "+redacted))))
		Expect(files).To(HaveKeyWithValue("events.yaml", ContainSubstring("reason: Unauthorized")))
		Expect(files).NotTo(HaveKey("missing.txt"))
		var v versions
		Expect(yaml.Unmarshal([]byte(files["versions.yaml"]), &v)).To(Succeed())
		Expect(v.Plugin).To(Equal("v0.0.0-test"))
		Expect(v.Kubernetes).To(HavePrefix("v1."))
		Expect(v.CRDs).To(HaveLen(4))
		Expect(v.Managers).To(ConsistOf(managerStatus{Name: "manager", Images: []string{"operator:v1"}, Args: []string{redacted, "--leader-elect", "--token=" + redacted}, Replicas: 1}))
		for name, text := range files {
			Expect(text).NotTo(ContainSubstring(canary), name)
		}

		_, err = run(ctx, "report", "-f", file)
		Expect(err).To(MatchError(os.ErrExist), "a report overwrites nothing")
	})

	It("names what its user may not read, and bundles the rest", func(ctx SpecContext) {
		grant(ctx, "katherine", "team-a")
		out, _, err := runAs(ctx, kubeconfigOf("katherine", "team-a"), "report", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		files := unpacked([]byte(out))
		Expect(files).To(HaveKeyWithValue("missing.txt", And(ContainSubstring("events: "), ContainSubstring("managers: "))))
		Expect(files).To(HaveKeyWithValue("objects/mandelboxes.yaml", And(ContainSubstring("ada"), Not(ContainSubstring("alan")))))
	})
})

// unpacked are the files of a bundle, by their names without its folder.
func unpacked(content []byte) map[string]string {
	GinkgoHelper()
	zipped, err := gzip.NewReader(bytes.NewReader(content))
	Expect(err).NotTo(HaveOccurred())
	files, archive := map[string]string{}, tar.NewReader(zipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		Expect(err).NotTo(HaveOccurred())
		text, err := io.ReadAll(archive)
		Expect(err).NotTo(HaveOccurred())
		_, name, _ := strings.Cut(header.Name, "/")
		files[name] = string(text)
	}
}

func TestRedactLeavesNoSecret(t *testing.T) {
	g := NewWithT(t)
	env := func() []v1alpha1.EnvVar {
		return []v1alpha1.EnvVar{{Name: "SECRET", Value: ptr.To(canary)}, {Name: "EMPTY"}}
	}
	meta := func() metav1.ObjectMeta {
		return metav1.ObjectMeta{Annotations: map[string]string{
			corev1.LastAppliedConfigAnnotation: `{"env":"` + canary + `"}`, "kapp.k14s.io/original": canary, v1alpha1.AnnotationReconcileAt: "today",
		}}
	}
	s := view.Snapshot{
		Regions:     []v1alpha1.Region{{ObjectMeta: meta(), Spec: v1alpha1.RegionSpec{UserData: "export TOKEN=" + canary}}},
		Instances:   []v1alpha1.Instance{{ObjectMeta: meta()}},
		Mandelboxes: []v1alpha1.Mandelbox{{ObjectMeta: meta(), Spec: v1alpha1.MandelboxSpec{Env: env()}}},
		AMIs: []v1alpha1.AMI{{ObjectMeta: meta(), Spec: v1alpha1.AMISpec{Task: v1alpha1.TaskTemplate{
			Env: env(), HealthCheck: &v1alpha1.TaskHealthCheck{Command: []string{"CMD", canary}}, Logging: &v1alpha1.TaskLogging{Driver: "splunk", Options: []v1alpha1.LogOption{{Name: "splunk-token", Value: canary}}},
		}, Warmup: &v1alpha1.Warmup{Command: []string{"warm", canary}}}}},
	}
	redact(&s)
	content, err := yaml.Marshal(s)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(content)).NotTo(ContainSubstring(canary))
	g.Expect(string(content)).To(And(ContainSubstring("splunk-token"), ContainSubstring(v1alpha1.AnnotationReconcileAt+": today"), ContainSubstring("name: EMPTY\n")))
	g.Expect(s.Mandelboxes[0].Spec.Env[1].Value).To(BeNil())
}
