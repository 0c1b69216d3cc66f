// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// TestNothingIsLinkedForPlugins holds that no dependency brings Go's package plugin,
// for whose sake the linker keeps what nobody calls, and every name: 30 MB of each
// manager's memory.
func TestNothingIsLinkedForPlugins(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	listed, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(strings.Fields(string(listed))).To(SatisfyAll(ContainElement("runtime"), Not(ContainElement("plugin"))))
}
