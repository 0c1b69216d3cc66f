// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"os"
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

func TestAssign(t *testing.T) {
	result := small(t, "assign")
	for _, key := range []string{
		"backlog_per_s", "backlog_bare_per_s", "backlog_ratio",
		"closed_per_s", "closed_bare_per_s", "closed_ratio", "closed_p50_ms", "closed_p99_ms", "closed_bare_p99_ms",
		"steady_p50_ms", "steady_bare_p50_ms", "steady_p99_ms", "steady_bare_p99_ms",
	} {
		number(t, result, key)
	}
	if writes := number(t, result, "writes_per_session"); writes > 4.2 {
		t.Errorf("a session takes %.2f writes from its creation to Running, want at most 4.2", writes)
	}
}
