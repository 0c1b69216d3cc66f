// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker_test

import (
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const clusterID = "cluster"

// history is a story told to a checker, in steps of 100ms.
type history struct {
	*checker.Checker
	now      time.Time
	revision int
	cloud    checker.Observation
}

func newHistory() *history {
	return &history{
		Checker: checker.New(checker.Options{ClusterID: clusterID, Settle: time.Second, Overlap: 2 * time.Second, OwnerGrace: 10 * time.Second}),
		now:     time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
	}
}

// pass lets time pass, in which the cloud is looked at.
func (h *history) pass(d time.Duration) {
	for end := h.now.Add(d); h.now.Before(end); {
		h.now = h.now.Add(100 * time.Millisecond)
		h.Cloud(h.now, h.cloud)
	}
}

// write tells of an object's next version, a copy of it.
func (h *history) write(o client.Object) { h.tell(o, false) }

func (h *history) remove(o client.Object) { h.tell(o, true) }

func (h *history) tell(o client.Object, deleted bool) {
	h.pass(100 * time.Millisecond)
	h.revision++
	o.SetResourceVersion(strconv.Itoa(h.revision))
	version, _ := o.DeepCopyObject().(client.Object)
	h.Version(h.now, checker.Version{Object: version, Deleted: deleted})
}

// list tells of an object as a list has it.
func (h *history) list(o client.Object) {
	h.pass(100 * time.Millisecond)
	version, _ := o.DeepCopyObject().(client.Object)
	h.Version(h.now, checker.Version{Object: version, Listed: strconv.Itoa(h.revision)})
}

// rules are the names of those that were broken.
func (h *history) rules() []string {
	h.pass(3 * time.Second)
	var names []string
	for _, v := range h.Violations() {
		names = append(names, v.Rule)
	}
	return names
}

// host is an Active Instance with two slots.
func (h *history) host(name string) *v1alpha1.Instance {
	h.cloud.Hosts = append(h.cloud.Hosts, checker.Host{ID: "i-" + name, ClientToken: name, Cluster: clusterID, Live: true, Registered: true})
	i := &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec:       v1alpha1.InstanceSpec{RegionName: "r", AMIName: "stable", Revision: "one"},
		Status: v1alpha1.InstanceStatus{
			Phase: v1alpha1.InstanceActive, InstanceID: "i-" + name, Capacity: ptr.To[int32](2),
			Launch: &v1alpha1.Launch{Token: name, Count: 1, Attempt: 1},
		},
	}
	h.write(i)
	return i
}

func claim(m *v1alpha1.Mandelbox, slot, attempt int32) v1alpha1.Claim {
	return v1alpha1.Claim{Slot: slot, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), Attempt: attempt}
}

func mandelbox(name string) *v1alpha1.Mandelbox {
	return &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: "t", Name: name, UID: types.UID("uid-" + name)}}
}

// assign reserves and commits.
func (h *history) assign(m *v1alpha1.Mandelbox, i *v1alpha1.Instance, slot int32) {
	i.Status.Claims = append(i.Status.Claims, claim(m, slot, 1))
	h.write(i)
	h.commit(m, i, slot)
	h.write(m)
}

// commit gives the session its slot, and tells nobody.
func (h *history) commit(m *v1alpha1.Mandelbox, i *v1alpha1.Instance, slot int32) {
	m.Status.InstanceName, m.Status.Slot, m.Status.Attempt, m.Status.Phase = i.Name, ptr.To(slot), 1, v1alpha1.MandelboxAllocated
	h.revision++
}

// run has the task of the attempt run.
func (h *history) run(m *v1alpha1.Mandelbox, i *v1alpha1.Instance) *checker.Task {
	h.cloud.Tasks = append(h.cloud.Tasks, checker.Task{
		ARN: "task-" + m.Name, InstanceID: i.Status.InstanceID, StartedBy: cloud.StartedBy(string(m.UID), 1),
		LastStatus: cloud.TaskRunning, DesiredStatus: cloud.TaskRunning, StartedAt: h.now,
	})
	m.Status.Phase = v1alpha1.MandelboxRunning
	h.write(m)
	return &h.cloud.Tasks[len(h.cloud.Tasks)-1]
}

func (h *history) stopped(t *checker.Task, code, reason string) {
	t.LastStatus, t.DesiredStatus, t.StopCode, t.StoppedReason, t.StoppedAt = cloud.TaskStopped, cloud.TaskStopped, code, reason, h.now
}

func finish(m *v1alpha1.Mandelbox, reason string) {
	m.Status.Phase = v1alpha1.MandelboxFinished
	m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionTrue, Reason: reason}}
}

// running is a session that runs on a host.
func (h *history) running() (*v1alpha1.Mandelbox, *v1alpha1.Instance, *checker.Task) {
	i, m := h.host("a"), mandelbox("m")
	h.assign(m, i, 0)
	return m, i, h.run(m, i)
}

