// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rbac_test asks a real API server, with the roles of this folder, who may do
// what to whom.
package rbac_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	k8sresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
)

// The two tenants: the one of docs/tenancy.md, and one like it.
const (
	ours   = "team-a"
	theirs = "team-b"
)

// kinds are the operator's, by their resources; only one of them has namespaces.
var kinds = []string{"mandelboxes", "instances", "amis", "regions"}

// verbs are all that can be done to an object, and to its status.
var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch", "patch status", "update status"}

// What each level of role lets one do to Mandelboxes.
var (
	reads = []string{"get", "list", "watch"}
	edits = []string{"create", "delete", "get", "list", "patch", "update", "watch"}
	all   = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
)

// cluster is an API server with the operator's kinds and roles, and both tenants.
type cluster struct {
	*controlplane.ControlPlane
	admin kubernetes.Interface
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	g := NewWithT(t)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{CRDPaths: []string{filepath.Join("..", "crd", "bases")}})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(plane.Stop()).To(Succeed()) })
	admin, err := kubernetes.NewForConfig(plane.Config())
	g.Expect(err).NotTo(HaveOccurred())
	c := &cluster{ControlPlane: plane, admin: admin}
	c.kubectl(t, "", "apply", "-f", filepath.Join("..", "manager", "namespace.yaml"))
	c.kubectl(t, "", "apply", "-k", ".")
	c.aggregate(t)
	manifests := documented(t)
	c.kubectl(t, manifests, "apply", "-f", "-")
	c.kubectl(t, strings.ReplaceAll(manifests, ours, theirs), "apply", "-f", "-")
	return c
}

func (c *cluster) kubectl(t *testing.T, stdin string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), c.KubectlPath(), append([]string{"--kubeconfig", c.KubeconfigPath()}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), "%v: %s", args, output)
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// documented are the manifests that docs/tenancy.md shows.
func documented(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tenancy.md"))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var blocks []string
	for _, block := range yamlBlock.FindAllStringSubmatch(string(page), -1) {
		blocks = append(blocks, block[1])
	}
	NewWithT(t).Expect(blocks).NotTo(BeEmpty())
	return strings.Join(blocks, "---\n")
}

// aggregate fills the built-in roles as kube-controller-manager does, which a control
// plane without controllers lacks. The order is that in which they include each other.
func (c *cluster) aggregate(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	for _, name := range []string{"view", "edit", "admin"} {
		var built *rbacv1.ClusterRole
		g.Eventually(func() (err error) {
			built, err = c.admin.RbacV1().ClusterRoles().Get(t.Context(), name, metav1.GetOptions{})
			return err
		}).WithTimeout(time.Minute).Should(Succeed())
		roles, err := c.admin.RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		built.Rules = nil
		for i := range built.AggregationRule.ClusterRoleSelectors {
			selector, err := metav1.LabelSelectorAsSelector(&built.AggregationRule.ClusterRoleSelectors[i])
			g.Expect(err).NotTo(HaveOccurred())
			for _, role := range roles.Items {
				if selector.Matches(labels.Set(role.Labels)) {
					built.Rules = append(built.Rules, role.Rules...)
				}
			}
		}
		_, err = c.admin.RbacV1().ClusterRoles().Update(t.Context(), built, metav1.UpdateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
	}
}

// as is a client of a person.
func (c *cluster) as(t *testing.T, person string, groups ...string) dynamic.Interface {
	t.Helper()
	config := c.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: person, Groups: groups}
	client, err := dynamic.NewForConfig(config)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return client
}

// bind binds a ClusterRole to a person of the same name: in a namespace, or
// everywhere if that is empty.
func (c *cluster) bind(t *testing.T, role, namespace string) (person string) {
	t.Helper()
	person = strings.Trim(namespace+"-"+role, "-")
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: person}}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
	meta := metav1.ObjectMeta{Name: "test-" + role}
	var err error
	if namespace == "" {
		_, err = c.admin.RbacV1().ClusterRoleBindings().Create(t.Context(),
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	} else {
		_, err = c.admin.RbacV1().RoleBindings(namespace).Create(t.Context(),
			&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	}
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return person
}

// sessions makes a Mandelbox in each tenant's namespace, so that there is one to see.
func (c *cluster) sessions(t *testing.T) {
	t.Helper()
	for _, namespace := range []string{ours, theirs} {
		_, err := c.as(t, "admin", "system:masters").Resource(resource("mandelboxes")).Namespace(namespace).
			Create(t.Context(), mandelbox("one"), metav1.CreateOptions{})
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
	}
}

func mandelbox(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cloud.mandelbox.dev/v1alpha1", "kind": "Mandelbox", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"userID": "ada", "sessionID": name, "regions": []any{"us-east-1"}, "amiName": "stable"},
	}}
}

