// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
)

// player carries out a plan.
type player struct {
	world   *world
	feed    *feed
	checker *checker.Checker
	regions []string

	// uids are those of the sessions that were created, by namespace and name.
	uids map[[2]string]string
	// exits are the sessions whose container is to end as soon as it runs.
	exits []exit
	// undo is what ends, and when.
	undo    []undo
	started time.Time
	faults  int
}

type exit struct {
	uid  string
	code int
}

type undo struct {
	at   time.Duration
	what string
	run  func() error
}

func newPlayer(w *world, f *feed, c *checker.Checker, regions []string) *player {
	return &player{world: w, feed: f, checker: c, regions: regions, uids: map[[2]string]string{}, started: time.Now()}
}

// play carries the events out at their times, until the plan's end or ctx is done.
func (p *player) play(ctx context.Context, events []Event, duration time.Duration, each func(elapsed time.Duration) (goOn bool)) error {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		elapsed := time.Since(p.started)
		for len(events) > 0 && events[0].At <= elapsed {
			if err := p.do(ctx, events[0]); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("event %q: %w", events[0], err)
			}
			events = events[1:]
		}
		if err := p.catchUp(elapsed); err != nil {
			return err
		}
		if elapsed >= duration || !each(elapsed) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-p.world.failed:
			return err
		case <-ticker.C:
		}
	}
}

// catchUp does what waits: exits of sessions that were not running yet, and the
// ends of what lasts for a while.
func (p *player) catchUp(elapsed time.Duration) error {
	waiting := p.exits[:0]
	for _, e := range p.exits {
		t, running := p.feed.runningTask(e.uid)
		// An exit that comes too late, the task having just stopped, is none.
		if !running || p.world.aws.ExitTask(t.Account, t.Region, t.ARN, e.code, "") != nil {
			waiting = append(waiting, e)
		}
	}
	p.exits = waiting
	lasting := p.undo[:0]
	for _, u := range p.undo {
		if u.at > elapsed {
			lasting = append(lasting, u)
			continue
		}
		if err := u.run(); err != nil {
			return fmt.Errorf("%s: %w", u.what, err)
		}
	}
	p.undo = lasting
	return nil
}

// calm ends at once everything that lasts for a while, and has the manager run.
func (p *player) calm() error {
	p.exits = nil
	var errs []error
	for _, u := range p.undo {
		errs = append(errs, u.run())
	}
	p.undo = nil
	p.world.aws.ClearFaults()
	return errors.Join(append(errs, p.world.rival.stop(), p.world.startManager(p.world.manager))...)
}

// for a while something is so, and then it ends.
func (p *player) forAWhile(e Event, run func() error) {
	p.undo = append(p.undo, undo{at: e.At + e.Lasts, what: fmt.Sprintf("ending %q", e), run: run})
}

// do carries out one event.
func (p *player) do(ctx context.Context, e Event) error {
	switch e.Kind {
	case Arrive:
		m, err := p.world.createSession(ctx, e.Session)
		if err != nil {
			return err
		}
		p.uids[[2]string{m.Namespace, m.Name}] = string(m.UID)
		return nil
	case Exit:
		p.exits = append(p.exits, exit{p.uids[[2]string{e.Session.Namespace, e.Session.Name}], e.ExitCode})
		return nil
	case Leave:
		m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: e.Session.Namespace, Name: e.Session.Name}}
		return client.IgnoreNotFound(p.world.api.Delete(ctx, m))
	case Release:
		return p.release(ctx, e)
	}
	p.faults++
	return p.disturb(e)
}

// release has the channel offer another release.
func (p *player) release(ctx context.Context, e Event) error {
	return retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, func() error {
		channel := &v1alpha1.AMI{}
		if err := p.world.api.Get(ctx, client.ObjectKey{Name: e.Channel}, channel); err != nil {
			return err
		}
		setRelease(channel, e.Commit, e.Image, p.regions)
		return p.world.api.Update(ctx, channel)
	})
}

// disturb carries out what goes wrong.
func (p *player) disturb(e Event) error {
	aws := p.world.aws
	switch e.Kind {
	case KillHost:
		return p.killHost(e)
	case CutAgent:
		return p.cutAgent(e)
	case Trouble:
		id, err := aws.AddFault(e.Fault)
		if err != nil {
			return err
		}
		p.forAWhile(e, func() error {
			aws.RemoveFault(id)
			return nil
		})
	case NoCapacity:
		aws.SetCapacity(awsemu.Capacity{Region: e.Region, Available: 0})
		p.forAWhile(e, func() error {
			aws.SetCapacity(awsemu.Capacity{Region: e.Region, Available: -1})
			return nil
		})
	case Lag:
		p.lag(500 * time.Millisecond)
		p.forAWhile(e, func() error {
			p.lag(0)
			return nil
		})
	case KillManager, RestartManager:
		end := p.world.manager.kill
		if e.Kind == RestartManager {
			end = p.world.manager.stop
		}
		p.forAWhile(e, func() error { return p.world.startManager(p.world.manager) })
		return end()
	case Rival:
		p.forAWhile(e, p.world.rival.kill)
		return p.world.startManager(p.world.rival)
	}
	return nil
}

func (p *player) lag(lag time.Duration) {
	delays := p.world.aws.Delays()
	delays.VisibilityLag = lag
	p.world.aws.SetDelays(delays)
}

// killHost has EC2 lose the host that the event picks, if there is one.
func (p *player) killHost(e Event) error {
	hosts := p.feed.liveHosts(e.Region, false)
	if len(hosts) == 0 {
		return nil
	}
	id := hosts[int(e.Pick*float64(len(hosts)))]
	p.checker.HostLost(id)
	return p.world.aws.KillInstance("", e.Region, id)
}

// cutAgent disconnects the agent of the host that the event picks, if there is one.
func (p *player) cutAgent(e Event) error {
	hosts := p.feed.liveHosts(e.Region, true)
	if len(hosts) == 0 {
		return nil
	}
	id := hosts[int(e.Pick*float64(len(hosts)))]
	p.checker.HostDisturbed(id)
	if p.world.aws.DisconnectAgent("", e.Region, id) != nil {
		return nil // The host has just left; there is nothing to cut off.
	}
	p.forAWhile(e, func() error {
		// A host that has left in the meantime has no agent to reconnect.
		_ = p.world.aws.ReconnectAgent("", e.Region, id)
		return nil
	})
	return nil
}
