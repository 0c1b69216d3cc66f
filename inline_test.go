// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mandelbox/mandelbox-operator/internal/cli"
)

var (
	// inline finds commands within a text. One that goes over the end of a line is none.
	inline = regexp.MustCompile("`((?:make|kubectl|aws|helm|go run|go test) [^`\n]+)`")
	// placeholder is what a reader puts a name in the place of.
	placeholder = regexp.MustCompile(` (?:[A-Z]+|…)(?: |$)`)
)

// inlineCommands are the commands within the texts of a page, each once.
func inlineCommands(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	fenced := false
	for _, line := range strings.Split(string(read(t, page)), "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "```") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		for _, match := range inline.FindAllStringSubmatch(line, -1) {
			if !slices.Contains(all, match[1]) {
				all = append(all, match[1])
			}
		}
	}
	return all
}

// followInline runs, or plans, the commands within the pages' texts, runbooks' among them.
func (r *reader) followInline(t *testing.T) {
	t.Helper()
	for _, page := range append(pages(t), "README.md") {
		for _, command := range inlineCommands(t, page) {
			t.Run(page+"/"+command, func(t *testing.T) { r.followInlineCommand(t, command) })
		}
	}
}

// followInlineCommand runs a command that only looks, and asks of any other what it
// would do, or whether there is such a one.
func (r *reader) followInlineCommand(t *testing.T, command string) {
	t.Helper()
	words := strings.Fields(command)
	named := strings.TrimSpace(placeholder.ReplaceAllString(command, " "))
	switch {
	case words[0] == "make":
		r.planMake(t, command)
	case words[0] == "aws":
		checkAWS(t, command, words)
	case strings.HasPrefix(command, "go run . "):
		planOperator(t, words[3:])
	case words[0] == "go":
		r.run(t, strings.Replace(command, "go test", "go list", 1))
	case words[0] != "kubectl":
		t.Errorf("nobody checks %q", command)
	case len(words) == 2 || words[1] == "mandelbox":
		r.run(t, command+" --help")
	case strings.Contains(command, " -n mandelbox-system "):
		r.checkDeployed(t, command)
	case slices.Contains([]string{"get", "describe", "explain"}, words[1]):
		r.run(t, named)
	default:
		t.Errorf("nobody checks %q", command)
	}
}

// planOperator sees that the operator's binary has such a subcommand with such flags.
func planOperator(t *testing.T, args []string) {
	t.Helper()
	var out, errs strings.Builder
	if status := cli.Run(append(args, "--help"), &out, &errs); status != 0 {
		t.Errorf("%v: %s", args, &errs)
	}
}
