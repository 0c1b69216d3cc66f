// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readFirst are the pages whose commands are run first, in this order, since they
// go on from one another; the others follow by name.
var readFirst = []string{"docs/capacity.md", "docs/releases.md", "docs/hosts.md"}

// pages are all pages but the README, in the order in which their commands are run.
func pages(t *testing.T) []string {
	t.Helper()
	all := slices.Clone(readFirst)
	err := filepath.WalkDir("docs", func(path string, _ fs.DirEntry, err error) error {
		if path = filepath.ToSlash(path); strings.HasSuffix(path, ".md") && !slices.Contains(readFirst, path) {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return append(all, "CONTRIBUTING.md", "SECURITY.md")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

var (
	// link finds the links in Markdown, with the part of a page that they point to.
	link = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?\)`)
	// folder finds the folders in the README's table of them.
	folder = regexp.MustCompile("`([a-z0-9/]+/)`")
	// code finds what is set as code in a line, where a bracket is no link's.
	code = regexp.MustCompile("`[^`\n]*`")
	// heading finds the headings, and fence the blocks that have none.
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
)

// missing finds what stands for a text that is still to be written.
var missing = regexp.MustCompile(`(?m)^[A-Z]{4,}$|\b(?:TODO|TBD|FIXME)\b`)

// TestNothingIsStillToBeWritten sees that no page was left with a gap.
func TestNothingIsStillToBeWritten(t *testing.T) {
	t.Parallel()
	for _, page := range append(pages(t), "README.md") {
		if gaps := missing.FindAllString(string(fence.ReplaceAll(read(t, page), nil)), -1); len(gaps) > 0 {
			t.Errorf("%s has gaps: %q", page, gaps)
		}
	}
}

// TestLinks sees that what the pages point to in this repository is there, down to the
// heading, that the README's table of folders is right, and that every page can be
// reached from the README.
func TestLinks(t *testing.T) {
	reached := map[string]bool{}
	for _, page := range append(pages(t), "README.md") {
		content := code.ReplaceAll(fence.ReplaceAll(read(t, page), nil), []byte("code"))
		for _, match := range link.FindAllSubmatch(content, -1) {
			target, part := string(match[1]), string(match[2])
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path := page
			if target != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(page), target))
			}
			reached[path] = reached[path] || path != page
			if _, err := os.Stat(filepath.FromSlash(path)); err != nil {
				t.Errorf("%s points to %s: %v", page, target, err)
			} else if part != "" && !slices.Contains(anchors(read(t, path)), part) {
				t.Errorf("%s points to %s#%s, and there is no such heading", page, path, part)
			}
		}
	}
	for _, match := range folder.FindAllSubmatch(read(t, "README.md"), -1) {
		if _, err := os.Stat(filepath.FromSlash(string(match[1]))); err != nil {
			t.Errorf("the README names the folder %s: %v", match[1], err)
		}
	}
	for _, page := range pages(t) {
		runbooks := strings.HasPrefix(page, "docs/runbooks/") && reached["docs/runbooks"]
		if !reached[page] && !runbooks {
			t.Errorf("no page leads to %s", page)
		}
	}
}

// anchors are the names by which a page's headings are pointed to on GitHub.
func anchors(content []byte) []string {
	var all []string
	drop := regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
	for _, match := range heading.FindAllSubmatch(fence.ReplaceAll(content, nil), -1) {
		text := link.ReplaceAllString(string(match[1]), "]")
		text = drop.ReplaceAllString(strings.ToLower(text), "")
		all = append(all, strings.ReplaceAll(strings.TrimSpace(text), " ", "-"))
	}
	return all
}
