// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu/iam"
)

// RootAccessKey is the access key of an account's root user, who may do everything
// whatever the policy says: what a test does on its own behalf.
const RootAccessKey = "root"

// IAM has every call evaluated against a policy, but those to STS, which the policy
// of the role that is assumed would decide on, and those of RootAccessKey. Servers may
// share one: it then knows what became of the calls to all of them.
type IAM struct {
	policy *iam.Policy
	// about is what the policy says of each action.
	about     map[string]*iam.Policy
	principal IAMPrincipal

	mu      sync.Mutex
	used    map[grant]bool
	denials []Denial
}

// IAMPrincipal is who calls.
type IAMPrincipal struct {
	// Tags are those of the role that the policy is attached to.
	Tags map[string]string
	// InstanceProfiles are those that exist, each with the path and name of the role
	// in it, such as service/web. Where there are none, any profile exists, and has a
	// role of its own name.
	InstanceProfiles map[string]string
}

// Denial is a call that the policy didn't allow.
type Denial struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	// Operation is what was called, which may need other actions than its own.
	Operation string `json:"operation"`
	// Caller is the user agent.
	Caller string `json:"caller"`
}

// String says it as a person would look for it.
func (d Denial) String() string {
	return fmt.Sprintf("%s on %s, called by %s through %s", d.Action, d.Resource, d.Caller, d.Operation)
}

// grant is a pattern of actions in one statement.
type grant struct{ statement, action string }

// NewIAM reads a policy. One that names an action or a condition key that isn't known
// here is refused, since nothing would ever match it.
func NewIAM(policy []byte, principal IAMPrincipal) (*IAM, error) {
	parsed, err := iam.Parse(policy)
	if err != nil {
		return nil, err
	}
	for _, s := range parsed.Statements {
		if err := checkStatement(s); err != nil {
			return nil, fmt.Errorf("statement %s of the policy: %w", s.ID, err)
		}
	}
	about := map[string]*iam.Policy{}
	for action := range actions {
		about[action] = parsed.About(action)
	}
	return &IAM{policy: parsed, about: about, principal: principal, used: map[grant]bool{}}, nil
}

// checkStatement refuses an action that nothing checks, and a condition key that isn't
// one of each of the statement's actions.
func checkStatement(s iam.Statement) error {
	for _, pattern := range s.Actions {
		known := false
		for action, keys := range actions {
			if !iam.MatchAction(pattern, action) {
				continue
			}
			known = true
			for _, c := range s.Conditions {
				if !keys.has(c.Key) {
					return fmt.Errorf("%s has no condition key %s here", action, c.Key)
				}
			}
		}
		if !known {
			return fmt.Errorf("nothing here checks the action %s", pattern)
		}
	}
	return nil
}

// Denials are the calls that were not allowed so far.
func (i *IAM) Denials() []Denial {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.denials)
}

// Unused are the actions that no call was allowed by so far, each with its statement.
func (i *IAM) Unused() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	unused := []string{}
	for _, s := range i.policy.Statements {
		for _, action := range s.Actions {
			if !s.Denies && !i.used[grant{s.ID, action}] {
				unused = append(unused, action+" in "+s.ID)
			}
		}
	}
	return unused
}

// access is one thing that a call needs to be allowed.
type access struct {
	action, resource string
	context          iam.Context
	// refusal is what is answered where it isn't; nil for what the service answers.
	refusal *apiError
	// allowed is done once it is; nil for nothing.
	allowed func()
}

// authorize refuses a call that the policy doesn't allow. The region is locked.
func (s *Server) authorize(c *call) error {
	if s.iam == nil || c.authorized || c.accessKey == RootAccessKey || c.operation.service == serviceSTS {
		return nil
	}
	needs := []access{{action: c.operation.service + ":" + c.operation.name, resource: "*"}}
	if c.operation.access != nil {
		var err error
		if needs, err = c.operation.access(c); err != nil {
			return err
		}
	}
	for _, need := range needs {
		if err := s.iam.allow(c, need); err != nil {
			return err
		}
		if need.allowed != nil {
			need.allowed()
		}
	}
	c.authorized = true
	return nil
}

