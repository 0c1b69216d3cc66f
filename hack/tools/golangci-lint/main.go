// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command golangci-lint is golangci-lint with the Kubernetes API linter linked
// in. golangci-lint's own way to add a module plugin clones its repository and
// builds that; here both are modules pinned in a go.mod, like every other tool.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"

	// Registers the linter that .golangci.yml calls kubeapilinter.
	_ "sigs.k8s.io/kube-api-linter"
)

const linterModule = "github.com/golangci/golangci-lint/v2"

func main() {
	if err := commands.Execute(buildInfo()); err != nil {
		fmt.Fprintf(os.Stderr, "golangci-lint: %v\n", err)
		os.Exit(exitcodes.Failure)
	}
}

// buildInfo describes the golangci-lint that was linked in. Its version is the
// one that `golangci-lint config verify` and the cache of results go by.
func buildInfo() commands.BuildInfo {
	described := commands.BuildInfo{Version: "unknown", Commit: "unknown", Date: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return described
	}
	described.GoVersion = info.GoVersion
	for _, module := range info.Deps {
		if module.Path == linterModule {
			described.Version = strings.TrimPrefix(module.Version, "v")
			described.Commit = module.Sum
		}
	}
	return described
}
