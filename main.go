// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command mandelbox-operator keeps fleets of warm EC2 hosts and puts each user's
// Mandelbox onto one of them; its subcommands are the manager and its tools.
package main

import (
	"os"

	"github.com/mandelbox/mandelbox-operator/internal/cli"
)

func main() {
	os.Exit(cli.RunAs(os.Args[0], os.Args[1:], os.Stdout, os.Stderr))
}
