// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"runtime"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/spf13/cobra"
)

func TestVersionIsTheLinkedOne(t *testing.T) {
	g := NewWithT(t)
	defer func(before string) { version = before }(version)
	version = "v1.2.3"
	var stdout, stderr bytes.Buffer
	g.Expect(Run([]string{"version"}, &stdout, &stderr)).To(BeZero())
	g.Expect(stdout.String()).To(Equal(fmt.Sprintf("mandelbox-operator v1.2.3 (%s, %s/%s)\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH)))
	g.Expect(stderr.String()).To(BeEmpty())

	version = ""
	g.Expect(Version()).NotTo(BeEmpty(), "the Go tool records one for every binary")
}

func TestAFailureIsToldOnce(t *testing.T) {
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	g.Expect(Run([]string{"no-such-command"}, &stdout, &stderr)).To(Equal(1))
	g.Expect(stdout.String()).To(BeEmpty())
	g.Expect(stderr.String()).To(HavePrefix(`mandelbox-operator: unknown command "no-such-command"`))
	g.Expect(stderr.String()).NotTo(ContainSubstring("Usage:"))
}

func TestALogOfWholeObjectsIsRefused(t *testing.T) {
	for _, verbosity := range []string{"8", "-1"} {
		g := NewWithT(t)
		var stdout, stderr bytes.Buffer
		g.Expect(Run([]string{"manager", "--verbosity=" + verbosity}, &stdout, &stderr)).To(Equal(1))
		g.Expect(stderr.String()).To(ContainSubstring("--verbosity is from 0 to 7"))
	}
}

func TestALaunchIsWaitedFor(t *testing.T) {
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	g.Expect(Run([]string{"manager", "--launch-timeout=0s"}, &stdout, &stderr)).To(Equal(1))
	g.Expect(stderr.String()).To(ContainSubstring("--launch-timeout is 0s"))
}

func TestTheNameOfTheBinaryMakesItThePlugin(t *testing.T) {
	for name, tc := range map[string]struct {
		program      string
		args         []string
		want, absent string
	}{
		"the operator":       {"/bin/mandelbox-operator", []string{"--help"}, "mandelbox-operator [command]", "undrain"},
		"the plugin":         {"/bin/kubectl-mandelbox", []string{"--help"}, "kubectl mandelbox [command]", "mandelbox-operator"},
		"its completion":     {"/bin/kubectl_complete-mandelbox", []string{"stat"}, "status\t", "Usage:"},
		"also as subcommand": {"mandelbox-operator", []string{"kubectl", "tree", "--help"}, "mandelbox-operator kubectl tree", "undrain"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var stdout, stderr bytes.Buffer
			g.Expect(RunAs(tc.program, tc.args, &stdout, &stderr)).To(BeZero())
			g.Expect(stdout.String()).To(And(ContainSubstring(tc.want), Not(ContainSubstring(tc.absent))))
		})
	}
}

func TestASignalEndsTheCommand(t *testing.T) {
	g := NewWithT(t)
	var stdout, stderr bytes.Buffer
	wait := &cobra.Command{Use: "wait", RunE: func(cmd *cobra.Command, _ []string) error {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-cmd.Context().Done()
		return fmt.Errorf("waiting: %w", cmd.Context().Err())
	}}
	root := newRootCommand()
	root.AddCommand(wait)
	g.Expect(run(root, []string{"wait"}, &stdout, &stderr)).To(BeZero())
	g.Expect(stderr.String()).To(BeEmpty())
}
