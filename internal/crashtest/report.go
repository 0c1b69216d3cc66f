// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"fmt"
	"strings"
	"time"
)

const (
	// progressInterval is the time between two lines of progress.
	progressInterval = 15 * time.Second
	// logLines is how much of the managers' log is printed with a violation.
	logLines = 40
)

func (r *run) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(r.Out, format+"\n", args...); err != nil {
		return fmt.Errorf("writing what came of it: %w", err)
	}
	return nil
}

func (r *run) tellResult(result Result) error {
	text := fmt.Sprintf("%s: %.1fs, %d managers; %s", result.Plan, result.Took.Seconds(), result.Starts, strings.Join(result.Times, ", "))
	if len(result.Missed) > 0 {
		text += "; there was no occasion for " + result.Missed.String()
	}
	return r.say("%s", text)
}

// tellBroken prints what was wrong in a plan, and how to play it again.
func (r *run) tellBroken(result Result) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "VIOLATION in plan %s\n", result.Plan)
	for _, v := range result.Violations {
		fmt.Fprintf(b, "  %s\n", strings.ReplaceAll(v, "\n", "\n    "))
	}
	fmt.Fprintf(b, "  again: make crashtest ARGS=\"--only '%s'\"\n", result.Plan)
	if r.Verbose {
		b.WriteString("  its calls:\n")
		for _, c := range result.Calls {
			fmt.Fprintf(b, "    %6.3fs manager %d: %s %s\n", c.At.Seconds(), c.Process, c, c.Fields)
		}
	}
	b.WriteString("  the managers' last words:\n")
	log := strings.Split(strings.TrimSpace(result.Log), "\n")
	for _, line := range log[max(0, len(log)-logLines):] {
		fmt.Fprintf(b, "    %s\n", line)
	}
	return r.say("%s", strings.TrimRight(b.String(), "\n"))
}

func (r *run) tellProgress(of int) error {
	s := r.summary
	return r.say("%s: %d of %d plans, %d converged, %d violations, %d crashes",
		time.Since(r.began).Round(time.Second), s.Plans, of, s.Converged, s.Violations, s.Crashes)
}

// list prints the story's calls and the plans.
func (r *run) list(plans []Plan) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%d calls:\n", len(r.calls))
	for _, c := range r.calls {
		fmt.Fprintf(b, "  %s %s\n", c, c.Fields)
	}
	fmt.Fprintf(b, "%d plans:\n", len(plans))
	for _, p := range plans {
		fmt.Fprintf(b, "  %s\n", p)
	}
	return r.say("%sthe end:\n%s", b, r.expected)
}

// conclude prints what the run came to.
func (r *run) conclude() error {
	s := r.summary
	plans := float64(max(1, s.Plans))
	for _, broken := range s.Broken {
		if err := r.say("violated: --only '%s'", broken.Plan); err != nil {
			return err
		}
	}
	return r.say("%d crashes; in %d of %d plans everything happened that was to; it took %s, %d at a time and %.1f s each\ncrash points: %d plans, %d converged, %d violations, %.2f s per plan",
		s.Crashes, s.Struck, s.Plans, s.Elapsed.Round(time.Second), r.Parallel, s.Played.Seconds()/plans,
		s.Plans, s.Converged, s.Violations, s.Elapsed.Seconds()/plans)
}
