// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mandelbox/mandelbox-operator/internal/bench"
	"github.com/mandelbox/mandelbox-operator/internal/cli"
)

// asOperator in the environment has the test's own binary be the operator's.
const asOperator = "BENCH_TEST_AS_OPERATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asOperator) != "" {
		os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr))
	}
	if err := os.Setenv(asOperator, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// small runs a benchmark at its small size and returns its result.
func small(t *testing.T, name string) map[string]string {
	t.Helper()
	var out bytes.Buffer
	if err := bench.Run(t.Context(), name, bench.Options{Out: &out, Small: true}); err != nil {
		t.Fatalf("%v; it said:\n%s", err, &out)
	}
	t.Log(out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	result, err := bench.ParseResult(lines[len(lines)-1])
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// number is a value of a result that must be a number above zero.
func number(t *testing.T, result map[string]string, key string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(result[key], 64)
	if err != nil || n <= 0 {
		t.Errorf("%s is %q, want a number above 0", key, result[key])
	}
	return n
}

// numbers are values of a result that must each be a number above zero.
func numbers(t *testing.T, result map[string]string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		number(t, result, key)
	}
}

func TestAssign(t *testing.T) {
	t.Parallel()
	result := small(t, "assign")
	numbers(t, result,
		"backlog_per_s", "backlog_bare_per_s", "backlog_ratio",
		"closed_per_s", "closed_bare_per_s", "closed_ratio", "closed_p50_ms", "closed_p99_ms", "closed_bare_p99_ms",
		"steady_p50_ms", "steady_bare_p50_ms", "steady_p99_ms", "steady_bare_p99_ms", "curve_64_per_s")
	if writes := number(t, result, "writes_per_session"); writes > 4.2 {
		t.Errorf("a session takes %.2f writes from its creation to Running, want at most 4.2", writes)
	}
}

func TestLaunch(t *testing.T) {
	t.Parallel()
	result := small(t, "launch")
	numbers(t, result, "calls", "active_s", "minimum_s", "time_ratio")
	if calls := number(t, result, "mutating_calls"); calls > 6 {
		t.Errorf("%.0f calls launched 20 hosts in three zones, want little more than one for each zone", calls)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	result := small(t, "idle")
	numbers(t, result, "pages_per_interval", "rss_mb")
	if result["k8s_writes"] != "0" {
		t.Errorf("an idle fleet was written to %s times", result["k8s_writes"])
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	numbers(t, small(t, "scale"), "p99_ms_0", "p99_ms_2", "create_p99_ms_2", "rss_mb_2", "decision_ns_100", "decision_ns_100000")
}

func TestFailover(t *testing.T) {
	t.Parallel()
	numbers(t, small(t, "failover"), "killed_s", "stopped_s", "cold_s")
}

// A folder for profiles that is missing is found out at the start, not at the end.
func TestProfilesGetTheirFolder(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	folder := filepath.Join(t.TempDir(), "not", "there")
	if err := bench.Run(ended, "idle", bench.Options{Out: io.Discard, Small: true, Profiles: folder}); !errors.Is(err, context.Canceled) {
		t.Errorf("the run ended with %v", err)
	}
	if _, err := os.Stat(folder); err != nil {
		t.Error(err)
	}
}

func TestParseResult(t *testing.T) {
	for line, want := range map[string]string{
		"RESULT bench=x a=1":   "",
		"bench=x":              "is no result",
		"RESULT bench=x a":     "is no key=value",
		"RESULT bench=x a= b=": "is no key=value",
	} {
		result, err := bench.ParseResult(line)
		switch {
		case want == "" && (err != nil || result["bench"] != "x" || result["a"] != "1"):
			t.Errorf("%q is read as %v, %v", line, result, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q is read with error %v, want one that says %q", line, err, want)
		}
	}
}
