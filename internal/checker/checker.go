// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package checker holds an operator to its promises while it works. It is fed every
// version of every object that the API server serves and what really runs in the
// cloud, and says where the two, or their history, break a promise.
//
// It knows nothing of how the operator works: only what must be true of what
// anybody can see. It makes no call and reads no clock; Follow, which feeds it from
// an API server, is beside it.
//
// What two sources say arrives in no order between them. So a rule that needs both
// is judged a while (Options.Settle) after its cause, by the resource versions at
// which things began and ended; these are comparable between all kinds that one
// etcd holds.
package checker

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Promise is one of the operator's promises.
type Promise string

// The promises.
const (
	// OneSlot is: never two sessions in one slot.
	OneSlot Promise = "one session in a slot"
	// ExactlyOnce is: one host for an Instance, one task for a Mandelbox, and none
	// without an owner.
	ExactlyOnce Promise = "exactly once"
	// NeverTaken is: a running session is never taken away.
	NeverTaken Promise = "never taken away"
	// NoDowntime is: the old release serves until the new one has room.
	NoDowntime Promise = "no downtime in a rollout"
	// Truth is: status never says more than was observed, and an idle fleet writes nothing.
	Truth Promise = "truth"
)

// The rules that make a promise checkable, by the name that a Violation carries.
const (
	// RuleCapacity: an Instance has no more claims than capacity.
	RuleCapacity = "claims-within-capacity"
	// RuleSlot: the slots of an Instance's claims are unique and below its capacity.
	RuleSlot = "one-claim-for-a-slot"
	// RuleBacked: a committed Mandelbox holds the claim on the Instance and slot of
	// its status, from its commit until it is finished, gone or placed anew.
	RuleBacked = "commit-backed-by-claim"
	// RuleAssignment: an attempt's Instance and slot never change.
	RuleAssignment = "assignment-is-final"

	// RuleOneHost: an Instance has at most one EC2 instance that isn't on its way out.
	RuleOneHost = "one-host-for-an-instance"
	// RuleOneTask: a Mandelbox has at most one task that is to run.
	RuleOneTask = "one-task-for-a-mandelbox"
	// RuleHostOwner: each EC2 instance with the cluster's tag has an Instance.
	RuleHostOwner = "host-has-owner"
	// RuleTaskOwner: each session's task has an unfinished Mandelbox.
	RuleTaskOwner = "task-has-owner"
	// RuleLeftBehind: when everything was deleted, nothing is left.
	RuleLeftBehind = "nothing-left-behind"

	// RuleStopped: the task of a Mandelbox that was Running stops only for its
	// deletion, its own end, its maximum duration or its host's loss.
	RuleStopped = "running-task-stopped"
	// RuleEnded: a Mandelbox that was Running doesn't wait or start again, and is
	// called lost only if its host was.
	RuleEnded = "running-session-ended"

	// RuleSwap: where the release in use had room, the one that takes over has.
	RuleSwap = "swap-with-room"
	// RuleRoom: in a rollout, the last free slots of the active release go to
	// sessions, and not with a host that was told to leave.
	RuleRoom = "room-stays-in-a-rollout"

	// RuleRunning: phase Running follows the task's start.
	RuleRunning = "running-means-running"
	// RuleActive: phase Active follows the agent's registration.
	RuleActive = "active-means-registered"
	// RuleFinished: phase Finished follows the task's end.
	RuleFinished = "finished-means-stopped"
	// RuleIdle: an idle fleet causes no writes.
	RuleIdle = "idle-means-silent"
)

// Options say how patient the checker is.
type Options struct {
	// ClusterID is the value of the cluster tag on what the operator owns; hosts
	// with another are nobody's business. Required.
	ClusterID string
	// Settle is how long after its cause a rule over several sources is judged; 2s
	// by default. It must be more than the sources lag.
	Settle time.Duration
	// Overlap is for how long two hosts of an Instance, or two tasks of a
	// Mandelbox, may be seen: one look of the operator at AWS. 5s by default.
	Overlap time.Duration
	// OwnerGrace is how long a host or task may be without an owner: the operator's
	// own grace, its interval and a margin. 2m by default.
	OwnerGrace time.Duration
}

func (o Options) withDefaults() Options {
	if o.Settle <= 0 {
		o.Settle = 2 * time.Second
	}
	if o.Overlap <= 0 {
		o.Overlap = 5 * time.Second
	}
	if o.OwnerGrace <= 0 {
		o.OwnerGrace = 2 * time.Minute
	}
	return o
}

// Version is one version of an object as a watch told it.
type Version struct {
	// Object is one of the four kinds; other kinds are passed over.
	Object client.Object
	// Deleted says that this is the object's last version.
	Deleted bool
	// Listed is the version of the list that it comes from, which a watch followed;
	// empty if a watch told of it. What is listed has been true for nobody knows how
	// long.
	Listed string
}