// allow decides on one access and keeps what came of it.
func (i *IAM) allow(c *call, need access) error {
	keys, about := actions[need.action], i.about[need.action]
	context := iam.Context{"aws:RequestedRegion": {c.region.name}}
	for key, value := range i.principal.Tags {
		context["aws:PrincipalTag/"+key] = []string{value}
	}
	for key, values := range need.context {
		if !keys.has(key) {
			return fmt.Errorf("the condition key %s of %s is in no table here", key, need.action)
		}
		context[key] = values
	}
	decision := iam.Decision{}
	if about != nil {
		decision = about.Evaluate(iam.Request{Action: need.action, Resource: need.resource, Context: context})
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !decision.Allowed {
		i.denials = append(i.denials, Denial{
			Action: need.action, Resource: need.resource, Operation: c.operation.name, Caller: c.caller,
		})
		if need.refusal != nil {
			return need.refusal
		}
		return c.denied(need, decision)
	}
	for _, s := range about.Statements {
		if s.ID == decision.Statement {
			for _, pattern := range s.Actions {
				i.used[grant{s.ID, pattern}] = true
			}
		}
	}
	return nil
}

// denied is the answer of a service to a call that isn't allowed, with the message of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
func (c *call) denied(need access, decision iam.Decision) *apiError {
	action := need.action
	if c.operation.service == serviceSQS {
		action = strings.ToLower(action) // It is how SQS writes it.
	}
	why := "because no identity-based policy allows the " + action + " action"
	if decision.Statement != "" {
		why = "with an explicit deny in an identity-based policy"
	}
	message := fmt.Sprintf("User: arn:aws:sts::%s:assumed-role/policy/%s is not authorized to perform: %s on resource: %s %s",
		c.region.account, c.accessKey, action, need.resource, why)
	switch c.operation.service {
	case serviceEC2:
		// What is encoded is another text each time:
		// https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html
		return &apiError{
			Code: "UnauthorizedOperation", Status: http.StatusForbidden,
			Message: "You are not authorized to perform this operation. " + message +
				". Encoded authorization failure message: " + c.region.srv.dice.hex(64),
		}
	case serviceSQS:
		return &apiError{Code: "AccessDeniedException", QueryCode: "AccessDenied", Status: http.StatusForbidden, Message: message}
	default:
		return &apiError{Code: "AccessDeniedException", Message: message}
	}
}

// linkedRole is what it takes to make the service-linked role of a service, which a
// call does where the account has none yet:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/using-service-linked-roles.html
func (c *call) linkedRole(service, role string, refusal *apiError) []access {
	s := c.region.srv
	name := c.region.account + "/" + service
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.linkedRoles[name] {
		return nil
	}
	return []access{{
		action:   "iam:CreateServiceLinkedRole",
		resource: "arn:aws:iam::" + c.region.account + ":role/aws-service-role/" + service + "/" + role,
		context:  iam.Context{"iam:AWSServiceName": {service}},
		refusal:  refusal,
		allowed: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.linkedRoles[name] = true
		},
	}}
}

// passRole is what it takes to give a role to what a service runs.
func passRole(arn, service string) access {
	return access{action: "iam:PassRole", resource: arn, context: iam.Context{"iam:PassedToService": {service}}}
}

// requestTags are the keys of the tags that a request has.
func requestTags(context iam.Context, tags map[string]string) iam.Context {
	for key, value := range tags {
		context["aws:RequestTag/"+key] = []string{value}
		context["aws:TagKeys"] = append(context["aws:TagKeys"], key)
	}
	return context
}

// resourceTags are the keys of the tags that a resource has.
func resourceTags(context iam.Context, tags map[string]string) iam.Context {
	for key, value := range tags {
		context["aws:ResourceTag/"+key] = []string{value}
	}
	return context
}
