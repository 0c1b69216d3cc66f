// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// stopOwnEnd is the stop code of a task whose container ended by itself.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html.
const stopOwnEnd = "EssentialContainerExited"

// Observation is what really runs in the cloud at one moment: all hosts and tasks
// there are, with those that ended a while ago.
type Observation struct {
	Hosts []Host
	Tasks []Task
}

// Host is an EC2 instance.
type Host struct {
	// ID is EC2's; ClientToken and LaunchIndex say which launch made it.
	ID, ClientToken string
	LaunchIndex     int
	// Cluster is the value of its tag mandelbox.dev/cluster.
	Cluster string
	// Live says that it is pending or running.
	Live bool
	// Registered says that its ECS agent is registered.
	Registered bool
}

// Task is an ECS task.
type Task struct {
	ARN, InstanceID, StartedBy string
	// LastStatus and DesiredStatus are ECS's: RUNNING, STOPPED, ...
	LastStatus, DesiredStatus string
	StopCode, StoppedReason   string
	// StartedAt and StoppedAt are zero until then.
	StartedAt, StoppedAt time.Time
}

// task is a session's task, with whose it is.
type task struct {
	Task
	uid     string
	attempt int32
}

// live says whether the task is to run.
func (t *task) live() bool {
	return t.LastStatus != cloud.TaskStopped && t.DesiredStatus != cloud.TaskStopped
}

// taskKey is whose task it is, and for which attempt.
type taskKey struct {
	uid     string
	attempt int32
}

// cloudState is what is remembered of the cloud.
type cloudState struct {
	hosts map[string]Host
	tasks map[string]*task // those that sessions were started as, by ARN
	// launchers are the names of all Instances, also of those that are gone, by
	// (token, index).
	launchers map[string]string
	// started and registered are which tasks ever ran and which hosts' agents ever
	// registered.
	started    map[taskKey]bool
	registered map[string]bool
	// lost are the hosts that were taken away, and disturbed those that were, or
	// whose agent was cut off.
	lost, disturbed map[string]bool
	// since is when what must not last was seen first, by rule and object.
	since map[[2]string]time.Time
	// managerSince is when the operator last started: it then begins to look anew.
	managerSince time.Time
}

func newCloudState() cloudState {
	return cloudState{
		hosts: map[string]Host{}, launchers: map[string]string{}, tasks: map[string]*task{}, started: map[taskKey]bool{}, registered: map[string]bool{},
		lost: map[string]bool{}, disturbed: map[string]bool{}, since: map[[2]string]time.Time{},
	}
}

// HostLost says that a host is being taken away: by the cloud, a fault or a
// person, and not by the operator. It must be called before that is done.
func (c *Checker) HostLost(instanceID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cloud.lost[instanceID] = true
	c.cloud.disturbed[instanceID] = true
}

// HostDisturbed says that a host's agent is being cut off: its room is gone, but
// its sessions must go on.
func (c *Checker) HostDisturbed(instanceID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cloud.disturbed[instanceID] = true
}

// ManagerStarted says that the operator was started, again or first: what it finds
// without an owner has its grace anew.
func (c *Checker) ManagerStarted(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cloud.managerSince = now
}

// Cloud feeds what runs in the cloud now.
func (c *Checker) Cloud(now time.Time, o Observation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lasting := map[[2]string]bool{}
	c.takeHosts(now, o.Hosts, lasting)
	c.takeTasks(now, o.Tasks, lasting)
	for key := range c.cloud.since {
		if !lasting[key] {
			delete(c.cloud.since, key)
		}
	}
	c.judge(now)
}

// takeHosts takes in the hosts, and looks whose they are.
func (c *Checker) takeHosts(now time.Time, hosts []Host, lasting map[[2]string]bool) {
	owners := map[string]*host{}
	for _, h := range c.hosts {
		for key := range h.launches {
			owners[key] = h
		}
	}
	first := map[*host]string{}
	c.cloud.hosts = make(map[string]Host, len(hosts))
	for _, seen := range hosts {
		c.cloud.hosts[seen.ID] = seen
		if seen.Registered {
			c.cloud.registered[seen.ID] = true
		}
		if !seen.Live || seen.Cluster != c.options.ClusterID {
			continue
		}
		owner := owners[v1alpha1.LaunchKey(seen.ClientToken, int32(seen.LaunchIndex))]
		if owner == nil {
			if c.lasts(now, RuleHostOwner, seen.ID, c.options.OwnerGrace, lasting) {
				c.report(now, ExactlyOnce, RuleHostOwner, "host "+seen.ID, "%s, for longer than %s", c.fateOfOwner(seen), c.options.OwnerGrace)
			}
			continue
		}
		if other, twice := first[owner]; twice {
			if c.lasts(now, RuleOneHost, owner.name, c.options.Overlap, lasting) {
				c.report(now, ExactlyOnce, RuleOneHost, "Instance "+owner.name, "it has hosts %s and %s", other, seen.ID)
			}
		}
		first[owner] = seen.ID
	}
}

