// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"reflect"
	"time"
)

// Task returns the task with this ARN. One that was stopped is found as long as
// ECS lists it, about an hour.
func (o *Observer) Task(arn string) (Task, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	known, ok := o.tasks.items[arn]
	if !ok {
		return Task{}, false
	}
	return known.value, true
}

// TasksStartedBy returns all tasks that were started by s, in no order; there
// may be several.
func (o *Observer) TasksStartedBy(s string) []Task {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var tasks []Task
	for arn := range o.byStarter.ids(s) {
		tasks = append(tasks, o.tasks.items[arn].value)
	}
	return tasks
}

// TasksOfSession returns the tasks of all attempts of a session, in no order.
func (o *Observer) TasksOfSession(uid string) []Task {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var tasks []Task
	for arn := range o.bySession.ids(uid) {
		tasks = append(tasks, o.tasks.items[arn].value)
	}
	return tasks
}

// Tasks returns all known tasks, in no order.
func (o *Observer) Tasks() []Task {
	o.mu.RLock()
	defer o.mu.RUnlock()
	tasks := make([]Task, 0, len(o.tasks.items))
	for _, known := range o.tasks.items {
		tasks = append(tasks, known.value)
	}
	return tasks
}

// PutTask takes in a task that a writer got as an answer. One that is in motion, as
// a new one is, is watched until it isn't.
func (o *Observer) PutTask(t Task) {
	now := o.opts.Clock.Now()
	o.mu.Lock()
	changes := o.takeTask(t, now, now)
	o.mu.Unlock()
	o.emit(changes)
}

// TouchTask watches a task for a while, because a writer did something to it.
func (o *Observer) TouchTask(arn string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tasks.touch(arn, o.opts.Clock.Now().Add(o.opts.TouchTime))
}

// takeTask puts a task on its shelf and returns the changes by it.
func (o *Observer) takeTask(t Task, asOf, now time.Time) []Change {
	if known, ok := o.tasks.items[t.ARN]; ok {
		if len(t.Tags) == 0 {
			t.Tags = known.value.Tags
		}
		if known.value.DesiredStatus == TaskStopped {
			// One that is told to stop is never told to run again.
			t.DesiredStatus = TaskStopped
		}
		if len(t.Ports) == 0 {
			// ECS gives the ports back when the containers end; until the session's end
			// is dealt with, where it was is still worth knowing.
			t.Ports = known.value.Ports
		}
	}
	if !o.tasks.put(t.ARN, t, asOf, now) {
		return nil
	}
	o.byStarter.add(t.StartedBy, t.ARN)
	if uid, _, ok := ParseStartedBy(t.StartedBy); ok {
		o.bySession.add(uid, t.ARN)
	}
	return []Change{o.taskChange(t)}
}

// dropTask forgets what a listing found gone.
func (o *Observer) dropTask(t Task) Change {
	o.byStarter.remove(t.StartedBy, t.ARN)
	if uid, _, ok := ParseStartedBy(t.StartedBy); ok {
		o.bySession.remove(uid, t.ARN)
	}
	return o.taskChange(t)
}

func (o *Observer) taskChange(t Task) Change {
	change := Change{Kind: TaskChanged, TaskARN: t.ARN, StartedBy: t.StartedBy}
	if known, ok := o.containerHosts.items[t.ContainerHostARN]; ok {
		change.InstanceID = known.value.InstanceID
	}
	return change
}

// taskOrder is how far along its life a task is in each status.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html.
var taskOrder = map[string]int{
	"PROVISIONING": 0, "PENDING": 1, "ACTIVATING": 2, TaskRunning: 3,
	"DEACTIVATING": 4, "STOPPING": 5, "DEPROVISIONING": 6, TaskStopped: 7,
}

// taskSupersedes holds that a task only moves forward.
func taskSupersedes(old, fresh Task, later bool) bool {
	was, is := taskOrder[old.LastStatus], taskOrder[fresh.LastStatus]
	if is != was {
		return is > was
	}
	return later || old.DesiredStatus != fresh.DesiredStatus
}

func sameTask(a, b Task) bool { return reflect.DeepEqual(a, b) }
