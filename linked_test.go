// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// TestNothingIsLinkedForPlugins holds that no dependency brings Go's package plugin,
// for whose sake the linker keeps what nobody calls, and every name: 30 MB of each
// manager's memory.
func TestNothingIsLinkedForPlugins(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	listed, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(strings.Fields(string(listed))).To(SatisfyAll(ContainElement("runtime"), Not(ContainElement("plugin"))))
}

// shipped are the tags of what is shipped.
const shipped = "shipped,grpcnotrace"

// TestWhatIsShippedHasNothingThatIsNeverCalled holds that no function in it looks up a
// method by a name that is only known at run time, as templates do: the linker would keep
// every method of every type then, such as the 800 operations of EC2's client, and each
// manager have 36 MB more of program in memory.
// See https://pkg.go.dev/reflect#Value.MethodByName.
func TestWhatIsShippedHasNothingThatIsNeverCalled(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	program := filepath.Join(t.TempDir(), "mandelbox-operator")
	var graph bytes.Buffer
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", shipped, "-ldflags=-dumpdep", "-o", program, ".")
	build.Stderr = &graph
	g.Expect(build.Run()).To(Succeed(), "%s", tail(graph.Bytes()))
	g.Expect(graph.String()).To(ContainSubstring("main.main -> "))
	g.Expect(regexp.MustCompile(`(?m)^\S+ <ReflectMethod>`).FindAllString(graph.String(), -1)).To(BeEmpty())

	help, err := exec.CommandContext(t.Context(), program, "--help").Output()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(help)).To(And(ContainSubstring("  manager "), ContainSubstring("  kubectl "), Not(ContainSubstring("  demo "))))
	said, err := exec.CommandContext(t.Context(), program, "demo", "--once").CombinedOutput()
	g.Expect(err).To(HaveOccurred())
	g.Expect(string(said)).To(ContainSubstring("run `make demo` in a clone"))
}

// tail is the end of what a program printed.
func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

func TestTheImageIsWhatIsShipped(t *testing.T) {
	g := NewWithT(t)
	for file, want := range map[string]string{"Dockerfile": "go build -tags " + shipped + " ", "Makefile": "\nSHIPPED := " + shipped + "\n"} {
		content, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(content)).To(ContainSubstring(want), file)
	}
}
