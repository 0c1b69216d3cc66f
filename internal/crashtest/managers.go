// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"fmt"
	"time"
)

// startManager starts a manager; mu must not be held.
func (t *trial) startManager() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start()
}

// start starts a manager unless the trial is over; mu is held.
func (t *trial) start() {
	if t.over {
		return
	}
	t.starts++
	p, err := t.startProcess()
	if err != nil {
		t.broken = append(t.broken, err.Error())
		return
	}
	t.manager = p
	go t.watchOver(p)
}

// startRival starts a second manager, that is killed after a while.
func (t *trial) startRival(lives time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	p, err := t.startProcess()
	if err != nil {
		t.broken = append(t.broken, err.Error())
		return
	}
	t.rivals = append(t.rivals, p)
	time.AfterFunc(lives, func() {
		if err := p.kill(); err != nil {
			t.fail("%v", err)
		}
	})
}

// startProcess starts a process of the manager; mu is held.
func (t *trial) startProcess() (*process, error) {
	_, _ = fmt.Fprintf(&t.log, "--- manager %d ---\n", t.starts)
	env := []string{
		"KUBECONFIG=" + t.lane.kubeconfig, "AWS_ENDPOINT_URL=" + t.lane.awsEndpoint, "AWS_REGION=" + regionName,
		"AWS_ACCESS_KEY_ID=" + credential, "AWS_SECRET_ACCESS_KEY=" + credential, "AWS_EC2_METADATA_DISABLED=true",
		// A short life needs little garbage collection.
		"GOGC=400",
	}
	t.checker.ManagerStarted(time.Now())
	return startProcess(t.command, env, &t.log)
}

// watchOver starts another manager if one ended that was not killed, which is wrong.
func (t *trial) watchOver(p *process) {
	<-p.ended
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.manager != p {
		return
	}
	t.broken = append(t.broken, fmt.Sprintf("manager %d ended by itself: %v", t.starts, p.err))
	t.start()
}

// crash kills the manager at one of its calls and starts a fresh one, unless it is
// another's by now.
func (t *trial) crash(c Call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.manager
	if t.over || p == nil {
		return
	}
	t.manager = nil
	_, _ = fmt.Fprintf(&t.log, "--- killed at %s ---\n", c)
	if err := p.kill(); err != nil {
		t.broken = append(t.broken, err.Error())
	}
	t.start()
}

// end kills the manager for good; it is first asked what it does if the end wasn't
// reached.
func (t *trial) end(dump bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if dump && t.manager != nil {
		t.manager.dump()
	}
	for _, p := range append(t.rivals, t.manager) {
		if p == nil {
			continue
		}
		if err := p.kill(); err != nil {
			t.broken = append(t.broken, err.Error())
		}
	}
}
