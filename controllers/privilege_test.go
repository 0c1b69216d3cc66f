// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/internal/privilege"
)

// The ServiceAccount that config/ ships, and its name as a user.
const (
	managerNamespace = "mandelbox-system"
	managerAccount   = "mandelbox-operator"
	managerUser      = "system:serviceaccount:" + managerNamespace + ":" + managerAccount
)

// auditPolicy has the API server note every request of the manager.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["` + managerUser + `"]
- level: None
`

var (
	// managerConfig is of clients that act as that ServiceAccount, with its token.
	managerConfig *rest.Config
	// managerKubeconfig is a file with the same, for managers that are processes.
	managerKubeconfig string
	// granted is what the ServiceAccount may do, by the roles that are bound to it.
	granted []privilege.Grant
	// audited is what the API server noted, once the suite is over.
	audited []auditv1.Event
)

// installAccount applies the ServiceAccount with exactly the roles and bindings of
// config/rbac, gets a token of it, and has what it does read before the API server goes.
func installAccount(ctx context.Context) {
	GinkgoHelper()
	for _, manifests := range [][]string{
		{"-f", filepath.Join("..", "config", "manager", "namespace.yaml")},
		{"-f", filepath.Join("..", "config", "manager", "service_account.yaml")},
		{"-k", filepath.Join("..", "config", "rbac")},
	} {
		output, err := kubectl(ctx, append([]string{"apply", "--server-side"}, manifests...)...)
		Expect(err).NotTo(HaveOccurred(), output)
	}
	admin, err := kubernetes.NewForConfig(plane.Config())
	Expect(err).NotTo(HaveOccurred())
	granted = grantsOf(ctx, admin)
	expectGrantsInForce(ctx, admin)

	token := accountToken(ctx, admin, managerNamespace, managerAccount)
	managerConfig = rest.AnonymousClientConfig(plane.Config())
	managerConfig.BearerToken = token
	managerKubeconfig = filepath.Join(plane.Dir(), "manager-kubeconfig")
	Expect(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: managerConfig.Host, CertificateAuthorityData: managerConfig.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"test": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test"}},
		CurrentContext: "test",
	}, managerKubeconfig)).To(Succeed())
	DeferCleanup(func() {
		audited, err = readAudit(plane.AuditLogPath())
		Expect(err).NotTo(HaveOccurred())
	})
}

// accountToken makes a token of a ServiceAccount that outlives the suite.
func accountToken(ctx context.Context, admin kubernetes.Interface, namespace, name string) string {
	GinkgoHelper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](4 * 3600)}}
	token, err := admin.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	return token.Status.Token
}

// grantsOf reads what is bound to the manager's ServiceAccount by its name.
func grantsOf(ctx context.Context, admin kubernetes.Interface) []privilege.Grant {
	GinkgoHelper()
	bindings, err := admin.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	Expect(err).NotTo(HaveOccurred())
	everywhere, err := admin.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	Expect(err).NotTo(HaveOccurred())
	for _, b := range everywhere.Items {
		bindings.Items = append(bindings.Items, rbacv1.RoleBinding{Subjects: b.Subjects, RoleRef: b.RoleRef})
	}
	var grants []privilege.Grant
	for _, b := range bindings.Items {
		for _, s := range b.Subjects {
			if s.Kind == rbacv1.ServiceAccountKind && s.Namespace == managerNamespace && s.Name == managerAccount {
				role := b.RoleRef.Kind + " " + b.RoleRef.Name
				grants = append(grants, privilege.Grants(role, b.Namespace, rulesOf(ctx, admin, b.Namespace, b.RoleRef))...)
			}
		}
	}
	Expect(grants).NotTo(BeEmpty())
	return grants
}

func rulesOf(ctx context.Context, admin kubernetes.Interface, namespace string, ref rbacv1.RoleRef) []rbacv1.PolicyRule {
	GinkgoHelper()
	if ref.Kind == "Role" {
		role, err := admin.RbacV1().Roles(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		return role.Rules
	}
	role, err := admin.RbacV1().ClusterRoles().Get(ctx, ref.Name, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	return role.Rules
}

// expectGrantsInForce waits until the authorizer, which reads roles through an
// informer, knows of every grant.
func expectGrantsInForce(ctx context.Context, admin kubernetes.Interface) {
	GinkgoHelper()
	for _, g := range granted {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: managerUser, ResourceAttributes: g.Attributes(),
		}}
		Eventually(func() (bool, error) {
			answer, err := admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed, err
		}).Should(BeTrue(), g.String())
	}
}

// readAudit reads the events that the API server wrote, one a line.
func readAudit(path string) (events []auditv1.Event, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	decoder := json.NewDecoder(bufio.NewReader(file))
	for {
		var event auditv1.Event
		switch err := decoder.Decode(&event); {
		case errors.Is(err, io.EOF):
			return events, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return events, nil // The last one is being written.
		case err != nil:
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		events = append(events, event)
	}
}

// unjudged says why what wasn't used can't be judged by this run; empty if it can.
func unjudged(report Report) string {
	for _, spec := range report.SpecReports {
		if spec.LeafNodeType.Is(types.NodeTypeIt) && !spec.State.Is(types.SpecStatePassed) {
			return fmt.Sprintf("%q is %s", spec.FullText(), spec.State)
		}
	}
	return ""
}

var _ = ReportAfterSuite("The manager's ServiceAccount is refused nothing, and is granted nothing that it doesn't use", func(report Report) {
	if len(audited) == 0 {
		// Its start failed, which says enough; or only specs ran that have a control plane of their own.
		Expect(report.SuiteSucceeded && unjudged(report) == "").To(BeFalse(), "the API server noted nothing that the manager did")
		return
	}
	Expect(texts(privilege.Excessive(granted))).To(BeEmpty(), "wildcards, and Secrets of all namespaces")
	Expect(privilege.Forbidden(audited)).To(BeEmpty(), "requests of the manager that were forbidden")
	if why := unjudged(report); why != "" {
		fmt.Printf("\nNOT JUDGED: whether the manager uses all that config/rbac grants. Only a whole run can say so, and %s.\n", why)
		return
	}
	Expect(texts(privilege.Unused(audited, granted))).To(BeEmpty(), "grants of config/rbac that the manager didn't use in the whole suite")
	fmt.Printf("\nAll %d grants were used, and none of %d requests was forbidden.\n", len(granted), len(audited))
})

func texts(grants []privilege.Grant) []string {
	var all []string
	for _, g := range grants {
		all = append(all, g.String())
	}
	return all
}
