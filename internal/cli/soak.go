// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !shipped

package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/soak"
)

// newSoakCommand makes the subcommand that holds the operator to its promises.
func newSoakCommand() *cobra.Command {
	var o soak.Options
	var minutes float64
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Run the operator for long, with all that can go wrong, and check its promises",
		Long: `Start a control plane, a local AWS and the manager as a process of its own. Users
arrive and leave, releases roll, hosts die, AWS throttles, loses answers and lags, and
the manager is killed, by a plan that is a function of the seed, while a checker reads
every version of every object and what runs in the local AWS. In the end all must be
idle, and then everything is deleted and nothing must be left. The exit status is not
0 if a promise was broken. Ctrl-C ends it early, in order.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out = cmd.OutOrStdout()
			o.Duration = time.Duration(minutes * float64(time.Minute))
			_, err := soak.Run(cmd.Context(), o)
			return err
		},
	}
	flags := cmd.Flags()
	flags.Float64Var(&minutes, "minutes", 30, "how long users arrive and faults happen")
	flags.Uint64Var(&o.Seed, "seed", 1, "what the plan is a function of")
	flags.IntVar(&o.Regions, "regions", 3, "how many regions there are, at most 6")
	flags.Float64Var(&o.Rate, "rate", 2, "how many users arrive each second")
	flags.BoolVar(&o.JSON, "json", false, "write an object a line instead of text")
	flags.BoolVar(&o.Plan, "plan", false, "print the plan and do nothing")
	flags.StringVar(&o.Log, "log", "", "file that the manager's log is written to")
	flags.StringVar(&o.Plant, "plant", "", "plant a bug that the checker must find: "+strings.Join(soak.Plants(), ", "))
	return cmd
}