// revision is from when on what the version says is held to be true: a listed
// Mandelbox from the list on, because Instances were listed before and so what backs
// it is known from then on; what else was listed, always.
func (v Version) revision() (uint64, error) {
	if v.Listed == "" {
		return strconv.ParseUint(v.Object.GetResourceVersion(), 10, 64)
	}
	if _, session := v.Object.(*v1alpha1.Mandelbox); session {
		return strconv.ParseUint(v.Listed, 10, 64)
	}
	return 0, nil
}

// Violation is a promise that was broken.
type Violation struct {
	Promise Promise   `json:"promise"`
	Rule    string    `json:"rule"`
	Object  string    `json:"object"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

// String is the violation in one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s (%s): %s: %s", v.Time.UTC().Format("15:04:05.000"), v.Promise, v.Rule, v.Object, v.Message)
}

// Checker judges what it is fed. Its methods may be called concurrently, but
// versions of one kind must come in their order, and Instances be listed before
// Mandelboxes, as Follow does both.
type Checker struct {
	options Options

	mu         sync.Mutex
	violations []Violation
	told       map[[2]string]bool
	pending    []judgement
	versions   int

	// sessions are all Mandelboxes by uid, also those that are gone.
	sessions map[string]*session
	hosts    map[string]*host // by name of the Instance; those that exist
	channels map[string]*channel
	claims   map[claimKey][]*span
	room     map[roomKey]*room
	regions  map[string]bool // names of the Regions that exist
	cloud    cloudState
	ending   bool
}

// judgement is a rule that is waiting to be judged.
type judgement struct {
	due   time.Time
	judge func(now time.Time)
}

// New makes a checker that has seen nothing yet.
func New(options Options) *Checker {
	return &Checker{
		options: options.withDefaults(), told: map[[2]string]bool{},
		sessions: map[string]*session{}, hosts: map[string]*host{}, channels: map[string]*channel{},
		claims: map[claimKey][]*span{}, room: map[roomKey]*room{}, regions: map[string]bool{},
		cloud: newCloudState(),
	}
}

// Version feeds one version of an object. For the rules of Truth, the cloud must
// have been fed as it was after the version was written.
func (c *Checker) Version(now time.Time, v Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions++
	revision, err := v.revision()
	if err != nil {
		c.report(now, Truth, "resource-version", describe(v.Object), "its resourceVersion is no number: %v", err)
		return
	}
	switch o := v.Object.(type) {
	case *v1alpha1.Mandelbox:
		c.mandelbox(now, revision, o, v.Deleted)
	case *v1alpha1.Instance:
		c.instance(now, revision, o, v.Deleted)
	case *v1alpha1.AMI:
		c.ami(now, revision, o, v.Deleted)
	case *v1alpha1.Region:
		if c.regions[o.Name] = true; v.Deleted {
			delete(c.regions, o.Name)
		}
	}
	c.judge(now)
}

// Ending says that everything is about to be deleted: room for sessions is then
// no longer owed to anybody.
func (c *Checker) Ending() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
}

// Report adds a violation that somebody else found, unless the same rule was
// broken by the same object before.
func (c *Checker) Report(now time.Time, promise Promise, rule, object, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report(now, promise, rule, object, "%s", message)
}

// Settle judges what is still waiting, as if its time had come.
func (c *Checker) Settle(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judge(now.Add(c.options.Settle))
}

// Violations are those found so far, in the order in which they were.
func (c *Checker) Violations() []Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}

// Versions is how many versions were fed.
func (c *Checker) Versions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.versions
}

// report notes a violation once for each rule and object. The caller holds mu.
func (c *Checker) report(now time.Time, promise Promise, rule, object, format string, args ...any) {
	key := [2]string{rule, object}
	if c.told[key] {
		return
	}
	c.told[key] = true
	c.violations = append(c.violations, Violation{
		Promise: promise, Rule: rule, Object: object, Time: now, Message: fmt.Sprintf(format, args...),
	})
}

// later has a rule judged once both sources have caught up. The caller holds mu.
func (c *Checker) later(now time.Time, judge func(now time.Time)) {
	c.pending = append(c.pending, judgement{due: now.Add(c.options.Settle), judge: judge})
}

// judge judges what is due. All wait equally long, so that the first is due first.
func (c *Checker) judge(now time.Time) {
	for len(c.pending) > 0 && !c.pending[0].due.After(now) {
		due := c.pending[0]
		c.pending = c.pending[1:]
		due.judge(now)
	}
}

// describe names an object: its kind, and its name with the namespace.
func describe(o client.Object) string {
	switch o := o.(type) {
	case *v1alpha1.Mandelbox:
		return "Mandelbox " + o.Namespace + "/" + o.Name
	case *v1alpha1.Instance:
		return "Instance " + o.Name
	case *v1alpha1.AMI:
		return "AMI " + o.Name
	case *v1alpha1.Region:
		return "Region " + o.Name
	}
	return o.GetName()
}
