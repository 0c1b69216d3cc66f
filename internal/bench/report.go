// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// ResultPrefix begins the last line of every benchmark.
const ResultPrefix = "RESULT "

// result is what the last line says: key=value, in the order in which they were set.
type result struct{ pairs []string }

// set adds a pair; the value must have no space in it.
func (r *result) set(key, format string, value ...any) {
	r.pairs = append(r.pairs, key+"="+fmt.Sprintf(format, value...))
}

// String is the line.
func (r result) String() string { return ResultPrefix + strings.Join(r.pairs, " ") }

// ParseResult reads a result line.
func ParseResult(line string) (map[string]string, error) {
	rest, ok := strings.CutPrefix(line, ResultPrefix)
	if !ok {
		return nil, fmt.Errorf("%q is no result: it doesn't begin with %q", line, ResultPrefix)
	}
	values := map[string]string{}
	for pair := range strings.FieldsSeq(rest) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("%q in a result is no key=value", pair)
		}
		values[key] = value
	}
	return values, nil
}

// table is what people read: a figure, its ceiling, how they compare, and the bar.
type table struct{ rows [][5]string }

// add adds a row. A comparison that misses its bar is marked.
func (t *table) add(what, figure, ceiling, comparison, bar string) {
	t.rows = append(t.rows, [5]string{what, figure, ceiling, comparison, bar})
}

// print writes the table and the result.
func (r *run) print() {
	_, _ = fmt.Fprintln(r.Out)
	w := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "what\tmeasured\tceiling\tcomparison\tbar")
	for _, row := range r.table.rows {
		_, _ = fmt.Fprintln(w, strings.Join(row[:], "\t"))
	}
	// As with say, there is no other place to tell it.
	_ = w.Flush()
	_, _ = fmt.Fprintf(r.Out, "\n%s\n", r.result)
}

// met says in words whether a bar was met.
func met(ok bool, bar string) string {
	if ok {
		return bar + ": met"
	}
	return bar + ": MISSED"
}

// latencies are sorted durations.
type latencies []time.Duration

func newLatencies(samples []time.Duration) latencies {
	return slices.Sorted(slices.Values(samples))
}

// at is the quantile q, from 0 to 1, by the nearest rank; 0 if there is no sample.
func (l latencies) at(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(len(l)-1, int(q*float64(len(l))))]
}

// millis is a duration in milliseconds with a decimal.
func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// ratio is a through b; 0 if b is none.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// perSecond is how many a second n are in d.
func perSecond(n int, d time.Duration) float64 { return ratio(float64(n), d.Seconds()) }