func resource(name string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "cloud.mandelbox.dev", Version: "v1alpha1", Resource: name}
}

// attempt does something to an object named "one", changing nothing, and says
// whether it was allowed: what then goes wrong for another reason was.
func attempt(ctx context.Context, who dynamic.Interface, kind, namespace, verb string) (bool, error) {
	in := who.Resource(resource(kind)).Namespace(namespace)
	verb, subresource, _ := strings.Cut(verb, " ")
	var subresources []string
	if subresource != "" {
		subresources = []string{subresource}
	}
	dry := []string{metav1.DryRunAll}
	object := mandelbox("one")
	var err error
	switch verb {
	case "create":
		_, err = in.Create(ctx, object, metav1.CreateOptions{DryRun: dry})
	case "delete":
		err = in.Delete(ctx, "one", metav1.DeleteOptions{DryRun: dry})
	case "deletecollection":
		err = in.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dry}, metav1.ListOptions{})
	case "get":
		_, err = in.Get(ctx, "one", metav1.GetOptions{})
	case "list":
		_, err = in.List(ctx, metav1.ListOptions{})
	case "patch":
		_, err = in.Patch(ctx, "one", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{DryRun: dry}, subresources...)
	case "update":
		_, err = in.Update(ctx, object, metav1.UpdateOptions{DryRun: dry}, subresources...)
	case "watch":
		watch, failed := in.Watch(ctx, metav1.ListOptions{})
		if err = failed; err == nil {
			watch.Stop()
		}
	}
	switch {
	case apierrors.IsForbidden(err):
		return false, nil
	case err == nil, apierrors.IsNotFound(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return true, nil
	}
	return false, fmt.Errorf("%s %s: %w", verb, kind, err)
}

// allowed are the verbs that the person may use.
func allowed(ctx context.Context, who dynamic.Interface, kind, namespace string) ([]string, error) {
	var may []string
	for _, verb := range verbs {
		yes, err := attempt(ctx, who, kind, namespace, verb)
		if err != nil {
			return nil, err
		}
		if yes {
			may = append(may, verb)
		}
	}
	return may, nil
}

// expectAllowed waits until the person may use exactly these verbs: the API server
// learns of bindings through an informer.
func expectAllowed(t *testing.T, who dynamic.Interface, kind, namespace string, want []string) {
	t.Helper()
	NewWithT(t).Eventually(func() ([]string, error) { return allowed(t.Context(), who, kind, namespace) }).
		WithTimeout(time.Minute).Should(Equal(want), "%s in namespace %q", kind, namespace)
}

