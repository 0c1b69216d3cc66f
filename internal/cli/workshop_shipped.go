// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build shipped

package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// workshop are the commands that a clone of the repository is needed for: here they say so.
func workshop() []*cobra.Command {
	var commands []*cobra.Command
	for _, name := range []string{"demo", "soak", "crashtest", "bench"} {
		commands = append(commands, &cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("%s starts a control plane that is built from the repository: run `make %s` in a clone of it", name, name)
			},
		})
	}
	return commands
}
