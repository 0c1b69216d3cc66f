// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package demo runs the whole line on one machine and shows it: a real control
// plane, the local AWS, the manager with its webhooks, and the sample objects.
//
// It decides nothing that the operator decides: it applies manifests and watches
// what comes of them, as a person with kubectl and the AWS CLI would.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

// drawInterval is the time between two looks at whether the screen must change.
const drawInterval = 100 * time.Millisecond

// Options say how the demo runs. Out is required.
type Options struct {
	// Out is where everything is shown; a terminal gets a live table, anything else
	// a line for each change.
	Out io.Writer
	// Once ends the demo by itself, after its last act. In the first act it deletes
	// one session and compares the local AWS with the API server.
	Once bool
	// Acts is how many acts are played, both by default. In the first the sample
	// sessions come to run; in the second a release rolls out under load.
	Acts int
	// Timeout bounds a demo that ends by itself, 5m by default; the other kind
	// waits for as long as its user does.
	Timeout time.Duration
	// AWSListen is the address of the local AWS: 127.0.0.1:4566 by default, or any
	// port if that is taken.
	AWSListen string
	// AssetsDir holds the control plane's programs; empty is controlplane's default.
	AssetsDir string
	// Delays are how long things take in the local AWS; its own defaults by default.
	Delays *awsemu.Delays
	// Verbose tells where the manager's log is.
	Verbose bool

	// managerConfig is who the manager is to the API server: the administrator by
	// default. The namespace it works in exists when this is called.
	managerConfig func(context.Context, *controlplane.ControlPlane) (*rest.Config, error)
	// pace is how fast guests come and go; defaultPace by default.
	pace pace
}

// demo is one run.
type demo struct {
	Options
	began   time.Time
	screen  *screen
	log     *logFile
	samples *samples
	timings timings

	plane *controlplane.ControlPlane
	aws   *localAWS
	api   client.Client
	// shown is the fleet once there is one; the drawing goroutine reads it.
	shown atomic.Pointer[fleet]
	// act is the second act while it is played.
	act atomic.Pointer[release]
	// ended gets what the manager ended with, should it do so by itself.
	ended chan error
	// stops are what there is to stop, the last one first.
	stops []stop
}

// stop ends one of the things that run.
type stop struct {
	what string
	run  func() error
}

// Run starts everything, shows how the sample sessions come to run and how a release
// rolls out, and stops everything again when it is done or ctx is. Nothing is left behind: no process,
// port or file.
//
// It returns ctx's error if it was waiting for ctx, as a demo without Once does
// once all is running; and an error with the reason if something failed, if a
// session was refused or lost, or if with Once not everything ran before the timeout.
func Run(ctx context.Context, options Options) (err error) {
	options = options.withDefaults()
	d := &demo{Options: options, began: time.Now(), screen: newScreen(options.Out), log: processLog(), ended: make(chan error, 1)}
	stopDrawing := d.animate()
	defer func() {
		if err != nil && ctx.Err() == nil {
			d.screen.say(d.log.lastWords()...)
		}
		err = errors.Join(err, d.stopAll())
		stopDrawing()
	}()
	if !options.Once {
		return d.play(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	err = d.play(limited)
	if ctx.Err() != nil {
		return errors.New("interrupted before everything had run")
	}
	return err
}

func (o Options) withDefaults() Options {
	if o.Acts <= 0 {
		o.Acts = 2
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.managerConfig == nil {
		o.managerConfig = func(_ context.Context, plane *controlplane.ControlPlane) (*rest.Config, error) {
			return plane.Config(), nil
		}
	}
	if o.pace == (pace{}) {
		o.pace = defaultPace
	}
	return o
}

// play is the demo from curtain to curtain.
func (d *demo) play(ctx context.Context) error {
	for _, step := range []struct {
		doing, done string
		run         func(context.Context) error
	}{
		{"Starting etcd and kube-apiserver", "Control plane", d.startControlPlane},
		{"Starting the local AWS", "Local AWS", d.startAWS},
		{"Starting the manager and its webhooks", "Manager", d.startManager},
		{"Applying config/samples", "Samples applied", d.applySamples},
	} {
		if err := d.step(ctx, step.doing, step.done, step.run); err != nil {
			return err
		}
	}
	if err := d.awaitRunning(ctx); err != nil {
		return err
	}
	if d.Once {
		if err := d.checkSamples(ctx); err != nil {
			return err
		}
	}
	if d.Acts > 1 {
		if err := d.playRelease(ctx); err != nil {
			return err
		}
	}
	if d.Once {
		return managerrole.Verify(d.aws.role)
	}
	return d.stay(ctx)
}

// checkSamples is the end of the first act where nobody watches.
func (d *demo) checkSamples(ctx context.Context) error {
	if err := d.step(ctx, "Deleting a session", "Session deleted", d.deleteSession); err != nil {
		return err
	}
	sides, err := d.compare(ctx)
	if err != nil {
		return err
	}
	if d.Acts == 1 {
		d.screen.release(d.frame())
		d.screen.say(d.timings.table()...)
	}
	d.screen.say(sides.table()...)
	return sides.err()
}

// step does one thing, and tells how long it took.
func (d *demo) step(ctx context.Context, doing, done string, run func(context.Context) error) error {
	begin := time.Now()
	d.screen.doing(doing, begin)
	defer d.screen.doing("", time.Time{})
	if err := run(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	d.timings.add(done, took, time.Since(d.began))
	d.tell("%s: %s", done, seconds(took))
	return nil
}

// tell writes a line that stays, with the time since the demo began.
func (d *demo) tell(format string, args ...any) {
	d.screen.say(stamped(time.Since(d.began), fmt.Sprintf(format, args...)))
}

// stay shows the fleet until ctx ends.
func (d *demo) stay(ctx context.Context) error {
	d.screen.say(d.invitation()...)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-d.ended:
		return managerEnded(err)
	}
}

// stopAll stops what runs, the last that started first.
func (d *demo) stopAll() error {
	d.screen.release(d.frame())
	var errs []error
	for i := len(d.stops) - 1; i >= 0; i-- {
		begin := time.Now()
		d.screen.doing("Stopping "+d.stops[i].what, begin)
		if err := d.stops[i].run(); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", d.stops[i].what, err))
			continue
		}
		d.tell("Stopped %s: %s", d.stops[i].what, seconds(time.Since(begin)))
	}
	d.screen.doing("", time.Time{})
	return errors.Join(errs...)
}

// animate redraws the screen until the function it returns is called.
func (d *demo) animate() func() {
	done, drawn := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drawn)
		ticker := time.NewTicker(drawInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				d.screen.restore()
				return
			case <-ticker.C:
				d.screen.draw(d.frame)
			}
		}
	}()
	return func() {
		close(done)
		<-drawn
	}
}

// frame is what the screen shows of the fleet.
func (d *demo) frame() []string {
	fleet := d.shown.Load()
	if fleet == nil {
		return nil
	}
	now := fleet.snapshot(time.Now())
	if act := d.act.Load(); act != nil {
		return act.lines(now, d.screen.colours())
	}
	return now.lines(d.screen.colours())
}

// managerEnded is the error of a manager that should have gone on.
func managerEnded(err error) error {
	if err == nil {
		err = errors.New("it gave no reason")
	}
	return fmt.Errorf("the manager ended: %w", err)
}