// stories are histories with the rules that they break, none if it is a good one.
var stories = map[string]struct {
	broken []string
	tell   func(h *history)
}{
	"a session's whole life": {nil, func(h *history) {
		m, i, t := h.running()
		h.stopped(t, "EssentialContainerExited", "")
		finish(m, v1alpha1.ReasonCompleted)
		h.write(m)
		i.Status.Claims = nil
		h.write(i)
		h.remove(m)
	}},
	"a claim beyond the capacity": {[]string{checker.RuleCapacity, checker.RuleSlot}, func(h *history) {
		i := h.host("a")
		for slot := range int32(3) {
			i.Status.Claims = append(i.Status.Claims, claim(mandelbox(strconv.Itoa(int(slot))), slot, 1))
		}
		h.write(i)
	}},
	"two claims on a slot": {[]string{checker.RuleSlot}, func(h *history) {
		i := h.host("a")
		i.Status.Claims = []v1alpha1.Claim{claim(mandelbox("m"), 1, 1), claim(mandelbox("n"), 1, 1)}
		h.write(i)
	}},
	"a reservation that was never committed": {nil, func(h *history) {
		i := h.host("a")
		i.Status.Claims = []v1alpha1.Claim{claim(mandelbox("m"), 1, 1)}
		h.write(i)
		i.Status.Claims = nil
		h.write(i)
	}},
	"a commit without a claim": {[]string{checker.RuleBacked}, func(h *history) {
		h.host("a")
		m := mandelbox("m")
		m.Status.InstanceName, m.Status.Slot, m.Status.Attempt = "a", ptr.To[int32](0), 1
		h.write(m)
	}},
	"a commit of an attempt whose claim was released": {[]string{checker.RuleBacked}, func(h *history) {
		i, m := h.host("a"), mandelbox("m")
		i.Status.Claims = []v1alpha1.Claim{claim(m, 0, 1)}
		h.write(i)
		i.Status.Claims = nil
		h.write(i)
		m.Status.InstanceName, m.Status.Slot, m.Status.Attempt = "a", ptr.To[int32](0), 1
		h.write(m)
	}},
	"a claim released before its session ended": {[]string{checker.RuleBacked}, func(h *history) {
		_, i, _ := h.running()
		i.Status.Claims = nil
		h.write(i)
	}},
	"a claim that went with its host": {nil, func(h *history) {
		m, i, t := h.running()
		h.HostLost(i.Status.InstanceID)
		h.cloud.Hosts[0].Live = false
		h.stopped(t, "TerminationNotice", "Host EC2 terminated")
		h.remove(i)
		h.pass(5 * time.Second)
		finish(m, v1alpha1.ReasonHostLost)
		h.write(m)
	}},
	"an attempt that moves": {[]string{checker.RuleAssignment, checker.RuleBacked}, func(h *history) {
		m, _, _ := h.running()
		m.Status.Slot = ptr.To[int32](1)
		h.write(m)
	}},
	"two hosts for an Instance": {[]string{checker.RuleOneHost}, func(h *history) {
		i := h.host("a")
		i.Status.Launch.Token = "b"
		h.write(i)
		h.cloud.Hosts = append(h.cloud.Hosts, checker.Host{ID: "i-b", ClientToken: "b", Cluster: clusterID, Live: true})
	}},
	"a host without an Instance": {[]string{checker.RuleHostOwner}, func(h *history) {
		h.cloud.Hosts = []checker.Host{{ID: "i-x", ClientToken: "x", Cluster: clusterID, Live: true}}
		h.pass(10 * time.Second)
	}},
	"a host without an Instance for less than its grace": {nil, func(h *history) {
		h.cloud.Hosts = []checker.Host{{ID: "i-x", ClientToken: "x", Cluster: clusterID, Live: true}}
		h.pass(6 * time.Second)
		h.ManagerStarted(h.now)
		h.pass(6 * time.Second)
	}},
	"another cluster's host": {nil, func(h *history) {
		h.cloud.Hosts = []checker.Host{{ID: "i-x", ClientToken: "x", Cluster: "another", Live: true}}
		h.pass(20 * time.Second)
	}},
	"two tasks for a Mandelbox": {[]string{checker.RuleOneTask}, func(h *history) {
		m, _, t := h.running()
		second := *t
		second.ARN, second.StartedBy = "second", cloud.StartedBy(string(m.UID), 2)
		h.cloud.Tasks = append(h.cloud.Tasks, second)
	}},
	"two tasks for a Mandelbox, the older told to stop": {nil, func(h *history) {
		m, _, t := h.running()
		m.DeletionTimestamp = &metav1.Time{Time: h.now}
		h.write(m)
		second := *t
		t.DesiredStatus = cloud.TaskStopped
		second.ARN, second.StartedBy = "second", cloud.StartedBy(string(m.UID), 2)
		h.cloud.Tasks = append(h.cloud.Tasks, second)
	}},
	"a task that outlives its Mandelbox": {[]string{checker.RuleTaskOwner}, func(h *history) {
		m, _, _ := h.running()
		m.DeletionTimestamp = &metav1.Time{Time: h.now}
		h.remove(m)
		h.pass(11 * time.Second)
	}},
	"a running task that is stopped": {[]string{checker.RuleStopped}, func(h *history) {
		_, _, t := h.running()
		h.stopped(t, "UserInitiated", "")
	}},
	"a running task that is stopped, the deletion being told of later": {nil, func(h *history) {
		m, _, t := h.running()
		h.stopped(t, "UserInitiated", "")
		h.pass(500 * time.Millisecond)
		m.DeletionTimestamp = &metav1.Time{Time: h.now}
		h.write(m)
	}},
	"a running task that is stopped at its maximum duration": {nil, func(h *history) {
		m, _, t := h.running()
		m.Spec.MaxSessionDuration = &metav1.Duration{Duration: 5 * time.Second}
		h.write(m)
		h.pass(6 * time.Second)
		h.stopped(t, "UserInitiated", v1alpha1.ReasonMaxDurationReached+": the session ran for 5s")
	}},
	"a running task that is stopped before its maximum duration": {[]string{checker.RuleStopped}, func(h *history) {
		m, _, t := h.running()
		m.Spec.MaxSessionDuration = &metav1.Duration{Duration: time.Minute}
		h.write(m)
		h.stopped(t, "UserInitiated", v1alpha1.ReasonMaxDurationReached+": the session ran for 60s")
	}},
	"a session said to have lost a host that is there": {[]string{checker.RuleEnded}, func(h *history) {
		m, _, t := h.running()
		h.stopped(t, "EssentialContainerExited", "")
		finish(m, v1alpha1.ReasonHostLost)
		h.write(m)
	}},
	"a running session that waits again": {[]string{checker.RuleEnded}, func(h *history) {
		m, _, _ := h.running()
		m.Status.Phase, m.Status.InstanceName, m.Status.Slot = v1alpha1.MandelboxPending, "", nil
		h.write(m)
	}},
	"Running before the task": {[]string{checker.RuleRunning}, func(h *history) {
		i, m := h.host("a"), mandelbox("m")
		h.assign(m, i, 0)
		m.Status.Phase = v1alpha1.MandelboxRunning
		h.write(m)
	}},
	"Active before the agent": {[]string{checker.RuleActive}, func(h *history) {
		i := h.host("a").DeepCopy()
		i.Name, i.UID, i.Status.InstanceID = "b", "b", "i-b"
		h.write(i)
	}},
	"a session that is listed with a claim that came after the Instances were listed": {nil, func(h *history) {
		m, i := mandelbox("m"), h.host("a")
		i.Status.Claims = append(i.Status.Claims, claim(m, 0, 1))
		h.write(i)
		h.commit(m, i, 0)
		h.list(m)
	}},
	"a session that is listed with no claim": {[]string{checker.RuleBacked}, func(h *history) {
		m, i := mandelbox("m"), h.host("a")
		h.commit(m, i, 0)
		h.list(m)
	}},
	"Finished before the task": {[]string{checker.RuleFinished}, func(h *history) {
		m, _, _ := h.running()
		finish(m, v1alpha1.ReasonCompleted)
		h.write(m)
	}},
}

