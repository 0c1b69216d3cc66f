package awsemu

import "strings"

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted
	tokenSymbol
)

type expressionToken struct {
	kind tokenKind
	text string
}

// expressionLexer cuts an expression of the cluster query language into tokens.
type expressionLexer struct {
	text string
}

// expressionSymbols are the operators, the longest first so that >= isn't read as >.
var expressionSymbols = []string{"!exists", "!in", "==", "!=", ">=", "<=", "=~", "!~", "&&", "||", ">", "<", "!", "(", ")", "[", "]", ","}

func (l *expressionLexer) next() expressionToken {
	l.text = strings.TrimLeft(l.text, " \t\r\n")
	if l.text == "" {
		return expressionToken{kind: tokenEnd}
	}
	if q := l.text[0]; q == '\'' || q == '"' {
		return l.quoted(q)
	}
	for _, s := range expressionSymbols {
		if strings.HasPrefix(l.text, s) {
			l.text = l.text[len(s):]
			return expressionToken{tokenSymbol, s}
		}
	}
	return l.until(" \t\r\n()[],<>=!&|")
}

// nextPattern reads a regular expression: up to a space, or quoted.
func (l *expressionLexer) nextPattern() expressionToken {
	l.text = strings.TrimLeft(l.text, " \t\r\n")
	if l.text == "" {
		return expressionToken{kind: tokenEnd}
	}
	if q := l.text[0]; q == '\'' || q == '"' {
		return l.quoted(q)
	}
	return l.until(" \t\r\n)")
}

func (l *expressionLexer) quoted(q byte) expressionToken {
	inner, rest, closed := strings.Cut(l.text[1:], string(q))
	l.text = rest
	if !closed {
		return expressionToken{tokenSymbol, string(q)}
	}
	return expressionToken{tokenQuoted, inner}
}

func (l *expressionLexer) until(stops string) expressionToken {
	end := strings.IndexAny(l.text, stops)
	if end < 0 {
		end = len(l.text)
	}
	if end == 0 { // a stop that is no operator of its own, such as a lone =
		end = 1
	}
	word := l.text[:end]
	l.text = l.text[end:]
	return expressionToken{tokenWord, word}
}
