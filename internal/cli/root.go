// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli holds the subcommands of the one binary. Each has a file of its
// own that turns flags into the options of a package that does the work.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/cli/kubectl"
)

// Run runs the subcommand that args name and returns the exit status of the
// process: 0 if it did what it was asked, 1 if it failed, with the reason on
// stderr.
//
// The first SIGINT or SIGTERM ends the command's context, so that it can shut
// down in order, which counts as success; a second one ends the process at once.
func Run(args []string, stdout, stderr io.Writer) int {
	return run(newRootCommand(), args, stdout, stderr)
}

// The names under which kubectl calls the binary as its plugin, and asks it to
// complete a command line. See https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/.
const (
	pluginName         = "kubectl-mandelbox"
	pluginCompleteName = "kubectl_complete-mandelbox"
)

// RunAs is Run under the name by which the program was called: under that of the
// kubectl plugin it is the plugin.
func RunAs(program string, args []string, stdout, stderr io.Writer) int {
	switch strings.TrimSuffix(filepath.Base(program), ".exe") {
	case pluginName:
		return run(kubectl.New(pluginName, Version()), args, stdout, stderr)
	case pluginCompleteName:
		return run(kubectl.New(pluginName, Version()), append([]string{cobra.ShellCompRequestCmd}, args...), stdout, stderr)
	}
	return Run(args, stdout, stderr)
}

func run(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Once the first signal is here, further ones have their usual effect again.
	context.AfterFunc(ctx, stop)

	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return 0
	}
	// Nothing is left to tell if even stderr is gone.
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", root.DisplayName(), err)
	return 1
}

// newRootCommand lists the subcommands.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mandelbox-operator",
		Short: "Run users' sessions on fleets of warm EC2 hosts, the Kubernetes way",
		Long: `Mandelbox Operator keeps a fleet of warm EC2 hosts in every region and puts each
user's session, a Mandelbox, onto one of them within a moment of being asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// An error is told once, by Run, and is seldom about the flags.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		newManagerCommand(),
		kubectl.New("kubectl", Version()),
		newAWSCommand(),
		newVersionCommand(),
	)
	root.AddCommand(workshop()...)
	return root
}
