// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"
	"strings"
)

// MatchAction says whether an action is among those of a pattern, in which * and ?
// are wildcards and the case of letters doesn't matter:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
func MatchAction(pattern, action string) bool {
	return glob([]rune(strings.ToLower(pattern)), []rune(strings.ToLower(action)), nil)
}

// matchResource compares a resource with a pattern:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
func matchResource(pattern string, r Request) bool {
	if pattern == "*" {
		return true
	}
	expanded, ok := expand(pattern, r.Context)
	return ok && matchARN(expanded, r.Resource)
}

func checkResource(pattern string) error {
	if pattern == "*" {
		return nil
	}
	if err := checkVariables(pattern); err != nil {
		return err
	}
	if len(segments(plain(pattern))) != arnSegments || !strings.HasPrefix(pattern, "arn:") {
		return fmt.Errorf("%q is no ARN", pattern)
	}
	return nil
}

// arnSegments is how many an ARN has: arn, partition, service, region, account and
// resource, which may hold colons itself.
const arnSegments = 6

// text is a pattern of which some characters are meant literally: those that came
// out of a variable.
type text struct {
	runes   []rune
	literal []bool
}

func plain(s string) text {
	runes := []rune(s)
	return text{runes, make([]bool, len(runes))}
}

func (t *text) add(s string, literal bool) {
	for _, r := range s {
		t.runes = append(t.runes, r)
		t.literal = append(t.literal, literal)
	}
}

// segments cuts an ARN at its first five colons.
func segments(t text) []text {
	var parts []text
	from := 0
	for i, r := range t.runes {
		if r == ':' && len(parts) < arnSegments-1 {
			parts = append(parts, text{t.runes[from:i], t.literal[from:i]})
			from = i + 1
		}
	}
	return append(parts, text{t.runes[from:], t.literal[from:]})
}

// matchARN compares segment by segment, so that no wildcard reaches over a colon
// into the next:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_ARN
func matchARN(pattern text, arn string) bool {
	want, have := segments(pattern), segments(plain(arn))
	if len(want) != arnSegments || len(have) != arnSegments {
		return false
	}
	for i := range want {
		if !glob(want[i].runes, have[i].runes, want[i].literal) {
			return false
		}
	}
	return true
}

// glob compares with a pattern in which * is any text and ? any character, but where
// literal says otherwise; nil says it nowhere.
func glob(pattern, s []rune, literal []bool) bool {
	special := func(i int, r rune) bool { return pattern[i] == r && (literal == nil || !literal[i]) }
	p, i := 0, 0
	// star is where the last * was, and from how far what it stands for reaches.
	star, from := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && special(p, '*'):
			star, from = p, i
			p++
		case p < len(pattern) && (special(p, '?') || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && special(p, '*') {
		p++
	}
	return p == len(pattern)
}

// expand puts values in place of variables such as ${aws:PrincipalTag/team}; ok is
// false where one has none, and the text then matches nothing:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
func expand(s string, context Context) (expanded text, ok bool) {
	for {
		before, after, found := strings.Cut(s, "${")
		expanded.add(before, false)
		if !found {
			return expanded, true
		}
		name, rest, _ := strings.Cut(after, "}") // checkVariables has seen it closed.
		s = rest
		switch name {
		case "*", "?", "$":
			expanded.add(name, true)
			continue
		}
		values := context.values(name)
		if len(values) != 1 {
			return expanded, false
		}
		expanded.add(values[0], true)
	}
}

func checkVariables(s string) error {
	for {
		_, after, found := strings.Cut(s, "${")
		if !found {
			return nil
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.ContainsAny(name, "${, '") {
			return fmt.Errorf("%q has a variable that isn't understood here", s)
		}
		s = rest
	}
}

// Variables are the names of those that a text has.
func Variables(s string) []string {
	var names []string
	for {
		_, after, found := strings.Cut(s, "${")
		if !found {
			return names
		}
		name, rest, _ := strings.Cut(after, "}")
		if s = rest; !strings.Contains("*?$", name) {
			names = append(names, name)
		}
	}
}
