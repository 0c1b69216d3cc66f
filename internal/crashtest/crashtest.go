// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what is run. Out is required.
type Options struct {
	// Plans is how many plans are run; Seed is what their choice is a function of.
	Plans int
	Seed  uint64
	// Only are the names of the plans that are run, instead of those.
	Only []string
	// Parallel is how many plans run at a time, each on a control plane of its own.
	Parallel int
	// List only plays the story undisturbed, and prints its calls and the plans.
	List bool
	// Plant is the name of a bug that is planted; see Plants. Then the plans are those
	// in which it shows, up to the first in which it is found.
	Plant string
	// Verbose prints each plan's result.
	Verbose bool
	// Out is where progress and results go.
	Out io.Writer
	// Manager is the command that runs the operator's binary, without its
	// subcommand; this program itself by default.
	Manager []string
}

// ErrViolations is what Run returns if something was broken.
var ErrViolations = errors.New("the operator did not come through")

// Summary is what a run came to.
type Summary struct {
	// Plans is how many were run, Converged how many came to the end that they had
	// to come to, and Violations how many things were wrong.
	Plans, Converged, Violations int
	// Struck is how many had everything happen that they plan: in another run of the
	// story a call may not be made.
	Struck int
	// Crashes is how often the manager was killed.
	Crashes int
	// Broken are the results of plans with violations.
	Broken []Result
	// Elapsed is from the first plan's begin to the last one's end, and Played the
	// sum of what each took.
	Elapsed, Played time.Duration
}

// references is how often the story is played undisturbed, for the calls that it
// always has.
const references = 3

// Run records the story and runs the plans. It returns what it came to, and
// ErrViolations if anything was wrong. Nothing is left behind.
func Run(ctx context.Context, o Options) (summary Summary, err error) {
	if o.Plans < 0 || o.Parallel < 1 {
		return summary, fmt.Errorf("there can't be %d plans, %d at a time", o.Plans, o.Parallel)
	}
	planted, err := findPlant(o.Plant)
	if err != nil {
		return summary, err
	}
	r := &run{Options: o, plant: planted}
	if len(r.Manager) == 0 {
		self, err := os.Executable()
		if err != nil {
			return summary, fmt.Errorf("finding this program: %w", err)
		}
		r.Manager = []string{self}
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return summary, err
	}
	if err := r.record(ctx); err != nil {
		return summary, err
	}
	plans, err := r.plans()
	if err != nil {
		return summary, err
	}
	if o.List {
		return summary, r.list(plans)
	}
	err = r.playAll(ctx, plans)
	if err == nil && r.summary.Violations > 0 {
		err = ErrViolations
	}
	return r.summary, errors.Join(err, r.conclude())
}

// run is one run of plans.
type run struct {
	Options
	plant *plant
	lanes []*lane
	// expected is the end of the undisturbed story, and calls those that it always has.
	expected string
	calls    []Call

	mu      sync.Mutex
	began   time.Time
	told    time.Time
	summary Summary
}

// open opens the lanes.
func (r *run) open(ctx context.Context) error {
	r.lanes = make([]*lane, r.Parallel)
	group, ctx := errgroup.WithContext(ctx)
	for n := range r.lanes {
		group.Go(func() (err error) {
			r.lanes[n], err = openLane(ctx)
			return err
		})
	}
	return group.Wait()
}

func (r *run) close() error {
	var errs []error
	for _, l := range r.lanes {
		if l != nil {
			errs = append(errs, l.close())
		}
	}
	return errors.Join(errs...)
}

// record plays the story undisturbed, on all lanes at once as it will be in plans.
func (r *run) record(ctx context.Context) error {
	results := make([]Result, max(references, len(r.lanes)))
	group, ctx := errgroup.WithContext(ctx)
	for n, l := range r.lanes {
		group.Go(func() (err error) {
			for i := n; i < len(results); i += len(r.lanes) {
				if results[i], err = l.play(ctx, nil, r.Manager, "", nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("playing the story undisturbed: %w", err)
	}
	var runs [][]Call
	for _, result := range results {
		if result.State != results[0].State {
			result.Violations = append(result.Violations, "its end isn't that of another undisturbed run:\n"+results[0].State)
		}
		if len(result.Violations) > 0 || !result.Converged {
			return errors.Join(fmt.Errorf("%w, and nothing had happened to it", ErrViolations), r.tellBroken(result))
		}
		runs = append(runs, result.Calls)
	}
	r.expected, r.calls = results[0].State, stable(runs)
	return nil
}

// plans are those that were asked for.
func (r *run) plans() ([]Plan, error) {
	names := r.Only
	if len(names) == 0 && r.plant != nil {
		names = r.plant.plans
	}
	if len(names) == 0 {
		return plansOf(r.calls, r.Seed, r.Plans), nil
	}
	plans := make([]Plan, len(names))
	for i, name := range names {
		var err error
		if plans[i], err = ParsePlan(name); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

// playAll plays the plans, on each lane one after the other, until all are played or
// ctx is done.
func (r *run) playAll(ctx context.Context, plans []Plan) error {
	r.began, r.told = time.Now(), time.Now()
	next := make(chan Plan)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(next)
		for _, p := range plans {
			select {
			case next <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
			if r.found() {
				return nil
			}
		}
		return nil
	})
	for _, l := range r.lanes {
		group.Go(func() error {
			for p := range next {
				result, err := l.play(ctx, p, r.Manager, r.expected, r.plant)
				if err != nil {
					return fmt.Errorf("playing %s: %w", p, err)
				}
				if err := r.take(result, len(plans)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	r.summary.Elapsed = time.Since(r.began)
	return err
}

// found says whether a bug that was planted has been found.
func (r *run) found() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plant != nil && r.summary.Violations > 0
}

// take counts a result.
func (r *run) take(result Result, of int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.summary
	s.Plans++
	s.Played += result.Took
	s.Crashes += result.Starts - 1
	s.Violations += len(result.Violations)
	if result.Converged {
		s.Converged++
	}
	if len(result.Missed) == 0 {
		s.Struck++
	}
	var errs []error
	if r.Verbose {
		errs = append(errs, r.tellResult(result))
	}
	if len(result.Violations) > 0 {
		s.Broken = append(s.Broken, result)
		errs = append(errs, r.tellBroken(result))
	}
	if time.Since(r.told) >= progressInterval {
		r.told = time.Now()
		errs = append(errs, r.tellProgress(of))
	}
	return errors.Join(errs...)
}
