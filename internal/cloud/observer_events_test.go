// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// fakeQueue is a queue whose messages and failures a test sets.
type fakeQueue struct {
	mu       sync.Mutex
	visible  []cloud.EventMessage
	inFlight []cloud.EventMessage
	receives int
	waiting  int
	deleted  []string
	fail     map[string]error
	changed  chan struct{}
}

func newFakeQueue() *fakeQueue {
	return &fakeQueue{fail: map[string]error{}, changed: make(chan struct{})}
}

// change changes the queue, and wakes whoever waits for a message.
func (q *fakeQueue) change(how func(*fakeQueue)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	how(q)
	close(q.changed)
	q.changed = make(chan struct{})
}

// put puts events into the queue; their receipts are their first ids.
func (q *fakeQueue) put(events ...cloud.Event) {
	q.change(func(q *fakeQueue) {
		for _, e := range events {
			receipt := string(e.Kind)
			if len(e.IDs) > 0 {
				receipt = e.IDs[0]
			}
			q.visible = append(q.visible, cloud.EventMessage{Receipt: receipt, Event: e})
		}
	})
}

// handOutAgain has what was received and not deleted be received once more.
func (q *fakeQueue) handOutAgain() {
	q.change(func(q *fakeQueue) { q.visible, q.inFlight = append(q.visible, q.inFlight...), nil })
}

func (q *fakeQueue) deletedSorted() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Sorted(slices.Values(q.deleted))
}

func (q *fakeQueue) received() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.receives
}

func (q *fakeQueue) Receive(ctx context.Context, wait time.Duration) ([]cloud.EventMessage, error) {
	for {
		q.mu.Lock()
		err, changed := q.fail["Receive"], q.changed
		n := min(cloud.ReceiveBatch, len(q.visible))
		taken := slices.Clone(q.visible[:n])
		if err == nil {
			q.visible = slices.Delete(q.visible, 0, n)
			q.inFlight = append(q.inFlight, taken...)
		}
		if err != nil || n > 0 || wait == 0 {
			q.receives++
			q.mu.Unlock()
			return taken, err
		}
		q.waiting++
		q.mu.Unlock()
		var ended error
		select {
		case <-changed:
		case <-ctx.Done():
			ended = ctx.Err()
		}
		q.mu.Lock()
		q.waiting--
		q.mu.Unlock()
		if ended != nil {
			return nil, ended
		}
	}
}

// waitedFor is how many calls wait for a message.
func (q *fakeQueue) waitedFor() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

func (q *fakeQueue) Delete(_ context.Context, receipts []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fail["Delete"]; err != nil {
		return err
	}
	q.deleted = append(q.deleted, receipts...)
	q.inFlight = slices.DeleteFunc(q.inFlight, func(m cloud.EventMessage) bool { return slices.Contains(receipts, m.Receipt) })
	return nil
}

// tally is what was counted, e.g. "Host Looked" twice, and the last age.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	age    time.Duration
}

func (c *tally) EventHandled(region, kind, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[region+" "+kind+" "+outcome]++
}

func (c *tally) EventAge(_ string, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age = age
}

func (c *tally) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[string]int{}
	for k, n := range c.counts {
		counts[k] = n
	}
	return counts
}

// told is an Observer of a fake region with a queue, on a fake clock, that has
// listed once and does not again.
type told struct {
	*watched
	queue  *fakeQueue
	counts *tally
	cancel context.CancelFunc
}

// target owns the hosts and tasks with owned's tags.
var (
	target = cloud.Target{ClusterID: "c1", Region: "east", AWSRegion: "us-east-1", ECSCluster: "mandelbox"}
	owned  = map[string]string{cloud.TagCluster: "c1", cloud.TagRegion: "east"}
)

func tell(t *testing.T, prepare func(*fakeAWS)) *told {
	t.Helper()
	w := &told{
		watched: &watched{
			g: NewWithT(t), aws: newFakeAWS(), clock: clocktesting.NewFakeClock(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)),
		},
		queue: newFakeQueue(), counts: &tally{counts: map[string]int{}},
	}
	if prepare != nil {
		prepare(w.aws)
	}
	w.Observer = cloud.NewObserver(w.aws, cloud.ObserverOptions{
		Clock: w.clock, ListInterval: 24 * time.Hour, CatalogInterval: 24 * time.Hour,
		Target: target, Queue: w.queue, EventCounts: w.counts,
		OnChange: func(c cloud.Change) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes = append(w.changes, c)
		},
	})
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		w.cancel()
		NewWithT(t).Expect(<-done).To(Succeed())
	})
	w.eventually(func(g Gomega) {
		g.Expect(w.Synced() && w.TasksSynced()).To(BeTrue())
		received, err := w.Events()
		g.Expect(received).To(BeTrue())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(w.queue.waitedFor()).To(Equal(1), "what it is told of is told by then")
	})
	return w
}

