// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// In a manifest, a mark stands where Helm has something to say; marked manifests are
// encoded as YAML, and then their marks are replaced. There are five:
//
//	value: HELM<= expression>  an expression, also within a longer string
//	field: HELM<yaml path>     the value at the path, whatever it is
//	field: HELM<with path>     the same, and no field where the value is empty
//	any: HELM<entries path>    the entries of a map at the path, beside their neighbours
//	- HELM<items path>         the items of a list at the path, after their neighbours
var (
	expressionMark = regexp.MustCompile(`HELM<= ([^>]+)>`)
	yamlMark       = regexp.MustCompile(`(?m)^( *)((?:- )?)([^\s:]+): HELM<yaml (\S+)>$`)
	withMark       = regexp.MustCompile(`(?m)^( *)([^\s:]+): HELM<with (\S+)>$`)
	entriesMark    = regexp.MustCompile(`(?m)^( *)[^\s:]+: HELM<entries (\S+)>$`)
	itemsMark      = regexp.MustCompile(`(?m)^( *)- HELM<items (\S+)>$`)
)

// expression, whole, optional, entries and more make marks.
func expression(e string) string  { return "HELM<= " + e + ">" }
func whole(path string) string    { return "HELM<yaml " + path + ">" }
func optional(path string) string { return "HELM<with " + path + ">" }
func entries(path string) string  { return "HELM<entries " + path + ">" }
func more(path string) string     { return "HELM<items " + path + ">" }

// template encodes a marked manifest as a template.
func template(o object) (string, error) {
	encoded, err := yaml.Marshal(o)
	if err != nil {
		return "", err
	}
	content := string(encoded)
	if strings.Contains(content, "{{") {
		return "", fmt.Errorf("%s %s has what Helm would take for a template", o.kind(), o.name())
	}
	content = expressionMark.ReplaceAllString(content, "{{ $1 }}")
	content = replaceIndented(yamlMark, content, func(m []string, n int) string {
		return fmt.Sprintf("%s%s%s: {{- toYaml .Values.%s | nindent %d }}", m[1], m[2], m[3], m[4], n+len(m[2])+2)
	})
	content = replaceIndented(withMark, content, func(m []string, n int) string {
		return fmt.Sprintf("%s{{- with .Values.%s }}\n%s%s: {{- toYaml . | nindent %d }}\n%s{{- end }}", m[1], m[3], m[1], m[2], n+2, m[1])
	})
	list := func(m []string, n int) string {
		return fmt.Sprintf("%s{{- with .Values.%s }}\n%s{{- toYaml . | nindent %d }}\n%s{{- end }}", m[1], m[2], m[1], n, m[1])
	}
	content = replaceIndented(entriesMark, content, list)
	content = replaceIndented(itemsMark, content, list)
	if strings.Contains(content, "HELM<") {
		return "", fmt.Errorf("a mark is left in %s %s", o.kind(), o.name())
	}
	return content, nil
}

// replaceIndented replaces each match, whose first group is its indentation.
func replaceIndented(mark *regexp.Regexp, content string, by func(match []string, indentation int) string) string {
	return mark.ReplaceAllStringFunc(content, func(line string) string {
		match := mark.FindStringSubmatch(line)
		return by(match, len(match[1]))
	})
}

// onlyIf has a template render nothing unless the value at the path is true.
func onlyIf(path, content string) string {
	return "{{- if .Values." + path + " }}\n" + content + "{{- end }}\n"
}

// everywhere replaces a string wherever it is a value of its own.
func everywhere(v any, old, by string) any {
	switch value := v.(type) {
	case string:
		if value == old {
			return by
		}
	case map[string]any:
		for key, item := range value {
			value[key] = everywhere(item, old, by)
		}
	case []any:
		for i, item := range value {
			value[i] = everywhere(item, old, by)
		}
	}
	return v
}
