// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
)

const (
	assetsVariable = "KUBEBUILDER_ASSETS"
	modulePath     = "github.com/mandelbox/mandelbox-operator"
)

// MissingBinaryError says that a program of the control plane is not where it
// was looked for.
type MissingBinaryError struct {
	// Path is the absolute path at which the program was expected.
	Path string
}

// Error names the path and the ways to get the program there.
func (e *MissingBinaryError) Error() string {
	return fmt.Sprintf("%s is missing: `make controlplane` builds it, or set %s to a folder that has it", e.Path, assetsVariable)
}

// assets are the absolute paths of the control plane's programs.
type assets struct {
	etcd, apiServer, kubectl string
}

// findAssets looks for the programs in dir or, if that is empty, where the
// documentation of Options.AssetsDir says. kubectl may be absent.
func findAssets(dir string) (assets, error) {
	if dir == "" {
		dir = os.Getenv(assetsVariable)
	}
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return assets{}, err
		}
		dir = filepath.Join(root, "bin", "k8s")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return assets{}, fmt.Errorf("resolving the assets folder %s: %w", dir, err)
	}
	found := assets{
		etcd:      filepath.Join(dir, "etcd"),
		apiServer: filepath.Join(dir, "kube-apiserver"),
		kubectl:   filepath.Join(dir, "kubectl"),
	}
	for _, path := range []string{found.etcd, found.apiServer} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return assets{}, &MissingBinaryError{Path: path}
		} else if err != nil {
			return assets{}, fmt.Errorf("looking for %s: %w", path, err)
		}
	}
	return found, nil
}

// moduleRoot returns the folder of this repository, searched upwards from the
// working directory: the folder of their package for tests, anything for a demo.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && modfile.ModulePath(content) == modulePath {
			return dir, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("looking for the repository: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no control plane to start: %s is not set, and %s is not inside a clone of %s",
				assetsVariable, start, modulePath)
		}
	}
}
