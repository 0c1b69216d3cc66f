// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"
	"slices"
	"strings"
)

// Context is what is known of a request, by condition key. The case of a key's
// letters doesn't matter:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
type Context map[string][]string

// values are those of a key; none where it isn't there.
func (c Context) values(key string) []string {
	if values, ok := c[key]; ok {
		return values
	}
	for name, values := range c {
		if strings.EqualFold(name, key) {
			return values
		}
	}
	return nil
}

// Condition compares one key of the context with values.
type Condition struct {
	// Operator is as the policy has it, such as StringEqualsIfExists.
	Operator string
	Key      string
	Values   []string

	kind operatorKind
	// set says how a key with several values is compared; ifExists that one which
	// isn't there meets the condition.
	set      setOperator
	ifExists bool
}

// operatorKind is how two texts are compared.
type operatorKind struct {
	matches func(pattern text, value string) bool
	negated bool
}

// setOperator is the beginning of an operator for keys with several values:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
type setOperator string

const (
	oneValue  setOperator = ""
	allValues setOperator = "ForAllValues"
	anyValue  setOperator = "ForAnyValue"
)

// null is the operator that asks whether a key is there.
const null = "Null"

// operators are those that are understood. ArnEquals and ArnLike do the same:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
var operators = map[string]operatorKind{
	"StringEquals":    {matches: equal},
	"StringNotEquals": {matches: equal, negated: true},
	"StringLike":      {matches: like},
	"StringNotLike":   {matches: like, negated: true},
	"ArnEquals":       {matches: matchARN},
	"ArnLike":         {matches: matchARN},
	"ArnNotEquals":    {matches: matchARN, negated: true},
	"ArnNotLike":      {matches: matchARN, negated: true},
	"Bool":            {matches: equalFold},
}

func equal(pattern text, value string) bool { return string(pattern.runes) == value }

func equalFold(pattern text, value string) bool {
	return strings.EqualFold(string(pattern.runes), value)
}

func like(pattern text, value string) bool {
	return glob(pattern.runes, []rune(value), pattern.literal)
}

// newCondition reads a condition.
func newCondition(operator, key string, values []string) (Condition, error) {
	c := Condition{Operator: operator, Key: key, Values: values}
	if key == "" || len(values) == 0 {
		return c, fmt.Errorf("the condition %s has no key, or none of its values", operator)
	}
	name := operator
	if set, rest, ok := strings.Cut(operator, ":"); ok {
		c.set, name = setOperator(set), rest
		if c.set != allValues && c.set != anyValue {
			return c, fmt.Errorf("the condition operator %s isn't understood here", operator)
		}
	}
	if name == null && c.set == oneValue {
		if slices.ContainsFunc(values, func(v string) bool { return v != "true" && v != "false" }) {
			return c, fmt.Errorf("%s of %s takes true or false", null, key)
		}
		return c, nil
	}
	name, c.ifExists = strings.CutSuffix(name, "IfExists")
	var known bool
	if c.kind, known = operators[name]; !known {
		return c, fmt.Errorf("the condition operator %s isn't understood here", operator)
	}
	for _, value := range values {
		if err := checkVariables(value); err != nil {
			return c, err
		}
	}
	return c, nil
}

// met says whether the context meets the condition. A key that isn't there meets
// one that negates, and one for all of its values.
func (c Condition) met(context Context) bool {
	have := context.values(c.Key)
	if c.Operator == null {
		return slices.Contains(c.Values, fmt.Sprint(len(have) == 0))
	}
	holds := func(value string) bool { return c.matches(value, context) != c.kind.negated }
	switch {
	case c.set == allValues:
		return !slices.ContainsFunc(have, func(value string) bool { return !holds(value) })
	case c.set == anyValue:
		return slices.ContainsFunc(have, holds)
	case len(have) == 0:
		return c.ifExists || c.kind.negated
	case len(have) > 1:
		// AWS wants a set operator for it, and promises nothing without.
		return false
	default:
		return holds(have[0])
	}
}

// matches says whether a value is among the condition's.
func (c Condition) matches(value string, context Context) bool {
	return slices.ContainsFunc(c.Values, func(want string) bool {
		pattern, ok := expand(want, context)
		return ok && c.kind.matches(pattern, value)
	})
}
