// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mandelbox/mandelbox-operator/internal/cli"
)

// plugin is the name by which kubectl finds the plugin on the PATH.
const plugin = "kubectl-mandelbox"

// TestMain has the test's own program be the kubectl plugin where it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == plugin {
		os.Exit(cli.RunAs(os.Args[0], os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// pluginFolder is a folder to put on the PATH, in which the plugin is.
func pluginFolder(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(program, filepath.Join(folder, plugin)); err != nil {
		t.Fatal(err)
	}
	return folder
}
