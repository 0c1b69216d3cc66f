// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

const (
	// idle is for how long nothing may be written in the end.
	idle = time.Second
	// patience is by when the story must have come to its end, and then everything
	// that is deleted to its own.
	patience = 40 * time.Second
)

// managerFlags are the manager's: its timers are as much faster as the local AWS.
var managerFlags = []string{
	"manager", "--webhooks=false", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--mandelboxes-per-user=0",
	"--aws-hot-interval=50ms", "--aws-list-interval=400ms", "--aws-grace-period=1s", "--launch-timeout=5s",
	"--orphan-grace=1s", "--orphan-interval=250ms",
}

// silent is where proxies log to: aborted calls are what they are there for.
var silent = log.New(io.Discard, "", 0)

// trial is one run of the story by one plan.
type trial struct {
	lane    *lane
	plan    Plan
	command []string
	aws     *awsemu.Server
	role    *awsemu.IAM
	checker *checker.Checker
	seen    *observer
	namer   *namer
	strikes strikes
	windows windows
	// bug is what is planted; nothing by default. One who is hasty has seen enough
	// once anything is wrong.
	bug   bug
	hasty bool
	log   tail

	mu      sync.Mutex
	manager *process
	rivals  []*process
	starts  int
	// over says that no manager is to be started any more.
	over      bool
	calls     []Call
	wrote     time.Time
	broken    []string
	began     time.Time
	milestone []string
}

// Result is what came of a plan.
type Result struct {
	Plan Plan
	// Converged says that the end was that of the undisturbed run, and everything
	// could be deleted after it.
	Converged bool
	// Violations are what was wrong, in words.
	Violations []string
	// Missed are the strikes for which the story had no occasion.
	Missed Plan
	// Calls are all mutating calls that the managers made, in their order.
	Calls []Call
	// State is the end.
	State string
	// Times say when each part was over.
	Times []string
	// Starts is how many managers there were.
	Starts int
	Took   time.Duration
	// Log is the end of the managers' log.
	Log string
}

// play plays the story by a plan, with a bug if one is planted. expected is the end
// that it must come to; empty if that is not known yet. An error says that it could
// not be played.
func (l *lane) play(ctx context.Context, plan Plan, command []string, expected string, planted *plant) (result Result, err error) {
	if planted == nil {
		planted = &plant{}
	}
	role, err := managerrole.Of(string(l.plane.ClusterUID()))
	if err != nil {
		return Result{}, err
	}
	t := &trial{
		role: role, lane: l, plan: plan, command: append(slices.Clone(command), managerFlags...), namer: newNamer(),
		strikes: strikes{left: slices.Clone(plan)}, began: time.Now(), aws: newAWS(role, planted.delays),
		checker: checker.New(checker.Options{
			ClusterID: string(l.plane.ClusterUID()), Overlap: time.Second, OwnerGrace: 4 * time.Second,
		}),
	}
	t.wrote = t.began
	if planted.begin != nil {
		t.bug, t.hasty = planted.begin(t), true
	}
	t.seen = observe(l.api, t.observe, t.checker)
	l.current.Store(t)
	t.startManager()
	result = Result{Plan: plan}
	result.State, result.Converged, err = t.run(ctx, expected)
	t.end(!result.Converged)
	l.current.Store(nil)
	l.calls.Wait()
	t.aws.Close()
	t.checker.Settle(time.Now())
	err = errors.Join(err, t.seen.stop())
	t.conclude(&result)
	if !result.Converged {
		err = errors.Join(err, l.clear(context.WithoutCancel(ctx)))
	}
	return result, err
}

// conclude says what came of it.
func (t *trial) conclude(result *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = append(append(t.broken, t.seen.forNobody()...), t.seen.doubles()...)
	for _, denial := range t.role.Denials() {
		t.broken = append(t.broken, "the policy of the manager's role does not allow "+denial.String())
	}
	for _, v := range t.violations() {
		t.broken = append(t.broken, v.String())
	}
	result.Violations, result.Missed, result.Calls = t.broken, t.strikes.missed(), t.calls
	result.Times, result.Starts, result.Log = t.milestone, t.starts, t.log.String()
	result.Took = time.Since(t.began)
}

// run is the story, its end, and the end of everything.
func (t *trial) run(ctx context.Context, expected string) (state string, converged bool, err error) {
	if told, err := t.tell(ctx); !told || err != nil {
		return "", false, err
	}
	t.mark("story")
	state, settled, err := t.settle(ctx, expected)
	if !settled || err != nil {
		return state, false, err
	}
	t.mark("settled")
	gone, err := t.deleteAll(ctx)
	t.mark("deleted")
	return state, gone, err
}

// wrong says whether anything is wrong by now.
func (t *trial) wrong() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.broken) > 0 || len(t.violations()) > 0 || len(t.seen.doubles()) > 0
}

// violations are those that the checker found. Who keeps the last room is no part of
// it: people drain hosts in the story, and the fleet shrinks without a pause, at any
// moment of a rollout; package soak holds the operator to that.
func (t *trial) violations() []checker.Violation {
	return slices.DeleteFunc(t.checker.Violations(), func(v checker.Violation) bool { return v.Rule == checker.RuleRoom })
}