// eventually lets time go by, a quarter of a second at a time, until the assertions hold.
func (w *told) eventually(assert func(g Gomega)) {
	w.g.Eventually(func(g Gomega) {
		w.clock.Step(250 * time.Millisecond)
		assert(g)
	}).WithTimeout(30 * time.Second).WithPolling(10 * time.Millisecond).Should(Succeed())
}

// syncedOnce waits until it was told of one change of how far observations can be
// relied on, and not of more.
func (w *told) syncedOnce() {
	count := 0
	w.eventually(func(g Gomega) {
		count += len(w.seen(cloud.SyncedChanged))
		g.Expect(count).To(Equal(1))
	})
}

func (w *told) settled(receipts ...string) {
	w.eventually(func(g Gomega) { g.Expect(w.queue.deletedSorted()).To(Equal(receipts)) })
}

// hostEvent tells that a host has come into a state.
func hostEvent(id string, state cloud.HostState) cloud.Event {
	return cloud.Event{Kind: cloud.EventHost, IDs: []string{id}, State: string(state)}
}

// taskEvent tells that a task has come into a status.
func taskEvent(n int, status string) cloud.Event {
	return cloud.Event{Kind: cloud.EventTask, IDs: []string{runningTask(n).ARN}, State: status}
}

func TestAnEventIsFollowedByALook(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.aws.change(func(f *fakeAWS) {
		stopped := runningTask(1)
		stopped.LastStatus = cloud.TaskStopped
		f.tasks["task/1"] = stopped
		dead := runningHost("i-1", 0)
		dead.State = cloud.HostTerminated
		f.hosts["i-1"] = dead
		silent := activeHost("i-1")
		silent.AgentConnected = false
		f.containerHosts["ci/i-1"] = silent
	})
	host := hostEvent("i-1", cloud.HostTerminated)
	host.Time = w.clock.Now()
	w.queue.put(host, taskEvent(1, cloud.TaskStopped),
		cloud.Event{Kind: cloud.EventContainerHost, IDs: []string{"ci/i-1"}, State: cloud.ContainerHostActive})
	w.settled("ci/i-1", "i-1", "task/1")
	got, _ := w.HostByID("i-1")
	w.g.Expect(got.State).To(Equal(cloud.HostTerminated))
	task, _ := w.Task("task/1")
	w.g.Expect(task.Stopped()).To(BeTrue())
	containerHost, _ := w.ContainerHost("i-1")
	w.g.Expect(containerHost.AgentConnected).To(BeFalse())
	w.g.Expect(w.aws.count("ListHosts")).To(Equal(1), "nothing was listed for it")
	w.g.Expect(w.counts.all()).To(Equal(map[string]int{
		"east Host Looked": 1, "east Task Looked": 1, "east ContainerHost Looked": 1,
	}))
	w.g.Expect(w.counts.age).To(BeNumerically("<", 5*time.Second))
}

func TestManyEventsShareOneLook(t *testing.T) {
	t.Parallel()
	w := tell(t, func(f *fakeAWS) {
		for n := range 60 {
			f.tasks[runningTask(n).ARN] = runningTask(n)
		}
	})
	var events []cloud.Event
	for n := range 60 {
		events = append(events, taskEvent(n, "STOPPING"), taskEvent(n, "STOPPING"))
	}
	w.queue.put(events...)
	w.eventually(func(g Gomega) { g.Expect(w.queue.deletedSorted()).To(HaveLen(120)) })
	w.g.Expect(w.counts.all()["east Task Looked"]).To(Equal(120))
	w.g.Expect(w.aws.asks("DescribeTasks")[0]).To(HaveLen(60), "what comes after is for what lags behind")
}

func TestAMessageIsDeletedOnlyAfterItsLookSucceeded(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.seen(cloud.SyncedChanged)
	throttled := &cloud.Error{Op: "DescribeInstances", Kind: cloud.KindThrottled, Err: errors.New("slow down")}
	w.aws.change(func(f *fakeAWS) { f.fail["DescribeHosts"] = throttled })
	w.queue.put(hostEvent("i-1", cloud.HostTerminated), taskEvent(1, cloud.TaskStopped))
	w.settled("task/1")
	w.eventually(func(g Gomega) {
		_, err := w.Events()
		g.Expect(err).To(MatchError(throttled))
	})
	w.g.Expect(w.Err()).NotTo(HaveOccurred(), "the listings are well")
	w.syncedOnce()
	w.g.Expect(w.counts.all()["east Host Failed"]).To(Equal(1))

	w.aws.change(func(f *fakeAWS) {
		delete(f.fail, "DescribeHosts")
		dead := runningHost("i-1", 0)
		dead.State = cloud.HostTerminated
		f.hosts["i-1"] = dead
	})
	w.queue.handOutAgain()
	w.settled("i-1", "task/1")
	got, _ := w.HostByID("i-1")
	w.g.Expect(got.State).To(Equal(cloud.HostTerminated))
	w.eventually(func(g Gomega) {
		_, err := w.Events()
		g.Expect(err).NotTo(HaveOccurred())
	})
}