func TestStories(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			h := newHistory()
			story.tell(h)
			rules := h.rules()
			if story.broken == nil {
				g.Expect(h.Violations()).To(BeEmpty())
			} else {
				g.Expect(rules).To(ConsistOf(story.broken), "%v", h.Violations())
			}
		})
	}
}

func TestAViolationIsToldOnce(t *testing.T) {
	g := NewWithT(t)
	h := newHistory()
	h.Report(h.now, checker.Truth, checker.RuleIdle, "the fleet", "it writes")
	h.Report(h.now, checker.Truth, checker.RuleIdle, "the fleet", "it still writes")
	g.Expect(h.Violations()).To(HaveLen(1))
	g.Expect(h.Violations()[0].String()).To(Equal("12:00:00.000: truth (idle-means-silent): the fleet: it writes"))
}

func TestWhatIsLeftBehindIsNamed(t *testing.T) {
	g := NewWithT(t)
	h := newHistory()
	m, i, task := h.running()
	h.write(&v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "r"}})
	g.Expect(h.LeftBehind()).To(Equal([]string{"Instance a", "Mandelbox t/m", "Region r", "host i-a", "task task-m of Mandelbox t/m"}))
	m.DeletionTimestamp = &metav1.Time{Time: h.now}
	h.write(m)
	h.stopped(task, "UserInitiated", "")
	h.cloud.Hosts[0].Live = false
	h.remove(m)
	h.remove(i)
	h.Gone(h.now)
	g.Expect(h.Violations()).To(HaveLen(1), "the Region")
	h.remove(&v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "r"}})
	g.Expect(h.LeftBehind()).To(BeEmpty())
}
