// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !shipped

package cli

import "github.com/spf13/cobra"

// workshop are the commands that start a control plane, which has to be built from this
// repository first. What is shipped is built with the tag "shipped", and without them:
// what starts a control plane fills templates in, for whose sake the linker keeps every
// method of every type, such as the 800 operations of EC2's client.
func workshop() []*cobra.Command {
	return []*cobra.Command{newDemoCommand(), newSoakCommand(), newCrashTestCommand(), newBenchCommand()}
}
