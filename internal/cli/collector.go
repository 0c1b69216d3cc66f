// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"runtime"
	"runtime/debug"
)

// Nearly all that a manager has in use is its caches, which grow with the fleet: 100
// MB with 2,000 hosts. How much garbage there may be before it is collected is made of
// a part for each fleet, so that a small one's heap isn't collected several times a
// second, and one in proportion, which is less than Go's 100 %, for the large one's.
const (
	// ballast is counted as in use by the collector and is never touched, so that it
	// takes no memory. See https://go.dev/doc/gc-guide.
	ballast = 128 << 20
	// gcPercent is how much garbage there may be to what is in use: 64 MB and a
	// half.
	gcPercent = 50
)

// paceCollector sets how often garbage is collected, unless the environment does, by
// GOGC or GOMEMLIMIT. The function it returns ends that.
func paceCollector() func() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	percent := debug.SetGCPercent(gcPercent)
	weight := make([]byte, ballast)
	return func() {
		runtime.KeepAlive(weight)
		debug.SetGCPercent(percent)
	}
}
