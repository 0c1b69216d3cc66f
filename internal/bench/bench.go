// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bench measures the operator, and puts every figure beside its ceiling
// from the same run.
//
// A benchmark starts a control plane, a local AWS and the manager, each a process
// of its own, so that the processor time of each can be told apart and none waits
// for another's garbage collector. It knows the operator only by its API, its
// flags and what it writes: the API server's audit log is where its writes are
// counted. Ceilings are measured by bare clients that issue the same writes.
package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Options say how a benchmark is run. Out is required.
type Options struct {
	// Out is where progress, the table and the result go.
	Out io.Writer
	// Log is a file that the managers' log is appended to; none by default.
	Log string
	// Profiles is a folder that processor profiles of the manager are written to;
	// none by default.
	Profiles string
	// Result is a file that the result's line is written to; none by default.
	Result string
	// Small runs at sizes that take seconds, to see that it works, not to measure.
	Small bool
	// Sessions is how many sessions each part of bench-assign has; as many as its row
	// of the table says by default.
	Sessions int
	// Only picks parts of a benchmark that has several; all by default.
	Only []string
	// Program is the operator's binary; this program itself by default.
	Program string
}

// benchmark is one subcommand of bench.
type benchmark struct {
	name string
	// what it measures, in a line.
	what string
	// parts it has, if it has several.
	parts []string
	run   func(ctx context.Context, r *run) error
}

// benchmarks are all there are.
func benchmarks() []benchmark {
	return []benchmark{
		{"assign", "how fast waiting sessions get their slots", assignParts, benchAssign},
		{"launch", "what a thousand hosts at once cost, and how soon they are Active", nil, benchLaunch},
		{"idle", "what a fleet costs in which nothing happens", nil, benchIdle},
		{"scale", "what changes as the fleet grows", nil, benchScale},
		{"failover", "how long nothing is assigned when the leader ends", nil, benchFailover},
	}
}

// Names lists the benchmarks, each with what it measures.
func Names() (names, whats []string) {
	for _, b := range benchmarks() {
		names, whats = append(names, b.name), append(whats, b.what)
	}
	return names, whats
}

// run is one run of one benchmark.
type run struct {
	Options
	name   string
	log    io.Writer
	result result
	table  table
	began  time.Time
}

// silenced discards what client-go has to say of this process's own watches, which is
// nobody's concern.
var silenced = sync.OnceFunc(func() { log.SetLogger(logr.Discard()) })

// Run runs the benchmark of that name to its end, or until ctx is done. It leaves
// no process behind. Missing a bar is no error: the result says so.
func Run(ctx context.Context, name string, o Options) (err error) {
	all := benchmarks()
	at := slices.IndexFunc(all, func(b benchmark) bool { return b.name == name })
	if at < 0 {
		names, _ := Names()
		return fmt.Errorf("there is no benchmark %q, but %s", name, strings.Join(names, ", "))
	}
	for _, part := range o.Only {
		if !slices.Contains(all[at].parts, part) {
			return fmt.Errorf("benchmark %s has no part %q, but %s", name, part, strings.Join(all[at].parts, ", "))
		}
	}
	if o.Program == "" {
		if o.Program, err = os.Executable(); err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
	}
	r := &run{Options: o, name: name, log: io.Discard, began: time.Now()}
	if o.Log != "" {
		file, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("opening the managers' log: %w", err)
		}
		defer func() {
			if closed := file.Close(); err == nil {
				err = closed
			}
		}()
		r.log = file
	}
	if o.Profiles != "" {
		if err := os.MkdirAll(o.Profiles, 0o750); err != nil {
			return fmt.Errorf("making the folder for profiles: %w", err)
		}
	}
	silenced()
	r.result.set("bench", "%s", name)
	if err := all[at].run(ctx, r); err != nil {
		return fmt.Errorf("benchmark %s: %w", name, err)
	}
	r.print()
	if o.Result != "" {
		if err := os.WriteFile(o.Result, []byte(r.result.String()+"\n"), 0o644); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	}
	return nil
}

// has says whether a part is to be run.
func (r *run) has(part string) bool { return len(r.Only) == 0 || slices.Contains(r.Only, part) }

// size is one number for measuring, and a smaller one for seeing that it works.
func (r *run) size(full, small int) int {
	if r.Small {
		return small
	}
	return full
}

// say writes a line of progress.
func (r *run) say(format string, args ...any) {
	// There is no other place to tell that nothing can be told.
	_, _ = fmt.Fprintf(r.Out, "%6.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}
