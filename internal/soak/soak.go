// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package soak runs the operator for a long time among everything that can go
// wrong, and holds it to its promises at every moment.
//
// The operator is a process of its own, on a real API server and the local AWS.
// Users arrive and leave, releases roll, hosts die, agents are cut off, AWS
// throttles, loses answers, lags and has no capacity, and the operator itself is
// killed, restarted and doubled: all by a plan that is a function of a seed.
// Package checker watches, and finds every promise that is broken.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

// Options say what a soak is. Out is required.
type Options struct {
	PlanOptions
	// Plan only prints the plan.
	Plan bool
	// JSON writes an object a line instead of text.
	JSON bool
	// Out is where progress and summary go.
	Out io.Writer
	// Log is a file that the manager's log is written to; none by default.
	Log string
	// Plant is the name of a bug that is planted; see Plants.
	Plant string
	// Manager is the command that runs the operator's binary, without its
	// subcommand; this program itself by default.
	Manager []string
	// Endings is for tests that have little time.
	endings endings
}

// ErrViolations is what Run returns if a promise was broken.
var ErrViolations = errors.New("promises were broken")

// plantAfter is when a bug is planted in a soak, and plantPatience how long the
// soak then goes on at most.
const (
	plantAfter    = 10 * time.Second
	plantPatience = time.Minute
)

// Run runs a soak to its end, or until ctx is done, which ends it in order. It
// returns what it came to, and ErrViolations if a promise was broken. Nothing is
// left behind: no process, port or file but the log.
func Run(ctx context.Context, o Options) (summary Summary, err error) {
	if o.Duration <= 0 || o.Rate <= 0 || o.Regions <= 0 || o.Regions > len(regionNames) {
		return summary, fmt.Errorf("duration %s and rate %g must be positive, and there must be 1 to %d regions", o.Duration, o.Rate, len(regionNames))
	}
	events := Plan(o.PlanOptions)
	if o.Plan {
		return summary, printPlan(o.Out, events)
	}
	planted, err := findPlant(o.Plant)
	if err != nil {
		return summary, err
	}
	if planted != nil {
		events = withoutFaults(events)
	}
	if o.endings == (endings{}) {
		o.endings = defaultEndings
	}
	r := &run{Options: o, plant: planted, reporter: &reporter{out: o.Out, json: o.JSON}}
	err = r.run(ctx, events)
	if r.player != nil {
		summary = Summary{Seed: o.Seed, Progress: r.player.progress(), Found: r.checker.Violations()}
		r.close(summary)
		if len(summary.Found) > 0 {
			err = errors.Join(err, ErrViolations)
		}
	}
	return summary, err
}

func printPlan(out io.Writer, events []Event) error {
	for _, e := range events {
		if _, err := fmt.Fprintln(out, e); err != nil {
			return fmt.Errorf("printing the plan: %w", err)
		}
	}
	return nil
}

// run is one soak.
type run struct {
	Options
	*reporter
	plant   *plant
	world   *world
	checker *checker.Checker
	feed    *feed
	player  *player
}

// run is the soak from its begin to its end.
func (r *run) run(ctx context.Context, events []Event) (err error) {
	log, closeLog, err := r.openLog()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	command := r.Manager
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		command = []string{self}
	}
	r.say("starting the control plane, the local AWS and the manager")
	r.world, err = newWorld(ctx, r.Seed, imagesOf(r.Seed, events), command, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.world.stop()) }()
	if err := r.setUp(ctx); err != nil {
		return err
	}
	err = r.player.play(ctx, events, r.Duration, r.each(ctx))
	// What comes now is also done when the user has interrupted the soak.
	if err == nil && r.plant == nil {
		err = r.end(context.WithoutCancel(ctx), ctx.Err() != nil)
	}
	r.checker.Settle(time.Now())
	return errors.Join(err, r.feed.stop(), managerrole.Verify(r.world.role))
}

// setUp makes the checker and the fleet, and starts the manager.
func (r *run) setUp(ctx context.Context) error {
	options := checker.Options{ClusterID: string(r.world.plane.ClusterUID()), OwnerGrace: 2*orphanGrace + 90*time.Second}
	if r.plant != nil {
		options.OwnerGrace, options.Overlap = 5*time.Second, 2*time.Second
	}
	r.checker = checker.New(options)
	r.world.started = func() { r.checker.ManagerStarted(time.Now()) }
	regions := regionNames[:r.Regions]
	if err := r.world.startManager(r.world.manager); err != nil {
		return err
	}
	if err := r.world.createFleet(ctx, r.Seed, regions); err != nil {
		return err
	}
	if r.plant != nil && r.plant.lawless {
		if err := r.world.removeRules(ctx); err != nil {
			return err
		}
	}
	r.feed = startFeed(r.world, r.checker)
	r.player = newPlayer(r.world, r.feed, r.checker, regions)
	return nil
}

// createFleet makes the regions, each with the next as its fallback, and the channels.
func (w *world) createFleet(ctx context.Context, seed uint64, regions []string) error {
	for i, name := range regions {
		var fallback []string
		if next := regions[(i+1)%len(regions)]; next != name {
			fallback = []string{next}
		}
		if err := w.createRegion(ctx, name, fallback...); err != nil {
			return err
		}
	}
	for _, channel := range channelNames {
		if err := w.createChannel(ctx, channel, commitOf(seed, channel, 0), regions); err != nil {
			return err
		}
	}
	return nil
}

// each is what is done between events: to tell, and to plant the bug.
func (r *run) each(ctx context.Context) func(time.Duration) bool {
	planted := false
	return func(elapsed time.Duration) bool {
		r.tell(r.player)
		if r.plant == nil || elapsed < plantAfter {
			return r.feed.failure() == nil
		}
		if !planted {
			planted = true
			r.say("planting: %s", r.plant.what)
			if err := r.plant.run(ctx, r.world, r.feed, r.checker); err != nil {
				r.say("planting failed: %v", err)
				return false
			}
		}
		return len(r.checker.Violations()) == 0 && elapsed < plantAfter+plantPatience
	}
}

// end lets the fleet come to rest, and deletes everything. A soak that was
// interrupted skips the rest.
func (r *run) end(ctx context.Context, interrupted bool) error {
	if err := r.player.calm(); err != nil {
		return err
	}
	if !interrupted {
		r.say("no more arrivals and faults: the fleet must come to rest")
		if err := r.world.unplaceable(ctx); err != nil {
			return err
		}
		if err := awaitSilence(ctx, r.feed, r.checker, r.endings); err != nil {
			return err
		}
		r.tell(r.player)
	}
	r.say("deleting everything: nothing must be left")
	return r.world.deleteAll(ctx, r.checker, r.endings)
}

// openLog opens the file for the manager's log.
func (r *run) openLog() (io.Writer, func() error, error) {
	if r.Log == "" {
		return nil, func() error { return nil }, nil
	}
	file, err := os.Create(r.Log)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the manager's log: %w", err)
	}
	return file, file.Close, nil
}

// imagesOf are the machine images of all good releases of a plan.
func imagesOf(seed uint64, events []Event) []string {
	var images []string
	for _, channel := range channelNames {
		images = append(images, imageOf(commitOf(seed, channel, 0)))
	}
	for _, e := range events {
		if e.Kind == Release && e.Image != missingImage {
			images = append(images, e.Image)
		}
	}
	return images
}

// withoutFaults leaves only what users do, so that what the checker then finds is
// what was planted.
func withoutFaults(events []Event) []Event {
	return slices.DeleteFunc(events, func(e Event) bool {
		return e.Kind != Arrive && e.Kind != Exit && e.Kind != Leave
	})
}
