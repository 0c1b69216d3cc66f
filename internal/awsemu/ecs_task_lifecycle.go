package awsemu

import "time"

// to puts a task into a state.
func (r *region) to(t *task, state string) {
	t.last = state
	r.taskChanged(t)
}

// plan has a step of the task happen on its host after d, unless the plan has
// changed by then. A step falls due on the host and is heard of when the agent is
// connected.
func (r *region) plan(t *task, d time.Duration, step func()) {
	t.step++
	number := t.step
	r.after(d, func() {
		if t.step != number {
			return
		}
		r.onHost(t.host, func() {
			if t.step == number {
				step()
			}
		})
	})
}

// startTask sets out a task that has just been placed.
func (r *region) startTask(t *task) {
	for i := range t.containers {
		t.containers[i].last = taskPending
	}
	// Only a task with a network interface of its own is provisioned first.
	if t.def.spec.NetworkMode != "awsvpc" {
		r.to(t, taskPending)
		r.plan(t, 0, func() { r.pullTask(t) })
		return
	}
	r.to(t, taskProvisioning)
	r.plan(t, r.delays().TaskStart/4, func() {
		r.to(t, taskPending)
		r.pullTask(t)
	})
}

// pullTask waits for the task's images. The first task with an image on a host
// pulls it; one that comes meanwhile waits for the same pull.
func (r *region) pullTask(t *task) {
	now := r.now()
	t.connectedAt, t.pullStartedAt = now, now
	r.taskChanged(t)
	ready := now
	for i := range t.containers {
		ct := &t.containers[i]
		done, there := t.host.images[ct.spec.Image]
		if !there {
			done = now.Add(r.delays().TaskPull)
		}
		if ct.behaviour.failPull {
			r.plan(t, r.delays().TaskPull, func() {
				r.failTask(t, ct, "CannotPullContainerError: Error response from daemon: pull access denied for "+
					ct.spec.Image+", repository does not exist or may require 'docker login'")
			})
			return
		}
		t.host.images[ct.spec.Image] = done
		if done.After(ready) {
			ready = done
		}
	}
	r.plan(t, ready.Sub(now), func() {
		t.pullStoppedAt = r.now()
		r.taskChanged(t)
		r.plan(t, r.delays().TaskStart/2, func() { r.activateTask(t) })
	})
}

// activateTask is the last stretch before the task runs.
func (r *region) activateTask(t *task) {
	r.to(t, taskActivating)
	for i := range t.containers {
		if ct := &t.containers[i]; ct.behaviour.failStart {
			r.plan(t, r.delays().TaskStart/2, func() {
				r.failTask(t, ct, "CannotStartContainerError: Error response from daemon: failed to create task for container")
			})
			return
		}
	}
	r.plan(t, r.delays().TaskStart/2, func() { r.runContainers(t) })
}

// runContainers has the task run: ports are bound, and what exits by itself is
// going to.
func (r *region) runContainers(t *task) {
	r.to(t, taskRunning)
	t.startedAt = r.now()
	for i := range t.containers {
		ct := &t.containers[i]
		ct.last = taskRunning
		ct.runtimeID = r.srv.dice.hex(32) + r.srv.dice.hex(32)
		r.bindPorts(t, ct)
		if ct.spec.HealthCheck != nil {
			r.after(r.delays().HealthCheck, func() { r.checkHealth(t, ct) })
		}
		if !ct.behaviour.exits {
			continue
		}
		r.after(ct.behaviour.exitAfter, func() {
			r.onHost(t.host, func() { r.containerExited(t, ct, ct.behaviour.exitCode, "") })
		})
	}
}

// checkHealth has the health check of a container run, if that still does.
func (r *region) checkHealth(t *task, ct *taskContainer) {
	if ct.last == taskRunning {
		ct.checked = true
		r.taskChanged(t)
	}
}

