// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package collector paces Go's garbage collector by a budget. Most of what the manager
// has in use is its caches, which grow with the fleet: a small fleet leaves room for
// much garbage between two collections, and a large one doesn't.
//
// A memory limit (GOMEMLIMIT) would do the same below it, but beyond it the collector
// runs without a pause; see https://go.dev/doc/gc-guide#Memory_limit. Here a fleet
// that outgrows the budget is collected as often as its percentage says, and no more.
package collector

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Budget is what the heap is to stay within while it can, in bytes: with it, a fleet of
// 2,000 hosts and 16,000 sessions fits into 300 MB with all that isn't heap.
const Budget = 160 << 20

// Least and most garbage there may be to what is in use, in percent, as GOGC has it.
const (
	leastPercent = 40
	mostPercent  = 400
)

// live is the heap that the last collection found in use, in bytes.
// See https://pkg.go.dev/runtime/metrics#hdr-Supported_metrics.
const live = "/gc/heap/live:bytes"

// sentinel is garbage from its first moment: that it is collected says that a
// collection took place. It has a pointer, for what has none may share its block with
// others that live on; see https://pkg.go.dev/runtime#AddCleanup.
type sentinel struct{ _ *sentinel }

// Pace has the heap stay within the budget from now on, for the life of the process:
// after each collection it sets how much garbage there may be until the next.
func Pace(budget uint64) {
	debug.SetGCPercent(percent(inUse(), budget))
	runtime.AddCleanup(&sentinel{}, Pace, budget)
}

// inUse reads the heap that is in use; 0 before the first collection.
func inUse() uint64 {
	sample := []metrics.Sample{{Name: live}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// percent is how much garbage fits into the budget beside what is in use.
func percent(inUse, budget uint64) int {
	if inUse >= budget {
		return leastPercent
	}
	fits := float64(budget-inUse) / float64(max(inUse, 1)) * 100
	return int(min(max(fits, leastPercent), mostPercent))
}