func TestRoles(t *testing.T) {
	c := startCluster(t)
	c.sessions(t)

	t.Run("no tenant sees or touches another's Mandelboxes, or the fleet", func(t *testing.T) {
		for role, want := range map[string][]string{
			"view": reads, "edit": edits, "admin": all,
			"mandelbox-operator-mandelbox-viewer": reads, "mandelbox-operator-mandelbox-editor": edits, "mandelbox-operator-mandelbox-admin": all,
			// Bound in a namespace they are worth nothing.
			"mandelbox-operator-region-admin": nil, "mandelbox-operator-ami-admin": nil, "mandelbox-operator-instance-admin": nil,
		} {
			t.Run(role, func(t *testing.T) {
				who := c.as(t, c.bind(t, role, ours))
				expectAllowed(t, who, "mandelboxes", ours, want)
				expectAllowed(t, who, "mandelboxes", theirs, nil)
				for _, verb := range []string{"list", "watch"} {
					NewWithT(t).Expect(attempt(t.Context(), who, "mandelboxes", "", verb)).To(BeFalse(), "%s over all namespaces", verb)
				}
				for _, kind := range kinds[1:] {
					expectAllowed(t, who, kind, "", nil)
				}
			})
		}
	})
	t.Run("who has no role sees nothing", func(t *testing.T) {
		who := c.as(t, "stranger")
		for _, kind := range kinds {
			expectAllowed(t, who, kind, map[bool]string{true: ours}[kind == "mandelboxes"], nil)
		}
	})
	t.Run("a tenant of the documentation edits its own Mandelboxes alone", func(t *testing.T) {
		who := c.as(t, "ada", ours)
		expectAllowed(t, who, "mandelboxes", ours, edits)
		expectAllowed(t, who, "mandelboxes", theirs, nil)
	})
	t.Run("a role of a kind, bound everywhere, is of that kind alone", func(t *testing.T) {
		names := map[string]string{"mandelboxes": "mandelbox", "instances": "instance", "amis": "ami", "regions": "region"}
		levels := map[string]map[string][]string{
			"viewer": {"mandelboxes": reads, "instances": reads, "amis": reads, "regions": reads},
			"editor": {
				"mandelboxes": edits,
				"instances":   {"get", "list", "patch", "update", "watch"},
				"amis":        {"create", "get", "list", "patch", "update", "watch"},
				"regions":     {"get", "list", "patch", "update", "watch"},
			},
			"admin": {"mandelboxes": all, "instances": all, "amis": all, "regions": all},
		}
		for level, want := range levels {
			for of, verbs := range want {
				role := "mandelbox-operator-" + names[of] + "-" + level
				t.Run(role, func(t *testing.T) {
					who := c.as(t, c.bind(t, role, ""))
					for _, kind := range kinds {
						expectAllowed(t, who, kind, map[bool]string{true: theirs}[kind == "mandelboxes"], map[bool][]string{true: verbs}[kind == of])
					}
				})
			}
		}
	})
	t.Run("the built-in roles, bound everywhere, have every kind", func(t *testing.T) {
		for role, want := range map[string]map[string][]string{
			"view": {"mandelboxes": reads, "regions": reads, "amis": reads, "instances": reads},
			"edit": {"mandelboxes": edits, "regions": {"get", "list", "patch", "update", "watch"},
				"amis": {"create", "get", "list", "patch", "update", "watch"}, "instances": {"get", "list", "patch", "update", "watch"}},
			"admin":                           {"mandelboxes": all, "regions": all, "amis": all, "instances": all},
			"mandelbox-operator-fleet-viewer": {"mandelboxes": reads, "regions": reads, "amis": reads, "instances": reads},
		} {
			t.Run(role, func(t *testing.T) {
				who := c.as(t, c.bind(t, role, ""))
				for _, kind := range kinds {
					expectAllowed(t, who, kind, map[bool]string{true: theirs}[kind == "mandelboxes"], want[kind])
				}
			})
		}
	})
	t.Run("one tenant's quota is full, and the other's is not", func(t *testing.T) { c.testQuota(t) })
}

// testQuota fills the documented quota of one tenant, which it makes small for that.
func (c *cluster) testQuota(t *testing.T) {
	g := NewWithT(t)
	const counted = corev1.ResourceName("count/mandelboxes.cloud.mandelbox.dev")
	for _, namespace := range []string{ours, theirs} {
		quotas, err := c.admin.CoreV1().ResourceQuotas(namespace).List(t.Context(), metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(quotas.Items).To(HaveLen(1))
		quota := &quotas.Items[0]
		g.Expect(quota.Spec.Hard).To(HaveKey(counted))
		// What is used, one session, kube-controller-manager would count.
		quota.Spec.Hard[counted] = k8sresource.MustParse("2")
		quota, err = c.admin.CoreV1().ResourceQuotas(namespace).Update(t.Context(), quota, metav1.UpdateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{counted: k8sresource.MustParse("1")}}
		_, err = c.admin.CoreV1().ResourceQuotas(namespace).UpdateStatus(t.Context(), quota, metav1.UpdateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
	}
	create := func(tenant, name string) error {
		_, err := c.as(t, "ada", tenant).Resource(resource("mandelboxes")).Namespace(tenant).Create(t.Context(), mandelbox(name), metav1.CreateOptions{})
		return err
	}
	made := 0
	g.Eventually(func() error {
		err := create(ours, fmt.Sprintf("more-%d", made))
		if err == nil {
			made++
		}
		return err
	}).WithTimeout(time.Minute).Should(MatchError(And(ContainSubstring("exceeded quota"), ContainSubstring("limited: "+string(counted)+"=2"))))
	g.Expect(create(theirs, "more")).To(Succeed())
}