func TestAMessageOutlivesWhoReceivedIt(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.aws.change(func(f *fakeAWS) {
		f.onDescribe = func() error {
			w.cancel()
			return context.Canceled
		}
	})
	w.queue.put(hostEvent("i-1", cloud.HostTerminated))
	w.g.Eventually(func() int { return w.aws.count("DescribeHosts") }).Should(Equal(1))
	w.g.Consistently(w.queue.deletedSorted, "30ms").Should(BeEmpty())
}

func TestWhatIsKnownIsNotLookedAt(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.queue.put(
		hostEvent("i-1", cloud.HostRunning), taskEvent(1, cloud.TaskRunning),
		cloud.Event{Kind: cloud.EventContainerHost, IDs: []string{"ci/i-1"}, State: cloud.ContainerHostActive, AgentConnected: true},
	)
	w.settled("ci/i-1", "i-1", "task/1")
	for _, op := range []string{"DescribeHosts", "DescribeContainerHosts", "DescribeTasks"} {
		w.g.Expect(w.aws.count(op)).To(BeZero(), op)
	}
	w.g.Expect(w.counts.all()).To(Equal(map[string]int{
		"east Host Known": 1, "east Task Known": 1, "east ContainerHost Known": 1,
	}))
}

func TestWhatConcernsNobodyIsDeletedUnread(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.queue.put(
		cloud.Event{Kind: cloud.EventOther}, cloud.Event{Kind: cloud.EventUnreadable}, cloud.Event{Kind: cloud.EventTask},
		cloud.Event{Kind: cloud.EventHealth, IDs: []string{"i-theirs"}},
	)
	w.settled("Other", "Task", "Unreadable", "i-theirs")
	w.g.Expect(w.aws.count("DescribeTasks")).To(BeZero())
	w.g.Expect(w.aws.count("ListHostHealth")).To(Equal(1), "as at the start")
}

func TestOnlyWhatIsOursIsTakenIn(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.aws.change(func(f *fakeAWS) {
		ours, theirs := runningHost("i-2", 1), runningHost("i-theirs", 0)
		ours.Tags = owned
		theirs.Tags = map[string]string{cloud.TagCluster: "c2", cloud.TagRegion: "east"}
		f.hosts["i-2"], f.hosts["i-theirs"] = ours, theirs
		mine, other := runningTask(2), runningTask(3)
		mine.Tags = owned
		f.tasks["task/2"], f.tasks["task/3"] = mine, other
	})
	w.queue.put(hostEvent("i-2", cloud.HostRunning), hostEvent("i-theirs", cloud.HostRunning), hostEvent("i-gone", cloud.HostRunning),
		taskEvent(2, cloud.TaskRunning), taskEvent(3, cloud.TaskRunning))
	w.settled("i-2", "i-gone", "i-theirs", "task/2", "task/3")
	w.g.Expect(w.Hosts()).To(HaveLen(2))
	host, presence := w.Host("tok", 1)
	w.g.Expect(presence).To(Equal(cloud.Present))
	w.g.Expect(host.InstanceID).To(Equal("i-2"))
	w.g.Expect(w.Tasks()).To(HaveLen(2))
	w.g.Expect(w.TasksStartedBy(cloud.StartedBy("uid", 2))).To(HaveLen(1))
}

func TestAnEventThatIsAheadOfTheReadIsFollowedUp(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.queue.put(hostEvent("i-1", cloud.HostShuttingDown), taskEvent(1, cloud.TaskStopped),
		cloud.Event{Kind: cloud.EventContainerHost, IDs: []string{"ci/i-1"}, State: cloud.ContainerHostDraining, AgentConnected: true})
	w.settled("ci/i-1", "i-1", "task/1")
	for _, op := range []string{"DescribeHosts", "DescribeContainerHosts", "DescribeTasks"} {
		looked := w.aws.count(op)
		w.eventually(func(g Gomega) { g.Expect(w.aws.count(op)).To(BeNumerically(">", looked+2), op) })
	}
}

