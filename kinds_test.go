// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// kindPages are the pages of the kinds, each with the folders whose code sets the
// conditions of that kind.
var kindPages = map[string][]string{
	"Mandelbox": {"controllers/mandelbox", "internal/placement"},
	"Instance":  {"controllers/instance"},
	"AMI":       {"controllers/ami", "controllers/region/trouble"},
	"Region":    {"controllers/region", "controllers/region/trouble"},
}

// vocabulary are the condition types and reasons of api/v1alpha1.
type vocabulary struct {
	// values are the constants' values, by their names.
	values map[string]string
	// of are the names of those constants that are declared for one kind.
	of map[string][]string
	// shared are the names of those that several kinds use.
	shared []string
}

// declaredFor finds the kind in the comment of a group of constants.
var declaredFor = regexp.MustCompile(`of an? (Mandelbox|Instance|AMI|Region)\b`)

func readVocabulary(t *testing.T) vocabulary {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("api", "v1alpha1", "conditions.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	v := vocabulary{values: map[string]string{}, of: map[string][]string{}}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			constant := spec.(*ast.ValueSpec)
			name := constant.Names[0].Name
			if v.values[name], err = strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value); err != nil {
				t.Fatal(err)
			}
			if kind := declaredFor.FindStringSubmatch(group.Doc.Text()); kind != nil {
				v.of[kind[1]] = append(v.of[kind[1]], name)
			} else {
				v.shared = append(v.shared, name)
			}
		}
	}
	return v
}

// usedIn are the names of the constants that the code in the folders uses.
func usedIn(t *testing.T, folders []string) []string {
	t.Helper()
	var names []string
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(folder), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s holds no code: %v", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, match := range regexp.MustCompile(`v1alpha1\.((?:Condition|Reason)[A-Z]\w*)`).FindAllSubmatch(read(t, file), -1) {
				names = append(names, string(match[1]))
			}
		}
	}
	return names
}

// conditionRow is a row of a page's table of conditions.
type conditionRow struct{ condition, status, reason string }

// conditionRows are the rows of the section on conditions and reasons.
func conditionRows(t *testing.T, page string) []conditionRow {
	t.Helper()
	_, section, found := strings.Cut(string(read(t, page)), "\n## Conditions and reasons\n")
	if !found {
		t.Fatalf("%s has no section on conditions and reasons", page)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []conditionRow
	for _, match := range regexp.MustCompile(`(?m)^\| (\S+) \| (\w+) \| ([^|]+) \| [^|]+ \|$`).FindAllStringSubmatch(section, -1) {
		rows = append(rows, conditionRow{match[1], match[2], match[3]})
	}
	return rows[1:] // The first is the table's head.
}

// TestConditionsOfKinds compares the conditions and reasons on the page of each kind
// with the constants: none is missing, and none is made up.
func TestConditionsOfKinds(t *testing.T) {
	words := readVocabulary(t)
	anywhere := map[string]bool{}
	for kind, folders := range kindPages {
		t.Run(kind, func(t *testing.T) {
			g := NewWithT(t)
			page := filepath.Join("docs", "kinds", strings.ToLower(kind)+".md")
			listed := map[string]bool{}
			for _, row := range conditionRows(t, page) {
				for _, cell := range []struct{ text, prefix string }{{row.condition, "Condition"}, {row.reason, "Reason"}} {
					value, isConstant := strings.CutPrefix(cell.text, "`")
					if !isConstant {
						// "Event", or a reason in words: that of another condition.
						g.Expect(cell.text).To(MatchRegexp(`^(Event|\*(as|of) .*\*)$`))
						continue
					}
					name := cell.prefix + strings.TrimSuffix(value, "`")
					g.Expect(words.values).To(HaveKeyWithValue(name, strings.TrimSuffix(value, "`")), "%s has what the code doesn't", page)
					listed[name], anywhere[name] = true, true
				}
				g.Expect(row.status).To(BeElementOf("True", "False", "Unknown", "Normal", "Warning"))
			}
			g.Expect(words.of[kind]).NotTo(BeEmpty())
			for _, name := range append(words.of[kind], usedIn(t, folders)...) {
				g.Expect(listed).To(HaveKey(name), "%s lacks it", page)
			}
			for _, name := range []string{"ConditionReady", "ConditionReconciling", "ConditionStalled"} {
				g.Expect(listed).To(HaveKey(name), "%s lacks it", page)
			}
		})
	}
	for _, name := range words.shared {
		if !anywhere[name] {
			t.Errorf("no page tells of %s", name)
		}
	}
}
