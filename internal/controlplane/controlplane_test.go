// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
)

// holderVariable makes this test binary start a control plane and hold it, so
// that a test can kill the process that started one.
const holderVariable = "MANDELBOX_CONTROLPLANE_HOLDER"

func TestMain(m *testing.M) {
	if os.Getenv(holderVariable) == "" {
		os.Exit(m.Run())
	}
	plane, err := controlplane.Start(context.Background(), controlplane.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(plane.Config().Host, plane.Dir())
	select {}
}

func start(t *testing.T, options controlplane.Options) *controlplane.ControlPlane {
	t.Helper()
	plane, err := controlplane.Start(t.Context(), options)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { NewWithT(t).Expect(plane.Stop()).To(Succeed()) })
	return plane
}

func clientFor(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return client
}

// listening says whether anything answers at the address of an API server.
func listening(host string) func() bool {
	return func() bool {
		address := host
		if parsed, err := url.Parse(host); err == nil && parsed.Host != "" {
			address = parsed.Host
		}
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		_ = connection.Close()
		return true
	}
}

func TestServesTheAPI(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	plane := start(t, controlplane.Options{})
	client := clientFor(t, plane.Config())

	answer, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(answer)).To(Equal("ok"))

	kubeSystem, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(plane.ClusterUID()).NotTo(BeEmpty())
	g.Expect(plane.ClusterUID()).To(Equal(kubeSystem.UID))

	version, err := client.Discovery().ServerVersion()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(version.GitVersion).To(MatchRegexp(`^v1\.\d+\.\d+$`), "the server must know the version it was built as")

	config, err := clientcmd.BuildConfigFromFlags("", plane.KubeconfigPath())
	g.Expect(err).NotTo(HaveOccurred())
	_, err = clientFor(t, config).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "the kubeconfig on disk must be the administrator's")
	g.Expect(os.ReadFile(plane.KubeconfigPath())).To(Equal(plane.Kubeconfig()))
	g.Expect(plane.AuditLogPath()).To(BeEmpty())
}

func TestServesTheSameThroughAnotherAPIServer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	plane := start(t, controlplane.Options{})
	config, err := plane.AddAPIServer(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(config.Host).NotTo(Equal(plane.Config().Host))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "through-the-first"}}
	_, err = clientFor(t, plane.Config()).CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = clientFor(t, config).CoreV1().Namespaces().Get(t.Context(), namespace.Name, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())

	g.Expect(plane.Stop()).To(Succeed())
	g.Expect(listening(config.Host)()).To(BeFalse())
}

func TestUsersMayDoWhatRBACGrants(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	plane := start(t, controlplane.Options{})
	config, err := plane.AddUser("ada", "operators")
	g.Expect(err).NotTo(HaveOccurred())
	list := func() error {
		_, err := clientFor(t, config).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
		return err
	}
	g.Expect(list()).To(MatchError(apierrors.IsForbidden, "forbidden"))

	_, err = clientFor(t, plane.Config()).RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "operators"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "operators"}},
	}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(list, time.Minute).Should(Succeed(), "the authorizer learns of a binding through its informer")
}

const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.test.mandelbox.dev
spec:
  group: test.mandelbox.dev
  scope: Cluster
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object}
`

const auditWrites = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create]
  resources: [{group: apiextensions.k8s.io}]
- level: None
`

func TestServesCRDsAndAudits(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	crds := filepath.Join(t.TempDir(), "crds")
	g.Expect(os.Mkdir(crds, 0o700)).To(Succeed())
	g.Expect(os.WriteFile(filepath.Join(crds, "widgets.yaml"), []byte(widgets), 0o600)).To(Succeed())
	var printed strings.Builder
	plane, err := controlplane.Start(t.Context(), controlplane.Options{
		CRDPaths:       []string{crds},
		AuditPolicy:    []byte(auditWrites),
		APIServerFlags: map[string][]string{"v": {"1"}, "service-cluster-ip-range": {"10.9.0.0/24"}},
		Output:         &printed,
	})
	g.Expect(err).NotTo(HaveOccurred())

	client, err := dynamic.NewForConfig(plane.Config())
	g.Expect(err).NotTo(HaveOccurred())
	_, err = client.Resource(schema.GroupVersionResource{Group: "test.mandelbox.dev", Version: "v1", Resource: "widgets"}).
		List(t.Context(), metav1.ListOptions{})
	g.Expect(err).NotTo(HaveOccurred())

	service, err := clientFor(t, plane.Config()).CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(service.Spec.ClusterIP).To(Equal("10.9.0.1"), "an option's flag must win over the default")

	log, err := os.ReadFile(plane.AuditLogPath())
	g.Expect(err).NotTo(HaveOccurred())
	var event struct {
		Verb      string `json:"verb"`
		ObjectRef struct {
			Name string `json:"name"`
		} `json:"objectRef"`
	}
	line, _, _ := strings.Cut(string(log), "\n")
	g.Expect(json.Unmarshal([]byte(line), &event)).To(Succeed())
	g.Expect(event.Verb).To(Equal("create"))
	g.Expect(event.ObjectRef.Name).To(Equal("widgets.test.mandelbox.dev"))

	g.Expect(plane.Stop()).To(Succeed())
	g.Expect(printed.String()).To(And(ContainSubstring("Serving securely on"), ContainSubstring("starting an etcd server")))
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	host, dir := plane.Config().Host, plane.Dir()
	g.Expect(listening(host)()).To(BeTrue())
	// A watch that nobody closes must not hold up the end.
	_, err = clientFor(t, plane.Config()).CoreV1().Namespaces().Watch(context.Background(), metav1.ListOptions{})
	g.Expect(err).NotTo(HaveOccurred())

	g.Expect(plane.Stop()).To(Succeed())
	g.Expect(plane.Stop()).To(Succeed(), "a second call finds nothing to do")
	g.Expect(listening(host)()).To(BeFalse())
	g.Expect(dir).NotTo(BeADirectory())
}

