package awsemu

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The cluster query language, in which placement constraints and the filter of
// ListContainerInstances are written:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html

// hostPredicate says whether an expression holds for a host.
type hostPredicate func(*containerInstance) bool

// parseExpression compiles an expression of the cluster query language.
func parseExpression(text string) (hostPredicate, error) {
	p := &expressionParser{lexer: expressionLexer{text: text}}
	p.advance()
	holds, err := p.or()
	if err == nil && p.token.kind != tokenEnd {
		err = fmt.Errorf("unexpected %q", p.token.text)
	}
	if err != nil {
		return nil, invalidParameter("Invalid expression: " + text + ": " + err.Error())
	}
	return holds, nil
}

type expressionParser struct {
	lexer expressionLexer
	token expressionToken
}

func (p *expressionParser) advance() { p.token = p.lexer.next() }

// accept takes the next token if it is one of these operators or words.
func (p *expressionParser) accept(texts ...string) bool {
	if p.token.kind == tokenQuoted || p.token.kind == tokenEnd {
		return false
	}
	for _, t := range texts {
		if strings.EqualFold(p.token.text, t) {
			p.advance()
			return true
		}
	}
	return false
}

func (p *expressionParser) or() (hostPredicate, error) {
	left, err := p.and()
	for err == nil && p.accept("or", "||") {
		a := left
		var b hostPredicate
		b, err = p.and()
		left = func(ci *containerInstance) bool { return a(ci) || b(ci) }
	}
	return left, err
}

func (p *expressionParser) and() (hostPredicate, error) {
	left, err := p.not()
	for err == nil && p.accept("and", "&&") {
		a := left
		var b hostPredicate
		b, err = p.not()
		left = func(ci *containerInstance) bool { return a(ci) && b(ci) }
	}
	return left, err
}

func (p *expressionParser) not() (hostPredicate, error) {
	if p.accept("not", "!") {
		inner, err := p.not()
		return func(ci *containerInstance) bool { return !inner(ci) }, err
	}
	if p.accept("(") {
		inner, err := p.or()
		if err == nil && !p.accept(")") {
			err = fmt.Errorf("expected ) before %q", p.token.text)
		}
		return inner, err
	}
	return p.comparison()
}

// comparison is a subject, an operator and its argument.
func (p *expressionParser) comparison() (hostPredicate, error) {
	if p.token.kind != tokenWord {
		return nil, fmt.Errorf("expected a subject, found %q", p.token.text)
	}
	subject, err := subjectNamed(p.token.text)
	if err != nil {
		return nil, err
	}
	p.advance()
	switch {
	case p.accept("exists"):
		return func(ci *containerInstance) bool { return len(subject(ci)) > 0 }, nil
	case p.accept("!exists", "not_exists"):
		return func(ci *containerInstance) bool { return len(subject(ci)) == 0 }, nil
	case p.accept("in"):
		return p.membership(subject, true)
	case p.accept("!in", "not_in"):
		return p.membership(subject, false)
	case p.token.text == "=~" || p.token.text == "!~" || p.token.text == "matches" || p.token.text == "not_matches":
		return p.pattern(subject)
	}
	return p.relation(subject)
}

// relation compares the subject with one value.
func (p *expressionParser) relation(subject subjectValues) (hostPredicate, error) {
	holds, ok := map[string]func(int) bool{
		"==": func(c int) bool { return c == 0 }, "equals": func(c int) bool { return c == 0 },
		">": func(c int) bool { return c > 0 }, "greater_than": func(c int) bool { return c > 0 },
		">=": func(c int) bool { return c >= 0 }, "greater_than_equal": func(c int) bool { return c >= 0 },
		"<": func(c int) bool { return c < 0 }, "less_than": func(c int) bool { return c < 0 },
		"<=": func(c int) bool { return c <= 0 }, "less_than_equal": func(c int) bool { return c <= 0 },
	}[p.token.text]
	negate := p.token.text == "!=" || p.token.text == "not_equals"
	if !ok && !negate {
		return nil, fmt.Errorf("unknown operator %q", p.token.text)
	}
	if negate {
		holds = func(c int) bool { return c == 0 }
	}
	p.advance()
	want, err := p.value()
	return func(ci *containerInstance) bool {
		for _, v := range subject(ci) {
			if holds(compareValues(v, want)) {
				return !negate
			}
		}
		return negate
	}, err
}

// membership compares the subject with a list: [a, b] or ['a', 'b'].
func (p *expressionParser) membership(subject subjectValues, wanted bool) (hostPredicate, error) {
	if !p.accept("[") {
		return nil, fmt.Errorf("expected [ before %q", p.token.text)
	}
	set := map[string]struct{}{}
	for !p.accept("]") {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		set[v] = struct{}{}
		p.accept(",")
	}
	return func(ci *containerInstance) bool {
		for _, v := range subject(ci) {
			if _, in := set[v]; in {
				return wanted
			}
		}
		return !wanted
	}, nil
}

// pattern matches the subject against a regular expression, as a whole.
func (p *expressionParser) pattern(subject subjectValues) (hostPredicate, error) {
	wanted := p.token.text == "=~" || p.token.text == "matches"
	p.token = p.lexer.nextPattern()
	if p.token.kind == tokenEnd {
		return nil, fmt.Errorf("expected a pattern")
	}
	re, err := regexp.Compile("^(?:" + p.token.text + ")$")
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	p.advance()
	return func(ci *containerInstance) bool {
		for _, v := range subject(ci) {
			if re.MatchString(v) {
				return wanted
			}
		}
		return !wanted
	}, nil
}

func (p *expressionParser) value() (string, error) {
	if p.token.kind != tokenWord && p.token.kind != tokenQuoted {
		return "", fmt.Errorf("expected a value, found %q", p.token.text)
	}
	v := p.token.text
	p.advance()
	return v, nil
}

// compareValues orders numbers as numbers, versions part by part and the rest as text.
func compareValues(a, b string) int {
	pa, pb := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(pa) && i < len(pb); i++ {
		na, errA := strconv.ParseInt(pa[i], 10, 64)
		nb, errB := strconv.ParseInt(pb[i], 10, 64)
		if errA != nil || errB != nil {
			return strings.Compare(a, b)
		}
		if na != nb {
			if na < nb {
				return -1
			}
			return 1
		}
	}
	return len(pa) - len(pb)
}

// subjectValues are the values that a subject has on a host: none when it is
// absent, several when each task has one.
type subjectValues func(*containerInstance) []string

func subjectNamed(name string) (subjectValues, error) {
	if attribute, ok := strings.CutPrefix(name, "attribute:"); ok {
		return func(ci *containerInstance) []string {
			if v, there := ci.attributes[attribute]; there {
				return []string{v}
			}
			return nil
		}, nil
	}
	one := func(f func(*containerInstance) string) (subjectValues, error) {
		return func(ci *containerInstance) []string { return []string{f(ci)} }, nil
	}
	switch name {
	case "ec2InstanceId":
		return one(func(ci *containerInstance) string { return ci.ec2ID })
	case "agentConnected":
		return one(func(ci *containerInstance) string { return strconv.FormatBool(ci.connected) })
	case "agentVersion":
		return one(func(*containerInstance) string { return agentVersion })
	case "registeredAt":
		return one(func(ci *containerInstance) string { return ci.registeredAt.UTC().Format(time.RFC3339) })
	case "runningTasksCount":
		return one(func(ci *containerInstance) string {
			running, _ := ci.taskCounts()
			return strconv.Itoa(running)
		})
	case "task:group":
		return (*containerInstance).taskGroups, nil
	}
	return nil, fmt.Errorf("unknown subject %q", name)
}
