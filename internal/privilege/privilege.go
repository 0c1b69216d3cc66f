// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package privilege compares what RBAC grants to somebody with what they did, by the
// API server's audit log: what was refused to them, and what they never used.
//
// It is pure, and knows nothing of mandelboxes or of where events and roles come
// from: tests bring both, from an API server on which the operator did all its work.
package privilege

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// decision is the annotation in which the API server notes what the authorizer said.
// See https://kubernetes.io/docs/reference/labels-annotations-taints/audit-annotations/.
const decision = "authorization.k8s.io/decision"

// Grant is one thing that a rule of a role allows: rules are read as all that they
// multiply out to.
type Grant struct {
	// Role is the role's name, and Namespace where it holds: everywhere if it is empty.
	Role, Namespace string
	// Group and Resource are of the API, the resource with its subresource as in
	// "mandelboxes/status"; Name is the one object that is meant, or empty for all.
	Group, Resource, Name string
	// URL is the path of what is no resource, such as "/metrics", in place of those.
	URL string
	// Verb is what may be done.
	Verb string
}

// String says the grant as a person would, e.g. "get regions.cloud.mandelbox.dev".
func (g Grant) String() string {
	what := g.Resource
	if g.Group != "" {
		what += "." + g.Group
	}
	if g.Name != "" {
		what += " " + g.Name
	}
	where := ""
	if g.Namespace != "" {
		where = " in namespace " + g.Namespace
	}
	return fmt.Sprintf("%s %s%s (%s)", g.Verb, cmp.Or(g.URL, what), where, g.Role)
}

// Grants multiplies out the rules of a role that is bound in the namespace, or
// everywhere if that is empty.
func Grants(role, namespace string, rules []rbacv1.PolicyRule) []Grant {
	var grants []Grant
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				grants = append(grants, Grant{Role: role, Namespace: namespace, URL: url, Verb: verb})
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						grants = append(grants, Grant{
							Role: role, Namespace: namespace, Group: group, Resource: resource, Name: name, Verb: verb,
						})
					}
				}
			}
		}
	}
	return grants
}

// Excessive returns the grants that nobody should have who can name what they need:
// those with a wildcard, and every one of Secrets that holds in all namespaces.
func Excessive(grants []Grant) []Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool {
		wildcard := strings.Contains(g.Group+g.Resource+g.URL+g.Verb, "*")
		secrets := g.Group == "" && strings.HasPrefix(g.Resource, "secrets") && g.Namespace == ""
		return !wildcard && !secrets
	})
}

// Forbidden says which requests the API server forbade, each kind of them once, and
// how often.
func Forbidden(events []auditv1.Event) []string {
	counts := map[string]int{}
	for i := range events {
		event := &events[i]
		status := event.ResponseStatus
		if event.Annotations[decision] != "forbid" && (status == nil || status.Code != http.StatusForbidden) {
			continue
		}
		request := fmt.Sprintf("%s %s", event.Verb, event.RequestURI)
		if o := event.ObjectRef; o != nil {
			request = asked(event).String()
		}
		if status != nil && status.Message != "" {
			request += ": " + status.Message
		}
		counts[request]++
	}
	var forbidden []string
	for _, request := range slices.Sorted(maps.Keys(counts)) {
		forbidden = append(forbidden, fmt.Sprintf("%s, %d times", request, counts[request]))
	}
	return forbidden
}

// asked is the grant that the event's request needed, of no role.
func asked(event *auditv1.Event) Grant {
	o := event.ObjectRef
	if o == nil {
		url, _, _ := strings.Cut(event.RequestURI, "?")
		return Grant{Role: event.User.Username, URL: url, Verb: event.Verb}
	}
	resource := o.Resource
	if o.Subresource != "" {
		resource += "/" + o.Subresource
	}
	return Grant{
		Role: event.User.Username, Namespace: o.Namespace, Group: o.APIGroup, Resource: resource, Name: o.Name, Verb: event.Verb,
	}
}

// Unused returns the grants that no request needed. A request that several allow
// counts for the narrowest of them alone, so that a grant which a narrower one makes
// superfluous is found. Requests that were forbidden count for none.
func Unused(events []auditv1.Event, grants []Grant) []Grant {
	narrowestFirst := slices.Clone(grants)
	slices.SortStableFunc(narrowestFirst, func(a, b Grant) int {
		return cmp.Or(-compareSet(a.Name, b.Name), -compareSet(a.Namespace, b.Namespace))
	})
	used := map[Grant]bool{}
	seen := map[Grant]bool{}
	for i := range events {
		need := asked(&events[i])
		if events[i].Annotations[decision] == "forbid" || seen[need] {
			continue
		}
		seen[need] = true
		if at := slices.IndexFunc(narrowestFirst, need.allowedBy); at >= 0 {
			used[narrowestFirst[at]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool { return used[g] })
}

// compareSet orders what is empty before what is not.
func compareSet(a, b string) int { return cmp.Compare(min(len(a), 1), min(len(b), 1)) }

// allowedBy says whether the grant allows what is needed.
func (g Grant) allowedBy(grant Grant) bool {
	return g.Verb == grant.Verb && g.Group == grant.Group && g.Resource == grant.Resource && g.URL == grant.URL &&
		(grant.Namespace == "" || grant.Namespace == g.Namespace) && (grant.Name == "" || grant.Name == g.Name)
}

// Attributes asks the API server of a SubjectAccessReview about the grant; only
// grants of resources have them.
func (g Grant) Attributes() *authorizationv1.ResourceAttributes {
	resource, subresource, _ := strings.Cut(g.Resource, "/")
	return &authorizationv1.ResourceAttributes{
		Namespace: g.Namespace, Verb: g.Verb, Group: g.Group, Resource: resource, Subresource: subresource, Name: g.Name,
	}
}
