// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// block is a fenced block of a page. A comment in front of it may say how it is checked
// if it can't be run, or applied, as it stands:
//
//	<!-- needs: aws -->       commands for the AWS CLI with a real account
//	<!-- needs: registry -->  commands that build, push or install images
//	<!-- needs: kubelet -->   commands that need a manager running in the cluster
//	<!-- part of: KIND NAME -->  YAML that is merged into that object of config/samples
//	<!-- for: Argo CD -->     YAML of a kind of Argo CD's
//
// What each of them means is in needs_test.go.
type block struct {
	page           string
	line           int
	language, mark string
	text           string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

var (
	mark = regexp.MustCompile(`^<!-- ((?:needs|part of|for): .+) -->$`)
	// command is what looks like one, in a block that doesn't say so.
	command = regexp.MustCompile(`(?m)^(\$ |(kubectl|aws|helm|make|docker|go|curl) \S)`)
)

// blocks are the fenced blocks of a page, in their order.
func blocks(t *testing.T, page string) []block {
	t.Helper()
	var all []block
	var open *block
	marked := ""
	indent := 0
	for i, line := range strings.Split(string(read(t, page)), "\n") {
		text := strings.TrimLeft(line, " ")
		fenced, isFence := strings.CutPrefix(text, "```")
		switch {
		case open != nil && isFence:
			all = append(all, *open)
			open = nil
		case open != nil:
			// A block in a list is as far in as the list's text is.
			open.text += line[min(indent, len(line)-len(text)):] + "\n"
		case isFence:
			open = &block{page: page, line: i + 1, language: strings.TrimSpace(fenced), mark: marked}
			marked, indent = "", len(line)-len(text)
		case mark.MatchString(text):
			marked = mark.FindStringSubmatch(text)[1]
		case text != "" && marked != "":
			t.Errorf("%s:%d: the comment %q is not in front of a block", page, i+1, marked)
			marked = ""
		}
	}
	if open != nil {
		t.Errorf("%v: the block doesn't end", open)
	}
	return all
}

// TestBlocks sees that every block of every page is of a language and with a mark that
// somebody checks, so that no command and no manifest goes by unseen.
func TestBlocks(t *testing.T) {
	kinds := map[string][]string{
		"sh":      {"", "needs: aws", "needs: registry", "needs: kubelet"},
		"yaml":    {"", "part of: region us-east-1", "part of: ami stable", "for: Argo CD"},
		"":        {""}, // What is printed, and drawings.
		"mermaid": {""},
	}
	for _, page := range append(pages(t), "README.md") {
		for _, b := range blocks(t, page) {
			if marks, known := kinds[b.language]; !known || !slices.Contains(marks, b.mark) {
				t.Errorf("%v: nobody checks a block of %q marked %q", b, b.language, b.mark)
			}
			if b.language == "" && command.MatchString(b.text) {
				t.Errorf("%v: it has a command, and doesn't say that it is one", b)
			}
		}
	}
}

// lines are the commands of a block, without its comments; those that go on in the
// next line are one.
func (b block) lines() []string {
	var all []string
	for _, line := range strings.Split(strings.ReplaceAll(b.text, "\\\n", " "), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// followPages runs the pages' commands, each block in a shell of its own, after the
// README's, and checks the marked ones as far as that is possible here.
func (r *reader) followPages(t *testing.T) {
	t.Helper()
	r.settle(t)
	for _, page := range pages(t) {
		all := blocks(t, page)
		for i, b := range all {
			if b.language != "sh" {
				continue
			}
			t.Run(fmt.Sprintf("%v/%s", b, b.lines()[0]), func(t *testing.T) {
				printed := r.followBlock(t, b)
				if page == printingPage && i+1 < len(all) && all[i+1].language == "" {
					sameTitles(t, printed, all[i+1])
				}
			})
		}
	}
}

// followBlock is what the commands of a block print, where they can be run here.
func (r *reader) followBlock(t *testing.T, b block) string {
	t.Helper()
	if b.mark != "" {
		r.checkNeedy(t, b)
		return ""
	}
	if strings.HasPrefix(b.text, "make ") {
		for _, line := range b.lines() {
			r.planMake(t, line)
		}
		return ""
	}
	if strings.Contains(b.text, "HOST=$(") {
		r.settle(t) // A host that goes anyway is not the one that the block is about.
	}
	return r.run(t, b.text)
}

// printingPage is the page that has after its commands what they print.
const printingPage = "docs/kubectl.md"

// titles finds the titles of the columns in what a command prints.
var titles = regexp.MustCompile(`(?m)^[A-Z]+( +[A-Z]+)+$`)

// sometimes are first titles of parts that are there only while something goes on.
var sometimes = []string{"ROLLOUT", "WHAT"}

// sameTitles sees that what commands print has the titles that a page says.
func sameTitles(t *testing.T, printed string, said block) {
	t.Helper()
	printed = strings.Join(strings.Fields(printed), " ")
	for _, line := range titles.FindAllString(said.text, -1) {
		words := strings.Fields(line)
		if title := strings.Join(words, " "); !slices.Contains(sometimes, words[0]) && !strings.Contains(printed, title) {
			t.Errorf("%v: its commands no longer print %q", said, title)
		}
	}
}

// settle waits until no host comes or goes that was asked to by the commands before.
func (r *reader) settle(t *testing.T) {
	t.Helper()
	r.run(t, "kubectl wait ami/stable --for=condition=RolledOut --timeout=2m")
	NewWithT(t).Eventually(func() string {
		return r.run(t, `kubectl get mbi -o jsonpath='{range .items[*]}{.status.phase}/{.status.claims[*].name}{"\n"}{end}'`)
	}).WithTimeout(patience).ShouldNot(MatchRegexp("(?m)^(PreConnection|Terminating)|^Draining/$|^/"))
}