func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ctx, cancel := context.WithCancel(t.Context())
	plane, err := controlplane.Start(ctx, controlplane.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	cancel()
	g.Eventually(plane.Dir, time.Minute).ShouldNot(BeADirectory())
	g.Expect(plane.Stop()).To(Succeed())
	g.Expect(listening(plane.Config().Host)()).To(BeFalse())
}

func TestTwoAtOnceAreApart(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	planes := make(chan *controlplane.ControlPlane, 2)
	for range 2 {
		go func() {
			plane, err := controlplane.Start(t.Context(), controlplane.Options{})
			g.Expect(err).NotTo(HaveOccurred())
			planes <- plane
		}()
	}
	var first, second *controlplane.ControlPlane
	g.Eventually(planes, 3*time.Minute).Should(Receive(&first))
	g.Eventually(planes, 3*time.Minute).Should(Receive(&second))
	g.Expect(first.ClusterUID()).NotTo(Equal(second.ClusterUID()))
	g.Expect(first.Dir()).NotTo(Equal(second.Dir()))

	g.Expect(first.Stop()).To(Succeed())
	_, err := clientFor(t, second.Config()).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "the end of one must not touch the other")
	g.Expect(second.Stop()).To(Succeed())
}

func TestOutlivesNoKilledParent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderVariable+"=1")
	holder.Stderr = os.Stderr
	output, err := holder.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(holder.Start()).To(Succeed())
	line, err := bufio.NewReader(output).ReadString('\n')
	g.Expect(err).NotTo(HaveOccurred())
	host, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
	g.Expect(listening(host)()).To(BeTrue())
	g.Expect(dir).To(BeADirectory())

	g.Expect(holder.Process.Kill()).To(Succeed())
	g.Expect(holder.Wait()).NotTo(Succeed())
	answers := listening(host)
	g.Eventually(answers, time.Minute).Should(BeFalse())
	g.Eventually(dir, time.Minute).ShouldNot(BeADirectory())
}

func TestFailedStartLeavesNothing(t *testing.T) {
	g := NewWithT(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	empty := func() {
		t.Helper()
		g.Expect(filepath.Glob(filepath.Join(temp, "mandelbox-controlplane-*"))).To(BeEmpty())
	}

	_, err := controlplane.Start(t.Context(), controlplane.Options{
		APIServerFlags: map[string][]string{"no-such-flag": {"1"}},
	})
	g.Expect(err).To(MatchError(ContainSubstring("unknown flag: --no-such-flag")), "the reason must be told")
	empty()

	_, err = controlplane.Start(t.Context(), controlplane.Options{CRDPaths: []string{filepath.Join(temp, "nowhere")}})
	g.Expect(err).To(MatchError(os.ErrNotExist))
	empty()

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = controlplane.Start(ctx, controlplane.Options{})
	g.Expect(err).To(MatchError(context.DeadlineExceeded))
	g.Expect(time.Since(began)).To(BeNumerically("<", time.Minute))
	empty()
}

func TestMissingBinary(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	assets := t.TempDir()
	_, err := controlplane.Start(t.Context(), controlplane.Options{AssetsDir: assets})
	var missing *controlplane.MissingBinaryError
	g.Expect(errors.As(err, &missing)).To(BeTrue())
	g.Expect(missing.Path).To(Equal(filepath.Join(assets, "etcd")))
	g.Expect(err).To(MatchError(And(ContainSubstring(missing.Path), ContainSubstring("make controlplane"))))
}

func TestAssetsFolderFromTheEnvironment(t *testing.T) {
	g := NewWithT(t)
	assets := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	_, err := controlplane.Start(t.Context(), controlplane.Options{})
	g.Expect(err).To(MatchError(ContainSubstring(filepath.Join(assets, "etcd"))))

	t.Setenv("KUBEBUILDER_ASSETS", "")
	t.Chdir(t.TempDir())
	_, err = controlplane.Start(t.Context(), controlplane.Options{})
	g.Expect(err).To(MatchError(ContainSubstring("not inside a clone")))
}

func TestTheAPIServerComesBackWithWhatItHad(t *testing.T) {
	g := NewWithT(t)
	plane := start(t, controlplane.Options{})
	client := clientFor(t, plane.Config())
	_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())

	g.Expect(plane.KillAPIServer(t.Context())).To(Succeed())
	g.Expect(listening(plane.Config().Host)()).To(BeFalse())
	g.Expect(plane.StartAPIServer(t.Context())).To(Succeed())
	_, err = client.CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
}
