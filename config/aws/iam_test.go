// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	configaws "github.com/mandelbox/mandelbox-operator/config/aws"
)

// document is the policy as a test takes it apart.
type document struct {
	Version   string
	Statement []*statement
}

type statement struct {
	Sid, Effect string
	Action      list
	Resource    list
	Condition   map[string]map[string]list `json:",omitempty"`
}

// list is one text, or several.
type list []string

// UnmarshalJSON reads either.
func (l *list) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		*l = list{""}
		return json.Unmarshal(raw, &(*l)[0])
	}
	return json.Unmarshal(raw, (*[]string)(l))
}

func readPolicy(g *WithT) *document {
	var d document
	g.Expect(json.Unmarshal(configaws.Policy, &d)).To(Succeed())
	return &d
}

// without takes statements out.
func (d *document) without(ids ...string) *document {
	d.Statement = slices.DeleteFunc(d.Statement, func(s *statement) bool { return slices.Contains(ids, s.Sid) })
	return d
}

// withoutAction takes an action out of a statement, and the statement out if it has no other.
func (d *document) withoutAction(id, action string) *document {
	for _, s := range d.Statement {
		if s.Sid == id {
			s.Action = slices.DeleteFunc(s.Action, func(a string) bool { return a == action })
		}
	}
	d.Statement = slices.DeleteFunc(d.Statement, func(s *statement) bool { return len(s.Action) == 0 })
	return d
}

// limits are what a policy narrows its statements by: "<Sid>/Resource" where that is not
// every resource, and "<Sid>/<operator>/<key>".
func (d *document) limits() []string {
	var limits []string
	for _, s := range d.Statement {
		if !slices.Equal(s.Resource, list{"*"}) {
			limits = append(limits, s.Sid+"/Resource")
		}
		for operator, keys := range s.Condition {
			for key := range keys {
				limits = append(limits, s.Sid+"/"+operator+"/"+key)
			}
		}
	}
	slices.Sort(limits)
	return limits
}

// lift takes limits out.
func (d *document) lift(limits ...string) *document {
	for _, limit := range limits {
		parts := strings.SplitN(limit, "/", 3)
		for _, s := range d.Statement {
			switch {
			case s.Sid != parts[0]:
			case len(parts) == 2:
				s.Resource = list{"*"}
			default:
				delete(s.Condition[parts[1]], parts[2])
				if len(s.Condition[parts[1]]) == 0 {
					delete(s.Condition, parts[1])
				}
			}
		}
	}
	return d
}

// outcome makes a call as a manager with the policy, and returns what was denied.
func (d *document) outcome(t *testing.T, call func(*account) error) []string {
	t.Helper()
	g := NewWithT(t)
	content, err := json.Marshal(d)
	g.Expect(err).NotTo(HaveOccurred())
	a := newAccount(t, content)
	err = call(a)
	denied := []string{}
	for _, denial := range a.iam.Denials() {
		denied = append(denied, denial.Action)
	}
	if len(denied) == 0 {
		g.Expect(err).NotTo(HaveOccurred())
	} else {
		g.Expect(err).To(HaveOccurred())
	}
	return denied
}

// TestEveryActionIsNeeded takes each action out of the policy, and finds a call that is
// then denied, and that was allowed before.
func TestEveryActionIsNeeded(t *testing.T) {
	g := NewWithT(t)
	var actions []string
	for _, s := range readPolicy(g).Statement {
		for _, action := range s.Action {
			actions = append(actions, s.Sid+"/"+action)
		}
	}
	g.Expect(slices.Sorted(maps.Keys(calls))).To(ConsistOf(actions), "each action has a case, and each case an action")
	for _, name := range actions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			id, action, _ := strings.Cut(name, "/")
			g.Expect(readPolicy(g).outcome(t, calls[name])).To(BeEmpty(), "with the policy as it is")
			g.Expect(readPolicy(g).withoutAction(id, action).outcome(t, calls[name])).To(Equal([]string{action}))
		})
	}
}

// TestEveryLimitIsNeeded makes a call that the policy denies, and denies by each of its
// limits alone: it is allowed as soon as the limit is lifted too.
func TestEveryLimitIsNeeded(t *testing.T) {
	g := NewWithT(t)
	limits := slices.DeleteFunc(readPolicy(g).limits(), func(limit string) bool {
		_, implied := implied[limit]
		return implied
	})
	g.Expect(slices.Sorted(maps.Keys(violations))).To(Equal(limits), "each limit has a case, and each case a limit")
	for name, v := range violations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			policy := func() *document { return readPolicy(g).without(v.without...) }
			g.Expect(policy().outcome(t, v.call)).NotTo(BeEmpty(), "with the policy as it is")
			g.Expect(policy().lift(v.besides...).outcome(t, v.call)).NotTo(BeEmpty(), "with the limit alone")
			g.Expect(policy().lift(append(v.besides, name)...).outcome(t, v.call)).To(BeEmpty(), "without the limit")
		})
	}
}

// TestWhatIsImpliedIsThere has the list of limits that follow from others name no limit
// that isn't one.
func TestWhatIsImpliedIsThere(t *testing.T) {
	g := NewWithT(t)
	g.Expect(readPolicy(g).limits()).To(ContainElements(slices.Collect(maps.Keys(implied))))
}

// TestNothingIsAllowedWithoutATag has the role of a manager that nobody tagged.
func TestNothingIsAllowedWithoutATag(t *testing.T) {
	for _, name := range []string{
		"LaunchOwnHosts/ec2:RunInstances", "TerminateOwnHosts/ec2:TerminateInstances", "MakeOwnCluster/ecs:CreateCluster",
		"RemoveHostsFromOwnCluster/ecs:DeregisterContainerInstance", "RunOwnTasks/ecs:RunTask", "StopOwnTasks/ecs:StopTask",
		"RegisterOwnTaskDefinitions/ecs:RegisterTaskDefinition",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			untagged := strings.ReplaceAll(string(configaws.Policy), "${aws:PrincipalTag/mandelbox.dev/cluster}", "${aws:PrincipalTag/none}")
			var d document
			g.Expect(json.Unmarshal([]byte(untagged), &d)).To(Succeed())
			_, action, _ := strings.Cut(name, "/")
			g.Expect(d.outcome(t, calls[name])).To(Equal([]string{action}))
		})
	}
}

// TestEveryStatementIsExplained finds each statement in the page about them.
func TestEveryStatementIsExplained(t *testing.T) {
	g := NewWithT(t)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "iam.md"))
	g.Expect(err).NotTo(HaveOccurred())
	var explained, ids []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		explained = append(explained, row[1])
	}
	for _, s := range readPolicy(g).Statement {
		ids = append(ids, s.Sid)
	}
	g.Expect(explained).To(Equal(ids), "the table of docs/iam.md has them in order")
}