func TestAnOldEventIsNotFollowedUp(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.queue.put(hostEvent("i-1", cloud.HostPending), taskEvent(1, "PENDING"))
	w.settled("i-1", "task/1")
	described := w.aws.count("DescribeHosts")
	w.clock.Step(time.Minute)
	w.queue.put(cloud.Event{Kind: cloud.EventOther})
	w.settled("Other", "i-1", "task/1")
	w.g.Expect(w.aws.count("DescribeHosts")).To(Equal(described))
	host, _ := w.HostByID("i-1")
	w.g.Expect(host.State).To(Equal(cloud.HostRunning))
}

func TestScheduledMaintenanceHasHealthListed(t *testing.T) {
	t.Parallel()
	w := tell(t, func(f *fakeAWS) {
		quietFleet(f)
		spot := runningHost("i-1", 0)
		spot.Spot = true
		f.hosts["i-1"] = spot
		f.fail["ListSpotInterruptions"] = errors.New("not allowed, and of no matter here")
	})
	w.seen(cloud.HostChanged)
	w.aws.change(func(f *fakeAWS) {
		f.health["i-1"] = cloud.HostHealth{InstanceID: "i-1", Events: []cloud.HostEvent{{Code: "instance-stop"}}}
	})
	w.queue.put(cloud.Event{Kind: cloud.EventHealth, IDs: []string{"i-theirs", "i-1"}})
	w.settled("i-theirs")
	health, _ := w.HostHealth("i-1")
	w.g.Expect(health.Events).To(HaveLen(1))
	w.g.Expect(w.seen(cloud.HostChanged)).To(HaveLen(1))
}

func TestANoticeIsTakenAtItsWord(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.seen(cloud.HostChanged)
	notice := func(id string) cloud.Event {
		return cloud.Event{Kind: cloud.EventNotice, IDs: []string{id}, Notice: cloud.HostEvent{
			Code: cloud.EventSpotInterruption, NotBefore: w.clock.Now().Add(cloud.SpotNotice),
		}}
	}
	w.queue.put(notice("i-1"), notice("i-1"), notice("i-theirs"))
	w.settled("i-1", "i-1", "i-theirs")
	health, known := w.HostHealth("i-1")
	w.g.Expect(known).To(BeTrue())
	_, interrupted := health.Interruption()
	w.g.Expect(interrupted).To(BeTrue())
	w.g.Expect(w.seen(cloud.HostChanged)).To(HaveLen(1))
	w.g.Expect(w.counts.all()).To(Equal(map[string]int{"east Notice Noticed": 2, "east Notice Ignored": 1}))
}

func TestAQueueThatFailsIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	w.seen(cloud.SyncedChanged)
	missing := &cloud.Error{Op: "ReceiveMessage", Kind: cloud.KindNotFound, Err: errors.New("no such queue")}
	w.queue.change(func(q *fakeQueue) { q.fail["Receive"] = missing })
	w.eventually(func(g Gomega) {
		received, err := w.Events()
		g.Expect(received).To(BeFalse())
		g.Expect(err).To(MatchError(missing))
	})
	w.syncedOnce()
	w.g.Expect(w.Err()).NotTo(HaveOccurred())
	before := w.queue.received()
	for range 100 {
		w.clock.Step(time.Second)
		w.g.Eventually(w.clock.Waiters).Should(Equal(loops + 1)) // Every loop sleeps again.
	}
	w.g.Expect(w.queue.received()-before).To(BeNumerically("<=", 8), "it backs off to half a minute")
	w.g.Expect(w.seen(cloud.SyncedChanged)).To(BeEmpty(), "the same error is no news")

	w.queue.change(func(q *fakeQueue) { delete(q.fail, "Receive") })
	w.eventually(func(g Gomega) {
		received, err := w.Events()
		g.Expect(received).To(BeTrue())
		g.Expect(err).NotTo(HaveOccurred())
	})
	w.syncedOnce()
}

func TestMessagesThatCannotBeDeletedAreHarmless(t *testing.T) {
	t.Parallel()
	w := tell(t, quietFleet)
	denied := &cloud.Error{Op: "DeleteMessageBatch", Kind: cloud.KindUnauthorized, Err: errors.New("denied")}
	w.queue.change(func(q *fakeQueue) { q.fail["Delete"] = denied })
	w.aws.change(func(f *fakeAWS) {
		dead := runningHost("i-1", 0)
		dead.State = cloud.HostTerminated
		f.hosts["i-1"] = dead
	})
	w.queue.put(hostEvent("i-1", cloud.HostTerminated))
	w.eventually(func(g Gomega) {
		_, err := w.Events()
		g.Expect(err).To(MatchError(denied))
	})
	for n := range 3 {
		w.queue.handOutAgain()
		w.eventually(func(g Gomega) { g.Expect(w.counts.all()["east Host Known"]).To(Equal(n+1), fmt.Sprint(n)) })
	}
	w.g.Expect(w.aws.count("DescribeHosts")).To(Equal(1))
}
