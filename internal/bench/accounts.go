// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// The service accounts of those who read and write.
const (
	accountManager = "mandelbox-manager"
	accountBare    = "bare-client"
	accountPeople  = "backend"
)

// Who writes, by the names in the audit log.
const (
	userManager = "system:serviceaccount:" + webhook.DefaultNamespace + ":" + accountManager
	userBare    = "system:serviceaccount:" + webhook.DefaultNamespace + ":" + accountBare
)

// tokenSeconds is how long a token is good, which is longer than any benchmark takes.
const tokenSeconds = 24 * 60 * 60

// account makes a service account that may do everything, and returns what a client
// needs to be it. In a cluster, controllers and backends have such tokens, and the API
// server remembers for ten seconds that one is good; a client certificate, which is
// what the administrator has, is verified again with every request.
// See https://kubernetes.io/docs/reference/access-authn-authz/authentication/.
func account(ctx context.Context, admin *rest.Config, name string) (*rest.Config, error) {
	clients, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	accounts := clients.CoreV1().ServiceAccounts(webhook.DefaultNamespace)
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("creating the service account %s: %w", name, err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: webhook.DefaultNamespace, Name: name}},
	}
	if _, err := clients.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("letting %s do everything: %w", name, err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](tokenSeconds)}}
	token, err := accounts.CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for a token of %s: %w", name, err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = token.Status.Token
	return config, nil
}
