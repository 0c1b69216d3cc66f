// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command reference writes the pages of docs/reference: the fields of the four kinds, as
// the CRDs have them, and the flags of the manager: reference FOLDER.
//
// It knows nothing of its own about a field or a flag; what a page lacks is to be said
// where the field or the flag is defined.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: reference FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// write writes both pages into a folder, which is made if it isn't there.
func write(folder string) error {
	definitions, err := crd.Definitions()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	pages := map[string]string{
		"api.md":   apiPage(definitions),
		"flags.md": flagsPage(cli.ManagerFlags()),
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing a page: %w", err)
		}
	}
	return nil
}
