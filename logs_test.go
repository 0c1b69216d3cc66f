// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// notTheManager are packages whose lines nobody collects: those of the demo, the soak
// and the local AWS.
var notTheManager = []string{"awsemu", "bench", "checker", "controlplane", "crashtest", "demo", "soak", "fleettest"}

// TestLogKeys compares the keys that the manager logs with those that docs/logs.md
// promises.
func TestLogKeys(t *testing.T) {
	g := NewWithT(t)
	content, err := os.ReadFile(filepath.Join("docs", "logs.md"))
	g.Expect(err).NotTo(HaveOccurred())
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllStringSubmatch(string(content), -1) {
		for _, key := range strings.Split(row[1], ", ") {
			documented[strings.Trim(key, "`")] = true
		}
	}
	used := logKeys(t, "controllers", "internal")
	g.Expect(used).NotTo(BeEmpty())
	for key, where := range used {
		g.Expect(documented).To(HaveKey(key), "%s logs it, and docs/logs.md doesn't tell of it", where)
	}
}

// logKeys are the keys of all lines that the code of some folders logs, and where.
func logKeys(t *testing.T, folders ...string) map[string]token.Position {
	t.Helper()
	files, keys := token.NewFileSet(), map[string]token.Position{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			for _, name := range notTheManager {
				if entry.IsDir() && entry.Name() == name {
					return filepath.SkipDir
				}
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				for _, key := range keysOf(t, node) {
					keys[key] = files.Position(node.Pos())
				}
				return true
			})
			return nil
		})
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
	}
	return keys
}

// keysOf are the keys of a call of logr's Info(message, key, value...), Error(err,
// message, key, value...) or WithValues(key, value...).
func keysOf(t *testing.T, node ast.Node) (keys []string) {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return nil
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	first, ok := map[string]int{"Info": 1, "Error": 2, "WithValues": 0}[method.Sel.Name]
	if !ok || len(call.Args) < first {
		return nil
	}
	for i := first; i < len(call.Args); i += 2 {
		literal, ok := call.Args[i].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return nil // Something else is called so.
		}
		key, err := strconv.Unquote(literal.Value)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		keys = append(keys, key)
	}
	return keys
}
