// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package privilege_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/mandelbox/mandelbox-operator/internal/privilege"
)

func rule(groups, resources, names, verbs []string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: groups, Resources: resources, ResourceNames: names, Verbs: verbs}
}

func list(values ...string) []string { return values }

// event is a request that was allowed, unless it is changed.
func event(verb string, on auditv1.ObjectReference, changes ...func(*auditv1.Event)) auditv1.Event {
	e := auditv1.Event{Verb: verb, ObjectRef: &on, Annotations: map[string]string{"authorization.k8s.io/decision": "allow"}}
	e.User.Username = "manager"
	for _, change := range changes {
		change(&e)
	}
	return e
}

func forbidden(e *auditv1.Event) {
	e.Annotations["authorization.k8s.io/decision"] = "forbid"
	e.ResponseStatus = &metav1.Status{Code: 403}
}

// refused is what an admission plugin does to a request that RBAC allowed.
func refused(e *auditv1.Event) {
	e.ResponseStatus = &metav1.Status{Code: 403, Message: "cannot set blockOwnerDeletion"}
}

func texts(grants []privilege.Grant) []string {
	var all []string
	for _, g := range grants {
		all = append(all, g.String())
	}
	return all
}

func TestGrants(t *testing.T) {
	got := texts(privilege.Grants("role", "ours", []rbacv1.PolicyRule{
		rule(list("", "apps"), list("pods", "pods/log"), nil, list("get", "list")),
		rule(list(""), list("secrets"), list("one", "two"), list("get")),
		{NonResourceURLs: list("/metrics"), Verbs: list("get")},
	}))
	want := list(
		"get pods in namespace ours (role)", "get pods/log in namespace ours (role)",
		"get pods.apps in namespace ours (role)", "get pods/log.apps in namespace ours (role)",
		"list pods in namespace ours (role)", "list pods/log in namespace ours (role)",
		"list pods.apps in namespace ours (role)", "list pods/log.apps in namespace ours (role)",
		"get secrets one in namespace ours (role)", "get secrets two in namespace ours (role)",
		"get /metrics in namespace ours (role)",
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExcessive(t *testing.T) {
	everywhere, ours := "", "ours"
	for name, test := range map[string]struct {
		namespace string
		rule      rbacv1.PolicyRule
		want      []string
	}{
		"what is named":               {everywhere, rule(list("apps"), list("deployments"), nil, list("get")), nil},
		"a wildcard for verbs":        {everywhere, rule(list("apps"), list("deployments"), nil, list("*")), list("* deployments.apps (role)")},
		"a wildcard for resources":    {ours, rule(list("apps"), list("*"), nil, list("get")), list("get *.apps in namespace ours (role)")},
		"a wildcard for subresources": {ours, rule(list("apps"), list("*/status"), nil, list("get")), list("get */status.apps in namespace ours (role)")},
		"a wildcard for groups":       {everywhere, rule(list("*"), list("pods"), nil, list("get")), list("get pods.* (role)")},
		"a wildcard for paths":        {everywhere, rbacv1.PolicyRule{NonResourceURLs: list("/*"), Verbs: list("get")}, list("get /* (role)")},
		"Secrets of one namespace":    {ours, rule(list(""), list("secrets"), nil, list("get")), nil},
		"Secrets of all namespaces":   {everywhere, rule(list(""), list("secrets"), nil, list("get")), list("get secrets (role)")},
		"a Secret in all namespaces":  {everywhere, rule(list(""), list("secrets"), list("one"), list("get")), list("get secrets one (role)")},
	} {
		t.Run(name, func(t *testing.T) {
			got := texts(privilege.Excessive(privilege.Grants("role", test.namespace, []rbacv1.PolicyRule{test.rule})))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestForbidden(t *testing.T) {
	pods := auditv1.ObjectReference{Resource: "pods", Namespace: "ours", Name: "one"}
	metrics := auditv1.Event{Verb: "get", RequestURI: "/metrics", Annotations: map[string]string{}}
	forbidden(&metrics)
	for name, test := range map[string]struct {
		events []auditv1.Event
		want   []string
	}{
		"what was allowed": {[]auditv1.Event{event("get", pods)}, nil},
		"what RBAC doesn't grant": {
			[]auditv1.Event{event("get", pods, forbidden), event("get", pods), event("get", pods, forbidden)},
			list("get pods one in namespace ours (manager), 2 times"),
		},
		"what admission refuses": {
			[]auditv1.Event{event("create", pods, refused)},
			list("create pods one in namespace ours (manager): cannot set blockOwnerDeletion, 1 times"),
		},
		"what is no resource": {[]auditv1.Event{metrics}, list("get /metrics, 1 times")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, privilege.Forbidden(test.events)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnused(t *testing.T) {
	pod := auditv1.ObjectReference{Resource: "pods", Namespace: "ours", Name: "one"}
	status := auditv1.ObjectReference{Resource: "pods", Subresource: "status", Namespace: "ours", Name: "one"}
	pods := privilege.Grants("everywhere", "", []rbacv1.PolicyRule{rule(list(""), list("pods"), nil, list("get"))})
	podsHere := privilege.Grants("here", "ours", []rbacv1.PolicyRule{rule(list(""), list("pods"), nil, list("get"))})
	podsThere := privilege.Grants("there", "theirs", []rbacv1.PolicyRule{rule(list(""), list("pods"), nil, list("get"))})
	onePod := privilege.Grants("one", "", []rbacv1.PolicyRule{rule(list(""), list("pods"), list("one"), list("get"))})
	anotherPod := privilege.Grants("another", "", []rbacv1.PolicyRule{rule(list(""), list("pods"), list("two"), list("get"))})
	metrics := privilege.Grants("role", "", []rbacv1.PolicyRule{{NonResourceURLs: list("/metrics"), Verbs: list("get")}})
	both := func(grants ...[]privilege.Grant) (all []privilege.Grant) {
		for _, some := range grants {
			all = append(all, some...)
		}
		return all
	}
	for name, test := range map[string]struct {
		events []auditv1.Event
		grants []privilege.Grant
		want   []string
	}{
		"all is used":                        {[]auditv1.Event{event("get", pod)}, pods, nil},
		"nothing was done":                   {nil, pods, list("get pods (everywhere)")},
		"another verb":                       {[]auditv1.Event{event("list", pod)}, pods, list("get pods (everywhere)")},
		"a subresource is another resource":  {[]auditv1.Event{event("get", status)}, pods, list("get pods (everywhere)")},
		"another namespace":                  {[]auditv1.Event{event("get", pod)}, podsThere, list("get pods in namespace theirs (there)")},
		"another name":                       {[]auditv1.Event{event("get", pod)}, anotherPod, list("get pods two (another)")},
		"what was forbidden is no use":       {[]auditv1.Event{event("get", pod, forbidden)}, pods, list("get pods (everywhere)")},
		"one role for a namespace is enough": {[]auditv1.Event{event("get", pod)}, both(pods, podsHere), list("get pods (everywhere)")},
		"one name is enough":                 {[]auditv1.Event{event("get", pod)}, both(podsHere, onePod), list("get pods in namespace ours (here)")},
		"what is no resource":                {[]auditv1.Event{{Verb: "get", RequestURI: "/metrics?x=y"}}, metrics, nil},
		"what is no resource, never asked":   {[]auditv1.Event{{Verb: "get", RequestURI: "/healthz"}}, metrics, list("get /metrics (role)")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, texts(privilege.Unused(test.events, test.grants))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
