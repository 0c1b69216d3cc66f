// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !shipped

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/bench"
)

// newBenchCommand makes the subcommand that measures the operator.
func newBenchCommand() *cobra.Command {
	var o bench.Options
	names, whats := bench.Names()
	var list strings.Builder
	for i, name := range names {
		fmt.Fprintf(&list, "  %-10s %s\n", name, whats[i])
	}
	cmd := &cobra.Command{
		Use:   "bench NAME",
		Short: "Measure the operator, every figure beside its ceiling",
		Long: `Start a control plane, a local AWS and the manager, each a process of its own, and
measure one of

` + list.String() + `
It tells how it goes, then prints a table of what was measured beside its ceiling from
the same run, and last a line "RESULT key=value ...". docs/performance.md says what each
figure means.`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Out = cmd.OutOrStdout()
			return bench.Run(cmd.Context(), args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Only, "only", nil, "the parts to run, of a benchmark that has several; all by default")
	flags.IntVar(&o.Sessions, "sessions", 0, "how many sessions each part of assign has, in place of the usual number")
	flags.BoolVar(&o.Small, "small", false, "run at sizes that take seconds, to see that it works and not to measure")
	flags.StringVar(&o.Result, "result", "", "file that the line of the result is written to, too")
	flags.StringVar(&o.Program, "program", "", "program whose manager is measured; this one by default")
	flags.StringVar(&o.Log, "log", "", "file that the manager's log is appended to")
	flags.StringVar(&o.Profiles, "profiles", "", "folder that processor profiles of the manager are written to")
	return cmd
}
