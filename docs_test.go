// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// pages are those in docs/ whose commands are run, in this order.
var pages = []string{"capacity.md", "releases.md", "hosts.md"}

// followPages runs the pages' commands, each block in a shell of its own, after the
// README's.
func (r *reader) followPages(t *testing.T) {
	t.Helper()
	r.settle(t)
	for _, page := range pages {
		blocks := shellBlocks.FindAllSubmatch(read(t, filepath.Join("docs", page)), -1)
		if len(blocks) == 0 {
			t.Errorf("docs/%s has no commands", page)
		}
		for _, block := range blocks {
			first, _, _ := strings.Cut(string(block[1]), "\n")
			t.Run(page+"/"+first, func(t *testing.T) { r.run(t, string(block[1])) })
		}
	}
}

// settle waits until no host comes or goes that was asked to by the commands before.
func (r *reader) settle(t *testing.T) {
	t.Helper()
	r.run(t, "kubectl wait ami/stable --for=condition=RolledOut --timeout=2m")
	NewWithT(t).Eventually(func() string {
		return r.run(t, "kubectl get mbi -o jsonpath='{.items[*].status.phase}'")
	}).WithTimeout(patience).ShouldNot(MatchRegexp("PreConnection|Terminating"))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// link finds the links in Markdown.
var link = regexp.MustCompile(`\]\(([^)#]+)\)`)

// TestLinks sees that what the README and the pages in docs/ point to in this
// repository is there, and that the README's table of folders is right.
func TestLinks(t *testing.T) {
	inDocs, err := filepath.Glob(filepath.Join("docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(inDocs, "README.md") {
		content := read(t, page)
		targets := link.FindAllSubmatch(content, -1)
		if page == "README.md" {
			targets = append(targets, regexp.MustCompile("`([a-z0-9/]+/)`").FindAllSubmatch(content, -1)...)
		}
		for _, match := range targets {
			target := string(match[1])
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s points to %s: %v", page, target, err)
			}
		}
	}
}
