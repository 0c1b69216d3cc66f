// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package iam evaluates identity-based policies of AWS, as
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
// says: nothing is allowed but what a statement allows, and a statement that denies
// has the last word.
//
// It knows the language of policies and no service: who asks says which action, on
// which resource and in which context. What it doesn't know of the language it
// refuses when a policy is read, so that no condition is ever passed over.
package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// version is that of the language with variables, the only one that is read:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html
const version = "2012-10-17"

// Policy is a policy document that was read.
type Policy struct {
	Statements []Statement
}

// Statement allows or denies some actions on some resources under some conditions.
type Statement struct {
	// ID tells it from the others of its policy.
	ID string
	// Denies says that it takes away what others give.
	Denies bool
	// Actions are patterns such as ec2:Describe*.
	Actions []string
	// Resources are "*" or patterns of ARNs.
	Resources []string
	// Conditions must all be met.
	Conditions []Condition
}

// Request is what is to be decided on.
type Request struct {
	// Action is such as ec2:RunInstances.
	Action string
	// Resource is an ARN, or "*" for an action that has none.
	Resource string
	Context  Context
}

// Decision is what came of a request.
type Decision struct {
	Allowed bool
	// Statement is the one that allowed or denied; empty where none said anything.
	Statement string
}

// Evaluate decides.
func (p *Policy) Evaluate(r Request) Decision {
	var decision Decision
	for i := range p.Statements {
		s := &p.Statements[i]
		if !s.applies(r) {
			continue
		}
		if s.Denies {
			return Decision{Statement: s.ID}
		}
		if !decision.Allowed {
			decision = Decision{Allowed: true, Statement: s.ID}
		}
	}
	return decision
}

// About is the policy as far as it says anything of an action.
func (p *Policy) About(action string) *Policy {
	about := &Policy{}
	for _, s := range p.Statements {
		s.Actions = slices.DeleteFunc(slices.Clone(s.Actions), func(pattern string) bool { return !MatchAction(pattern, action) })
		if len(s.Actions) > 0 {
			about.Statements = append(about.Statements, s)
		}
	}
	return about
}

func (s *Statement) applies(r Request) bool {
	return slices.ContainsFunc(s.Actions, func(pattern string) bool { return MatchAction(pattern, r.Action) }) &&
		slices.ContainsFunc(s.Resources, func(pattern string) bool { return matchResource(pattern, r) }) &&
		!slices.ContainsFunc(s.Conditions, func(c Condition) bool { return !c.met(r.Context) })
}

// document is a policy as JSON has it.
type document struct {
	Version   string
	ID        string `json:"Id"`
	Statement []statement
}

type statement struct {
	Sid, Effect      string
	Action, Resource texts
	Condition        map[string]map[string]texts
}

// texts is one text or a list of some, or a boolean that stands for a text:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type texts []string

// UnmarshalJSON reads any of these.
func (t *texts) UnmarshalJSON(raw []byte) error {
	var one any
	if err := json.Unmarshal(raw, &one); err != nil {
		return fmt.Errorf("reading a text: %w", err)
	}
	list, ok := one.([]any)
	if !ok {
		list = []any{one}
	}
	for _, item := range list {
		switch v := item.(type) {
		case string:
			*t = append(*t, v)
		case bool:
			*t = append(*t, fmt.Sprint(v))
		default:
			return fmt.Errorf("%v is neither a text nor a boolean", item)
		}
	}
	return nil
}

// Parse reads a policy document and refuses what it couldn't evaluate.
func Parse(content []byte) (*Policy, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var doc document
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the policy: there is something after its end")
	}
	if doc.Version != version {
		return nil, fmt.Errorf("reading the policy: its version is %q, not %s", doc.Version, version)
	}
	if len(doc.Statement) == 0 {
		return nil, errors.New("reading the policy: it has no statement")
	}
	p := &Policy{}
	for i, raw := range doc.Statement {
		s, err := raw.read()
		if err == nil && slices.ContainsFunc(p.Statements, func(other Statement) bool { return other.ID == s.ID }) {
			err = errors.New("another statement has this Sid")
		}
		if err != nil {
			return nil, fmt.Errorf("reading statement %d (%s) of the policy: %w", i+1, raw.Sid, err)
		}
		p.Statements = append(p.Statements, s)
	}
	return p, nil
}

// complete refuses a statement that lacks something.
func (raw statement) complete() error {
	switch {
	case raw.Sid == "":
		return errors.New("it has no Sid")
	case raw.Effect != "Allow" && raw.Effect != "Deny":
		return fmt.Errorf("its Effect is %q", raw.Effect)
	case len(raw.Action) == 0:
		return errors.New("it has no Action")
	case len(raw.Resource) == 0:
		return errors.New("it has no Resource")
	}
	return nil
}

func (raw statement) read() (Statement, error) {
	s := Statement{ID: raw.Sid, Denies: raw.Effect == "Deny", Actions: raw.Action, Resources: raw.Resource}
	if err := raw.complete(); err != nil {
		return s, err
	}
	for _, action := range raw.Action {
		if service, name, ok := strings.Cut(action, ":"); action != "*" && (!ok || service == "" || name == "") {
			return s, fmt.Errorf("%q is no action", action)
		}
	}
	for _, resource := range raw.Resource {
		if err := checkResource(resource); err != nil {
			return s, err
		}
	}
	for _, operator := range sortedKeys(raw.Condition) {
		for _, key := range sortedKeys(raw.Condition[operator]) {
			c, err := newCondition(operator, key, raw.Condition[operator][key])
			if err != nil {
				return s, err
			}
			s.Conditions = append(s.Conditions, c)
		}
	}
	return s, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
