// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !shipped

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/crashtest"
)

// newCrashTestCommand makes the subcommand that kills the operator at every write.
func newCrashTestCommand() *cobra.Command {
	var o crashtest.Options
	cmd := &cobra.Command{
		Use:   "crashtest",
		Short: "Kill the operator at every write that it makes, and see that it comes through",
		Long: `Start control planes and, for each plan, a local AWS and the manager as a process of its
own, with proxies between them. A story is played undisturbed first: a region and a
channel come up, sessions come, end and are deleted, a host is drained, a release is
rolled out, a host dies, the fleet shrinks. Then it is played again for each plan, and
at one of the manager's mutating calls, to Kubernetes or to AWS, the manager gets a
SIGKILL before the call, after it took effect and before it is answered, or right
after; or the call is refused, or its answer lost; or reads are stale, or watch events
are missed. In the end all must be as in the undisturbed run, each thing must be there
exactly once, nothing may be written in a second, and everything must let itself be
deleted. The exit status is not 0 if any of it was broken.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out = cmd.OutOrStdout()
			_, err := crashtest.Run(cmd.Context(), o)
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Plans, "plans", 1000, "how many plans to run")
	flags.Uint64Var(&o.Seed, "seed", 1, "what the choice of plans is a function of")
	flags.StringArrayVar(&o.Only, "only", nil, "run only the plan of this name; may be repeated")
	flags.IntVar(&o.Parallel, "parallel", 2, "how many plans run at a time, each on a control plane of its own")
	flags.StringVar(&o.Plant, "plant", "", "plant a bug that must be found: "+strings.Join(crashtest.Plants(), ", "))
	flags.BoolVar(&o.List, "list", false, "play the story undisturbed, and print its calls and the plans")
	flags.BoolVar(&o.Verbose, "verbose", false, "print each plan's result")
	return cmd
}