// bindPorts gives a container its host ports. With a network interface of its
// own, or none, a task has none.
func (r *region) bindPorts(t *task, ct *taskContainer) {
	mode := t.def.spec.NetworkMode
	if mode != "bridge" && mode != "host" {
		return
	}
	for _, p := range ct.spec.Ports {
		port := p.HostPort
		switch {
		case mode == "host":
			port = p.ContainerPort
		case port == 0:
			port = t.host.dynamicPort(p.protocol())
		}
		ct.bindings = append(ct.bindings, ecsNetworkBinding{
			BindIP: "0.0.0.0", ContainerPort: p.ContainerPort, HostPort: port, Protocol: p.protocol(),
		})
	}
}

// containerExited takes a container down and, if it is essential, its task.
func (r *region) containerExited(t *task, ct *taskContainer, code int, reason string) {
	if ct.last != taskRunning || t.desired == taskStopped {
		return
	}
	ct.last, ct.exitCode, ct.reason = taskStopped, &code, reason
	r.taskChanged(t)
	if !ct.spec.essential() {
		return
	}
	t.desired = taskStopped
	t.stopCode, t.stoppedReason = stopContainerExited, "Essential container in task exited"
	t.stoppingAt = r.now()
	r.endContainers(t)
}

// failTask ends a task that never ran.
func (r *region) failTask(t *task, ct *taskContainer, reason string) {
	ct.reason = reason
	t.desired = taskStopped
	t.stopCode, t.stoppedReason = stopFailedToStart, "Task failed to start"
	t.stoppingAt = r.now()
	r.endContainers(t)
}

// stopTask tells a task to stop. Told twice, or too late, changes nothing.
func (r *region) stopTask(t *task, code, reason string) {
	if t.desired == taskStopped {
		return
	}
	t.desired = taskStopped
	t.stopCode, t.stoppedReason = code, reason
	t.stoppingAt = r.now()
	r.taskChanged(t)
	quarter := r.delays().TaskStop / 4
	if t.last != taskRunning {
		r.plan(t, quarter, func() { r.endContainers(t) })
		return
	}
	r.plan(t, quarter, func() {
		r.to(t, taskDeactivating)
		r.plan(t, quarter, func() {
			r.to(t, taskStopping)
			r.plan(t, quarter+t.gracePeriod(), func() { r.endContainers(t) })
		})
	})
}

// gracePeriod is how long the slowest container holds out after SIGTERM.
func (t *task) gracePeriod() time.Duration {
	var longest time.Duration
	for i := range t.containers {
		if b := t.containers[i].behaviour; b.ignoreSIGTERM {
			longest = max(longest, b.stopTimeout)
		}
	}
	return longest
}

// endContainers stops what still runs and has the task cleaned up.
func (r *region) endContainers(t *task) {
	t.executionAt = r.now()
	for i := range t.containers {
		ct := &t.containers[i]
		if ct.last == taskRunning {
			code := ct.behaviour.stopExitCode
			if ct.behaviour.ignoreSIGTERM {
				code = exitKilled
			}
			ct.exitCode = &code
		}
		ct.last = taskStopped
	}
	r.to(t, taskDeprovisioning)
	r.plan(t, r.delays().TaskStop/4, func() { r.finishTask(t) })
}

// loseTask ends a task whose host has gone, without any word from its agent: no
// exit code is known.
func (r *region) loseTask(t *task, d time.Duration, code, reason string) {
	t.step++
	number := t.step
	if t.desired != taskStopped {
		t.desired = taskStopped
		t.stopCode, t.stoppedReason = code, reason
		t.stoppingAt = r.now()
		r.taskChanged(t)
	}
	if d <= 0 {
		r.finishTask(t)
		return
	}
	r.after(d, func() {
		if t.step == number {
			r.finishTask(t)
		}
	})
}

// finishTask has the task stopped: what it held on its host is free again.
func (r *region) finishTask(t *task) {
	t.step++
	r.to(t, taskStopped)
	t.stoppedAt = r.now()
	for i := range t.containers {
		t.containers[i].last = taskStopped
	}
	t.host.free.give(t.demand, t.gpus)
	r.memberChanged(t.host)
	delete(t.host.tasks, t.id)
	r.after(r.delays().StoppedTaskRetention, func() {
		delete(t.cluster.tasks, t.id)
		t.cluster.tasksByID.Delete(t)
	})
}