// mark notes when a part was over.
func (t *trial) mark(part string) {
	t.milestone = append(t.milestone, fmt.Sprintf("%s %.2fs", part, time.Since(t.began).Seconds()))
}

// await waits until something is so; it returns false if it isn't for too long.
func (t *trial) await(ctx context.Context, is func(v view) bool) (v view, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		v, changed, err := t.seen.look()
		if err != nil || is(v) {
			return v, err == nil, err
		}
		if t.hasty && t.wrong() {
			return v, false, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return v, false, t.compare(context.WithoutCancel(ctx), v)
			}
			return v, false, ctx.Err()
		}
	}
}

// compare says if the watches, by which everything is judged, are behind what the
// API server has of hosts.
func (t *trial) compare(ctx context.Context, v view) error {
	var hosts v1alpha1.InstanceList
	if err := t.lane.api.List(ctx, &hosts); err != nil {
		return fmt.Errorf("reading what there is: %w", err)
	}
	behind := len(hosts.Items) != len(v.hosts)
	for i := range hosts.Items {
		told := v.hosts[hosts.Items[i].Name]
		behind = behind || told == nil || told.ResourceVersion != hosts.Items[i].ResourceVersion
	}
	if behind {
		t.fail("the watch is behind what the API server has of Instances")
	}
	return nil
}

// tell has the chapters happen one after the other.
func (t *trial) tell(ctx context.Context) (bool, error) {
	for _, c := range story {
		v, ok, err := t.await(ctx, c.when)
		if err != nil {
			return false, err
		}
		if !ok && t.hasty && t.wrong() {
			return false, nil
		}
		if !ok {
			t.fail("the story did not come to the chapter in which %s within %s:\n%s", c.what, patience, v.state())
			return false, nil
		}
		if err := c.act(ctx, t, v); err != nil {
			return false, fmt.Errorf("the chapter in which %s: %w", c.what, err)
		}
		t.mark("chapter")
	}
	return true, nil
}

// settle waits until the end is as it must be and nothing has been written for a while.
func (t *trial) settle(ctx context.Context, expected string) (state string, ok bool, err error) {
	v, ok, err := t.await(ctx, func(v view) bool {
		state = v.state()
		asExpected := v.running(lastSession) && len(v.hosts) == 1 && v.open(releases[1]) == 1
		if expected != "" {
			asExpected = state == expected
		}
		return asExpected && len(v.entangled()) == 0 && t.silence() >= idle
	})
	if err != nil || ok {
		return state, ok, err
	}
	switch entangled := v.entangled(); {
	case t.hasty && t.wrong():
	case expected != "" && state != expected:
		t.fail("it did not come to the end of the undisturbed run within %s; the end was\n%s\nand should be\n%s", patience, state, expected)
	case len(entangled) > 0:
		for _, wrong := range entangled {
			t.fail("%s", wrong)
		}
	default:
		t.fail("it came to its end, and in %s there was no second without a write", patience)
	}
	return state, false, nil
}

// observe is what runs in AWS, in truth.
func (t *trial) observe() awsemu.Observation {
	o := t.aws.Observe()
	if t.bug.see != nil {
		o = t.bug.see(o)
	}
	return o
}

// process is the number of the manager that runs.
func (t *trial) process() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.starts
}

// silence is for how long no manager has written anything.
func (t *trial) silence() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.wrote)
}

// deleteAll deletes everything as a person would; nothing must be left.
func (t *trial) deleteAll(ctx context.Context) (bool, error) {
	t.checker.Ending()
	for _, err := range []error{
		t.lane.api.DeleteAllOf(ctx, &v1alpha1.Mandelbox{}, client.InNamespace(tenant)),
		t.lane.api.DeleteAllOf(ctx, &v1alpha1.AMI{}), t.lane.api.DeleteAllOf(ctx, &v1alpha1.Region{}),
	} {
		if err != nil {
			return false, fmt.Errorf("deleting everything: %w", err)
		}
	}
	v, gone, err := t.await(ctx, func(v view) bool { return len(v.leftovers()) == 0 })
	if err == nil && !gone && (!t.hasty || !t.wrong()) {
		t.fail("everything was deleted, and %s later there are still %v", patience, v.leftovers())
	}
	return gone, err
}

// fail notes what is wrong.
func (t *trial) fail(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = append(t.broken, fmt.Sprintf(format, args...))
}

// touch notes a write that has no name.
func (t *trial) touch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrote = time.Now()
}

// meet notes a call, and says what happens at it. What lasts begins.
func (t *trial) meet(c Call) []Strike {
	version := t.seen.latest()
	t.mu.Lock()
	c.Process, c.At = t.starts, time.Since(t.began)
	t.calls = append(t.calls, c)
	t.wrote = time.Now()
	t.mu.Unlock()
	due := t.strikes.meet(c)
	for _, s := range due {
		switch s.How {
		case Stale, Hold, Swallow, Cut:
			t.windows.add(&window{how: s.How, kind: s.Kind, version: version}, s.For)
		case Rival:
			t.startRival(s.For)
		}
	}
	return due
}
