// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// policyOf makes a policy of statements in JSON.
func policyOf(statements ...string) string {
	return `{"Version": "2012-10-17", "Statement": [` + strings.Join(statements, ",") + `]}`
}

// statementWith is a statement that allows everything under conditions.
func statementWith(conditions string) string {
	return policyOf(`{"Sid": "s", "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {` + conditions + `}}`)
}

func TestConditions(t *testing.T) {
	for name, c := range map[string]struct {
		condition string
		met       []Context
		unmet     []Context
	}{
		"a text is equal, its case mattering": {
			`"StringEquals": {"k": ["a", "b*"]}`,
			[]Context{{"k": {"a"}}, {"K": {"b*"}}},
			[]Context{{"k": {"A"}}, {"k": {"bc"}}, {"k": {""}}, {}, {"k": {"a", "b*"}}},
		},
		"a text is not equal, or not there": {
			`"StringNotEquals": {"k": ["a", "b"]}`,
			[]Context{{"k": {"c"}}, {}},
			[]Context{{"k": {"a"}}, {"k": {"b"}}},
		},
		"a text is like a pattern": {
			`"StringLike": {"k": ["a*c?e", "?*"]}`,
			[]Context{{"k": {"abbcde"}}, {"k": {"x"}}},
			[]Context{{"k": {""}}, {}},
		},
		"a text isn't like a pattern": {
			`"StringNotLike": {"k": "a*"}`,
			[]Context{{"k": {"b"}}, {}},
			[]Context{{"k": {"a"}}, {"k": {"abc"}}},
		},
		"an ARN is compared by its segments": {
			`"ArnLike": {"k": "arn:aws:ecs:*:*:cluster/a*"}`,
			[]Context{{"k": {"arn:aws:ecs:us-east-1:1:cluster/a"}}, {"k": {"arn:aws:ecs:::cluster/ab:c"}}},
			[]Context{{"k": {"arn:aws:ecs:us-east-1:1:cluster/b"}}, {"k": {"arn:aws:ecs:x:cluster/a"}}, {"k": {"cluster/a"}}, {}},
		},
		"ARNs are equal as they are alike": {
			`"ArnEquals": {"k": "arn:aws:ecs:*:*:cluster/a"}`,
			[]Context{{"k": {"arn:aws:ecs:us-east-1:1:cluster/a"}}},
			[]Context{{"k": {"arn:aws:ecs:us-east-1:1:cluster/ab"}}},
		},
		"an ARN is another": {
			`"ArnNotEquals": {"k": "arn:aws:ecs:*:*:cluster/a"}, "ArnNotLike": {"k": "arn:aws:ecs:*:*:cluster/b"}`,
			[]Context{{"k": {"arn:aws:ecs:us-east-1:1:cluster/c"}}, {}},
			[]Context{{"k": {"arn:aws:ecs:us-east-1:1:cluster/a"}}, {"k": {"arn:aws:ecs:us-east-1:1:cluster/b"}}},
		},
		"a boolean, in quotes or not": {
			`"Bool": {"k": true, "l": "false"}`,
			[]Context{{"k": {"true"}, "l": {"false"}}, {"k": {"True"}, "l": {"False"}}},
			[]Context{{"k": {"true"}}, {"k": {"false"}, "l": {"false"}}},
		},
		"a key is there": {
			`"Null": {"k": "false"}`, []Context{{"k": {""}}, {"K": {"a"}}}, []Context{{}, {"k": {}}, {"l": {"a"}}},
		},
		"a key isn't there": {
			`"Null": {"k": true}`, []Context{{}, {"k": {}}}, []Context{{"k": {"a"}}},
		},
		"a text is equal if it is there": {
			`"StringEqualsIfExists": {"k": "a"}`, []Context{{}, {"k": {"a"}}}, []Context{{"k": {"b"}}},
		},
		"all values are among some": {
			`"ForAllValues:StringEquals": {"k": ["a", "b"]}`,
			[]Context{{"k": {"a"}}, {"k": {"b", "a"}}, {}},
			[]Context{{"k": {"a", "c"}}},
		},
		"some value is among some": {
			`"ForAnyValue:StringLike": {"k": "a*"}`,
			[]Context{{"k": {"b", "ab"}}},
			[]Context{{"k": {"b"}}, {}},
		},
		"operators and keys must all be met": {
			`"StringEquals": {"k": "a", "l": "b"}, "StringLike": {"k": "?"}`,
			[]Context{{"k": {"a"}, "l": {"b"}}},
			[]Context{{"k": {"a"}}, {"l": {"b"}}, {"k": {"a"}, "l": {"c"}}},
		},
		"a variable is what the context has": {
			`"StringEquals": {"aws:ResourceTag/t": "${aws:PrincipalTag/t}"}`,
			[]Context{{"aws:ResourceTag/t": {"x"}, "aws:PrincipalTag/t": {"x"}}, {"aws:resourcetag/T": {"x"}, "aws:principaltag/T": {"x"}}},
			[]Context{
				{"aws:ResourceTag/t": {"x"}, "aws:PrincipalTag/t": {"y"}}, {"aws:ResourceTag/t": {"x"}}, {"aws:PrincipalTag/t": {"x"}}, {},
				{"aws:ResourceTag/t": {"${aws:PrincipalTag/t}"}},
			},
		},
		"what a variable has is no pattern": {
			`"StringLike": {"k": "a${v}*${*}"}`,
			[]Context{{"k": {"a*bc*"}, "v": {"*b"}}},
			[]Context{{"k": {"axbc*"}, "v": {"*b"}}, {"k": {"a*bcd"}, "v": {"*b"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p, err := Parse([]byte(statementWith(c.condition)))
			g.Expect(err).NotTo(HaveOccurred())
			for _, context := range c.met {
				g.Expect(p.Evaluate(Request{Action: "s:A", Resource: "*", Context: context})).To(Equal(Decision{true, "s"}), fmt.Sprint(context))
			}
			for _, context := range c.unmet {
				g.Expect(p.Evaluate(Request{Action: "s:A", Resource: "*", Context: context})).To(Equal(Decision{}), fmt.Sprint(context))
			}
		})
	}
}

func TestActionsAndResources(t *testing.T) {
	const instance = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
	for name, c := range map[string]struct {
		action, resource string
		asked, on        string
		allowed          bool
	}{
		"the same":                            {"ec2:Run", instance, "ec2:Run", instance, true},
		"another action":                      {"ec2:Run", instance, "ec2:RunAll", instance, false},
		"another service":                     {"ec2:Run", "*", "ecs:Run", instance, false},
		"another case of an action":           {"EC2:run", "*", "ec2:Run", instance, true},
		"a pattern of actions":                {"ec2:R*", "*", "ec2:Run", instance, true},
		"everything":                          {"*", "*", "ec2:Run", instance, true},
		"a pattern of resources":              {"ec2:Run", "arn:aws:ec2:*:*:instance/*", "ec2:Run", instance, true},
		"another case of a resource":          {"ec2:Run", "arn:aws:ec2:*:*:Instance/*", "ec2:Run", instance, false},
		"another kind of resource":            {"ec2:Run", "arn:aws:ec2:*:*:volume/*", "ec2:Run", instance, false},
		"no wildcard reaches over a colon":    {"ec2:Run", "arn:*:r:*:*:*", "ec2:Run", "arn:aws:ecs:r:a:task-definition/web:7", false},
		"a resource with colons of its own":   {"ec2:Run", "arn:aws:ecs:*:*:task-definition/web:*", "ec2:Run", "arn:aws:ecs:r:a:task-definition/web:7", true},
		"every resource of a kind":            {"ec2:Run", "arn:aws:ecs:*:*:task/c/*", "ec2:Run", "arn:aws:ecs:r:a:task/c/*", true},
		"no resource for one of some kind":    {"ec2:Run", "arn:aws:ec2:*:*:instance/*", "ec2:Run", "*", false},
		"a variable of the context":           {"ec2:Run", "arn:aws:ec2:*:*:instance/${v}", "ec2:Run", instance, true},
		"a variable that the context has not": {"ec2:Run", "arn:aws:ec2:*:*:instance/${w}", "ec2:Run", instance, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p, err := Parse([]byte(policyOf(fmt.Sprintf(`{"Sid": "s", "Effect": "Allow", "Action": [%q], "Resource": [%q]}`, c.action, c.resource))))
			g.Expect(err).NotTo(HaveOccurred())
			decision := p.Evaluate(Request{Action: c.asked, Resource: c.on, Context: Context{"v": {"i-1"}}})
			g.Expect(decision.Allowed).To(Equal(c.allowed))
		})
	}
}

func TestADenialHasTheLastWord(t *testing.T) {
	g := NewWithT(t)
	p, err := Parse([]byte(policyOf(
		`{"Sid": "first", "Effect": "Allow", "Action": "a:*", "Resource": "*"}`,
		`{"Sid": "never", "Effect": "Deny", "Action": "a:B", "Resource": "*", "Condition": {"StringEquals": {"k": "v"}}}`,
		`{"Sid": "again", "Effect": "Allow", "Action": "a:B", "Resource": "*"}`,
	)))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(p.Evaluate(Request{Action: "a:B", Resource: "*"})).To(Equal(Decision{true, "first"}))
	g.Expect(p.Evaluate(Request{Action: "a:B", Resource: "*", Context: Context{"k": {"v"}}})).To(Equal(Decision{false, "never"}))
	g.Expect(p.Evaluate(Request{Action: "b:B", Resource: "*"})).To(Equal(Decision{}))
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ policy, says string }{
		"no JSON":                   {`{`, "unexpected EOF"},
		"something after it":        {policyOf(`{"Sid": "s", "Effect": "Allow", "Action": "*", "Resource": "*"}`) + "{}", "after its end"},
		"an older version":          {`{"Version": "2008-10-17", "Statement": [{}]}`, "version"},
		"no statement":              {policyOf(), "no statement"},
		"no Sid":                    {policyOf(`{"Effect": "Allow", "Action": "*", "Resource": "*"}`), "no Sid"},
		"an effect":                 {policyOf(`{"Sid": "s", "Effect": "allow", "Action": "*", "Resource": "*"}`), "Effect"},
		"no action":                 {policyOf(`{"Sid": "s", "Effect": "Allow", "Resource": "*"}`), "no Action"},
		"an action without service": {policyOf(`{"Sid": "s", "Effect": "Allow", "Action": "Run", "Resource": "*"}`), "is no action"},
		"no resource":               {policyOf(`{"Sid": "s", "Effect": "Allow", "Action": "*"}`), "no Resource"},
		"a resource that is no ARN": {policyOf(`{"Sid": "s", "Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3"}`), "is no ARN"},
		"NotAction":                 {policyOf(`{"Sid": "s", "Effect": "Allow", "NotAction": "*", "Resource": "*"}`), "NotAction"},
		"Principal":                 {policyOf(`{"Sid": "s", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}`), "Principal"},
		"the same Sid twice": {policyOf(`{"Sid": "s", "Effect": "Allow", "Action": "*", "Resource": "*"}`,
			`{"Sid": "s", "Effect": "Allow", "Action": "*", "Resource": "*"}`), "another statement"},
		"an operator":                {statementWith(`"NumericEquals": {"k": "1"}`), "NumericEquals"},
		"an operator for sets":       {statementWith(`"ForSomeValues:StringLike": {"k": "1"}`), "ForSomeValues"},
		"Null of neither":            {statementWith(`"Null": {"k": "maybe"}`), "true or false"},
		"a condition without values": {statementWith(`"StringLike": {"k": []}`), "values"},
		"a number":                   {statementWith(`"StringLike": {"k": 1}`), "neither"},
		"a variable with a default":  {statementWith(`"StringLike": {"k": "${a, 'b'}"}`), "variable"},
		"a variable without an end":  {statementWith(`"StringLike": {"k": "${a"}`), "variable"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.policy))
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(c.says)))
		})
	}
}
