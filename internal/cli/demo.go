// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !shipped

package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/cli/demo"
)

// newDemoCommand makes the subcommand that shows the whole line on one machine.
func newDemoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole line on this machine, and show it",
		Long: `Start a control plane, a local AWS and the manager, apply the sample objects, and
show how hosts boot and sessions come to run on them; then roll a release out while
users come and go; and stay until Ctrl-C. Nothing is left behind. etcd and kube-apiserver are taken from KUBEBUILDER_ASSETS, or from bin/k8s in
this repository, where "make controlplane" puts them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out = cmd.OutOrStdout()
			return demo.Run(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.Once, "once", false, "delete a session, compare AWS with the API server, and end after the last act")
	flags.IntVar(&o.Acts, "acts", 2, "how many acts: 1 is the samples alone, 2 adds a release that rolls out under load")
	flags.DurationVar(&o.Timeout, "timeout", 5*time.Minute, "how long --once may take")
	flags.StringVar(&o.AWSListen, "aws-listen", "", "address of the local AWS (default 127.0.0.1:4566, or any port if that is taken)")
	flags.BoolVar(&o.Verbose, "verbose", false, "tell where the manager's log is")
	return cmd
}
