// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	const budget = 160 << 20
	for _, tt := range []struct {
		name  string
		inUse uint64
		want  int
	}{
		{"before the first collection", 0, 400},
		{"a small fleet", 20 << 20, 400},
		{"a fifth of the budget", 32 << 20, 400},
		{"half of the budget", 80 << 20, 100},
		{"three quarters", 120 << 20, 40},
		{"nearly all", 159 << 20, 40},
		{"the budget", budget, 40},
		{"more than it", 4 * budget, 40},
		{"more than could be", math.MaxUint64, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := percent(tt.inUse, budget); got != tt.want {
				t.Errorf("percent(%d, %d) = %d, want %d", tt.inUse, uint64(budget), got, tt.want)
			}
		})
	}
}

// percentNow is what the collector goes by.
func percentNow() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// The percentage follows what is in use, from one collection to the next, both ways.
func TestPaceFollowsTheHeap(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	Pace(64 << 20)
	awaitPercent(t, 400)
	whileInUse(t, 60<<20, 40)
	awaitPercent(t, 400)
}

// whileInUse awaits a percentage while so many bytes more are in use.
func whileInUse(t *testing.T, size int, want uint64) {
	t.Helper()
	caches := make([]byte, size)
	awaitPercent(t, want)
	runtime.KeepAlive(caches)
}

// awaitPercent collects until the percentage is as wanted.
func awaitPercent(t *testing.T, want uint64) {
	t.Helper()
	for range 500 {
		if percentNow() == want {
			return
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // Cleanups run on a goroutine of their own.
	}
	t.Errorf("the collector's percentage is %d, want %d", percentNow(), want)
}