// fateOfOwner says why a host has no owner.
func (c *Checker) fateOfOwner(h Host) string {
	key := v1alpha1.LaunchKey(h.ClientToken, int32(h.LaunchIndex))
	if name := c.cloud.launchers[key]; name != "" {
		return "Instance " + name + ", which launched it, is gone"
	}
	return "no Instance has launched it (token and index " + key + ")"
}

// takeTasks takes in the tasks, and looks whose they are and which have ended.
func (c *Checker) takeTasks(now time.Time, tasks []Task, lasting map[[2]string]bool) {
	known := c.cloud.tasks
	c.cloud.tasks = make(map[string]*task, len(known))
	first := map[string]*task{}
	for _, seen := range tasks {
		before := known[seen.ARN]
		t := &task{Task: seen}
		if before != nil {
			t.uid, t.attempt = before.uid, before.attempt
		} else {
			uid, attempt, ok := cloud.ParseStartedBy(seen.StartedBy)
			if !ok {
				continue
			}
			t.uid, t.attempt = uid, attempt
		}
		c.cloud.tasks[seen.ARN] = t
		if !seen.StartedAt.IsZero() {
			c.cloud.started[taskKey{t.uid, t.attempt}] = true
		}
		if !t.live() {
			if before == nil || before.live() {
				c.judgeStop(now, seen.ARN)
			}
			continue
		}
		c.checkTask(now, t, first, lasting)
	}
}

// checkTask looks whether a task that is to run is the only one of an owner.
func (c *Checker) checkTask(now time.Time, t *task, first map[string]*task, lasting map[[2]string]bool) {
	if c.cloud.lost[t.InstanceID] {
		return // It runs in the books of ECS alone.
	}
	if other := first[t.uid]; other != nil {
		if c.lasts(now, RuleOneTask, t.uid, c.options.Overlap, lasting) {
			c.report(now, ExactlyOnce, RuleOneTask, c.sessionName(t.uid), "tasks %s of attempt %d and %s of attempt %d are both to run",
				other.ARN, other.attempt, t.ARN, t.attempt)
		}
	}
	first[t.uid] = t
	if s := c.sessions[t.uid]; s != nil && !s.over() {
		return
	}
	if c.lasts(now, RuleTaskOwner, t.ARN, c.options.OwnerGrace, lasting) {
		c.report(now, ExactlyOnce, RuleTaskOwner, "task "+t.ARN, "no Mandelbox needs it (startedBy %s), for longer than %s", t.StartedBy, c.options.OwnerGrace)
	}
}

// lasts says whether something has been so for longer than it may. While it is,
// it must be asked with each observation.
func (c *Checker) lasts(now time.Time, rule, object string, limit time.Duration, lasting map[[2]string]bool) bool {
	key := [2]string{rule, object}
	lasting[key] = true
	since, known := c.cloud.since[key]
	if !known {
		c.cloud.since[key] = now
		return false
	}
	if c.cloud.managerSince.After(since) {
		since = c.cloud.managerSince
	}
	return now.Sub(since) > limit
}

// sessionName names a Mandelbox by its uid, as far as it is known.
func (c *Checker) sessionName(uid string) string {
	if s := c.sessions[uid]; s != nil {
		return s.name
	}
	return "Mandelbox with uid " + uid
}

// checkActive holds the phase Active to the cloud.
func (c *Checker) checkActive(now time.Time, h *host, i *v1alpha1.Instance) {
	if i.Status.Phase == v1alpha1.InstanceActive && h.phase != v1alpha1.InstanceActive && !c.cloud.registered[i.Status.InstanceID] {
		c.report(now, Truth, RuleActive, describe(i), "it is called Active, and the agent of host %q has not registered", i.Status.InstanceID)
	}
}
