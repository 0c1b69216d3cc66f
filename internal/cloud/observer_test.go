// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func TestMain(m *testing.M) {
	SetDefaultEventuallyTimeout(30 * time.Second)
	os.Exit(m.Run())
}

// loops is how many loops of an Observer wait on the clock when all is quiet.
const loops = 6

// watched is an Observer of a fake region, on a fake clock.
type watched struct {
	*cloud.Observer
	g       Gomega
	aws     *fakeAWS
	clock   *clocktesting.FakeClock
	mu      sync.Mutex
	changes []cloud.Change
}

func watch(t *testing.T, prepare func(*fakeAWS)) *watched {
	t.Helper()
	w := &watched{
		g:     NewWithT(t),
		aws:   newFakeAWS(),
		clock: clocktesting.NewFakeClock(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)),
	}
	if prepare != nil {
		prepare(w.aws)
	}
	w.Observer = cloud.NewObserver(w.aws, cloud.ObserverOptions{Clock: w.clock, OnChange: func(c cloud.Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, c)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		NewWithT(t).Expect(<-done).To(Succeed())
	})
	w.quiet()
	return w
}

// quiet waits until every loop waits on the clock.
func (w *watched) quiet() {
	w.g.Eventually(w.clock.Waiters).WithPolling(time.Millisecond).Should(Equal(loops))
}

// pass lets time go by, a second at a time, as the hot loop sees it.
func (w *watched) pass(d time.Duration) {
	for range int(d / time.Second) {
		w.clock.Step(time.Second)
		w.quiet()
	}
}

// seen returns the changes since the last call.
func (w *watched) seen(kind cloud.ChangeKind) []cloud.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []cloud.Change
	for _, c := range w.changes {
		if c.Kind == kind {
			list = append(list, c)
		}
	}
	w.changes = nil
	return list
}

func runningHost(id string, index int32) cloud.Host {
	return cloud.Host{InstanceID: id, Token: "tok", Index: index, State: cloud.HostRunning, PrivateIP: "10.0.0.1"}
}

func activeHost(id string) cloud.ContainerHost {
	return cloud.ContainerHost{ARN: "ci/" + id, InstanceID: id, Status: cloud.ContainerHostActive, AgentConnected: true}
}

func runningTask(n int) cloud.Task {
	return cloud.Task{ARN: fmt.Sprintf("task/%d", n), ContainerHostARN: "ci/i-1", StartedBy: cloud.StartedBy("uid", int32(n)),
		LastStatus: cloud.TaskRunning, DesiredStatus: cloud.TaskRunning}
}

// quietFleet is one host with one session, nothing in motion.
func quietFleet(f *fakeAWS) {
	f.hosts["i-1"] = runningHost("i-1", 0)
	f.containerHosts["ci/i-1"] = activeHost("i-1")
	f.tasks["task/1"] = runningTask(1)
}

func TestFirstListing(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.g.Expect(w.Synced()).To(BeTrue())
	w.g.Expect(w.TasksSynced()).To(BeTrue())
	w.g.Expect(w.Err()).NotTo(HaveOccurred())
	host, presence := w.Host("tok", 0)
	w.g.Expect(presence).To(Equal(cloud.Present))
	w.g.Expect(host.InstanceID).To(Equal("i-1"))
	_, presence = w.HostByID("i-1")
	w.g.Expect(presence).To(Equal(cloud.Present))
	containerHost, ok := w.ContainerHost("i-1")
	w.g.Expect(ok).To(BeTrue())
	w.g.Expect(containerHost.ARN).To(Equal("ci/i-1"))
	w.g.Expect(w.TasksStartedBy(cloud.StartedBy("uid", 1))).To(HaveLen(1))
	w.g.Expect(w.Hosts()).To(HaveLen(1))
	w.g.Expect(w.Tasks()).To(HaveLen(1))
}

func TestAnIdleFleetIsOnlyListed(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.seen(cloud.HostChanged)
	w.pass(70 * time.Second)
	for _, op := range []string{"DescribeHosts", "DescribeContainerHosts", "FindContainerHosts", "DescribeTasks", "InstanceTypes", "Cluster"} {
		w.g.Expect(w.aws.count(op)).To(BeZero(), op)
	}
	for _, op := range []string{"ListHosts", "ListContainerHosts", "ListTasks"} {
		w.g.Expect(w.aws.count(op)).To(BeNumerically("~", 3, 1), op)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		w.g.Expect(c.Kind).To(Equal(cloud.SyncedChanged), "only that absence now means gone")
	}
}

func TestAbsenceBecomesGoneOnlyAfterTheGracePeriod(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	_, presence := w.Host("never", 0)
	w.g.Expect(presence).To(Equal(cloud.Unknown), "it may have been launched just before the start")
	w.aws.change(func(f *fakeAWS) {
		delete(f.hosts, "i-1")
		delete(f.tasks, "task/1")
	})
	w.pass(45 * time.Second)
	_, presence = w.HostByID("i-1")
	w.g.Expect(presence).To(Equal(cloud.Present), "a read may lag")
	_, known := w.Task("task/1")
	w.g.Expect(known).To(BeTrue())
	w.seen(cloud.HostChanged)

	w.pass(90 * time.Second)
	_, presence = w.HostByID("i-1")
	w.g.Expect(presence).To(Equal(cloud.Gone))
	_, presence = w.Host("tok", 0)
	w.g.Expect(presence).To(Equal(cloud.Gone))
	_, presence = w.Host("never", 0)
	w.g.Expect(presence).To(Equal(cloud.Gone))
	w.g.Expect(w.TasksStartedBy(cloud.StartedBy("uid", 1))).To(BeEmpty())
	w.g.Expect(w.seen(cloud.HostChanged)).To(HaveLen(1))
}

// TestOneListingThatLacksAThingTakesNothingAway holds for listings that are far apart,
// too: as long as they take when there is much to list, or when some failed.
func TestOneListingThatLacksAThingTakesNothingAway(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.seen(cloud.HostChanged)
	w.aws.change(func(f *fakeAWS) {
		f.fail["ListHosts"], f.fail["ListTasks"] = errors.New("timeout"), errors.New("timeout")
	})
	w.pass(2 * time.Minute)
	for op, lack := range map[string]func(*fakeAWS){
		"ListHosts": func(f *fakeAWS) { delete(f.hosts, "i-1") },
		"ListTasks": func(f *fakeAWS) { delete(f.tasks, "task/1") },
	} {
		w.aws.change(func(f *fakeAWS) { delete(f.fail, op) })
		w.aws.change(lack)
		for before := w.aws.count(op); w.aws.count(op) == before; {
			w.pass(time.Second)
		}
		w.aws.change(quietFleet)
	}
	w.pass(2 * time.Minute)
	_, presence := w.HostByID("i-1")
	w.g.Expect(presence).To(Equal(cloud.Present))
	_, known := w.Task("task/1")
	w.g.Expect(known).To(BeTrue())
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		w.g.Expect(c.Kind).To(Equal(cloud.SyncedChanged), "only the failures came and went")
	}
}

func TestALaunchIsExpected(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.pass(100 * time.Second)
	w.ExpectLaunch("tok-2")
	_, presence := w.Host("tok-2", 0)
	w.g.Expect(presence).To(Equal(cloud.Unknown))
	_, presence = w.Host("tok-3", 0)
	w.g.Expect(presence).To(Equal(cloud.Gone))
	w.pass(100 * time.Second)
	_, presence = w.Host("tok-2", 0)
	w.g.Expect(presence).To(Equal(cloud.Gone))
}

func TestALaunchedHostIsFollowed(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	pending := runningHost("i-2", 1)
	pending.State = cloud.HostPending
	pending.Tags = map[string]string{"k": "v"}
	w.PutHosts(pending)
	host, presence := w.Host("tok", 1)
	w.g.Expect(presence).To(Equal(cloud.Present), "the answer of the launch is an observation")
	w.g.Expect(host.State).To(Equal(cloud.HostPending))

	w.pass(2 * time.Second) // Not visible yet: it stays.
	w.g.Expect(w.aws.asks("DescribeHosts")).To(HaveEach([]string{"i-2"}))
	w.aws.change(func(f *fakeAWS) { f.hosts["i-2"] = runningHost("i-2", 1) })
	w.pass(time.Second)
	host, _ = w.Host("tok", 1)
	w.g.Expect(host.State).To(Equal(cloud.HostRunning))
	w.g.Expect(host.Tags).To(HaveKey("k"), "tags may be visible later than the host")

	w.pass(time.Second)
	w.g.Expect(w.aws.asks("FindContainerHosts")).To(HaveEach([]string{"i-2"}), "only for the one that has none")
	w.seen(cloud.HostChanged)
	w.aws.change(func(f *fakeAWS) { f.containerHosts["ci/i-2"] = activeHost("i-2") })
	w.pass(time.Second)
	_, registered := w.ContainerHost("i-2")
	w.g.Expect(registered).To(BeTrue())
	w.g.Expect(w.seen(cloud.HostChanged)).To(Equal([]cloud.Change{{Kind: cloud.HostChanged, Token: "tok", Index: 1, InstanceID: "i-2"}}))

	w.pass(time.Minute)
	finds, describes := w.aws.count("FindContainerHosts"), w.aws.count("DescribeHosts")
	w.pass(5 * time.Second)
	w.g.Expect(w.aws.count("FindContainerHosts")).To(Equal(finds))
	w.g.Expect(w.aws.count("DescribeHosts")).To(Equal(describes))
}

func TestAHostThatNeverRegistersIsLeftToTheListings(t *testing.T) {
	t.Parallel()
	w := watch(t, func(f *fakeAWS) { f.hosts["i-1"] = runningHost("i-1", 0) })
	w.pass(10 * time.Second)
	w.g.Expect(w.aws.count("FindContainerHosts")).To(Equal(10))
	w.pass(20 * time.Minute)
	finds := w.aws.count("FindContainerHosts")
	w.pass(10 * time.Second)
	w.g.Expect(w.aws.count("FindContainerHosts")).To(Equal(finds))
}

func TestLaggingReadsUndoNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before, lagging, want cloud.Host
	}{
		"terminated is final": {
			cloud.Host{State: cloud.HostTerminated}, cloud.Host{State: cloud.HostRunning}, cloud.Host{State: cloud.HostTerminated},
		},
		"running is not pending": {
			cloud.Host{State: cloud.HostRunning, PublicIP: "1.2.3.4"}, cloud.Host{State: cloud.HostPending},
			cloud.Host{State: cloud.HostRunning, PublicIP: "1.2.3.4"},
		},
		"a stopped one may be started": {
			cloud.Host{State: cloud.HostStopped}, cloud.Host{State: cloud.HostPending}, cloud.Host{State: cloud.HostPending},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, nil)
			for _, h := range []*cloud.Host{&tc.before, &tc.lagging, &tc.want} {
				h.InstanceID, h.Token = "i-1", "tok"
			}
			w.PutHosts(tc.before)
			w.aws.change(func(f *fakeAWS) { f.hosts["i-1"] = tc.lagging })
			w.pass(2 * time.Second)
			got, _ := w.HostByID("i-1")
			w.g.Expect(got).To(Equal(tc.want))
		})
	}
}

func TestTasksOnlyMoveForward(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.seen(cloud.TaskChanged)
	task := runningTask(2)
	task.Ports = []cloud.Port{{ContainerPort: 80, HostPort: 40000, Protocol: "tcp"}}
	w.PutTask(task)
	w.g.Expect(w.seen(cloud.TaskChanged)).To(Equal([]cloud.Change{
		{Kind: cloud.TaskChanged, TaskARN: "task/2", StartedBy: task.StartedBy, InstanceID: "i-1"},
	}))
	lagging := runningTask(2)
	lagging.LastStatus = "PENDING"
	w.aws.change(func(f *fakeAWS) { f.tasks["task/2"] = lagging })
	w.TouchTask("task/2")
	w.pass(2 * time.Second)
	got, _ := w.Task("task/2")
	w.g.Expect(got).To(Equal(task))

	stopped := runningTask(2)
	code := int32(3)
	stopped.LastStatus, stopped.DesiredStatus, stopped.ExitCode = cloud.TaskStopped, cloud.TaskStopped, &code
	w.aws.change(func(f *fakeAWS) { f.tasks["task/2"] = stopped })
	w.pass(time.Second)
	got, _ = w.Task("task/2")
	w.g.Expect(got.Stopped()).To(BeTrue())
	w.g.Expect(*got.ExitCode).To(Equal(int32(3)))
	w.g.Expect(got.Ports).To(HaveLen(1), "where it was is still known")
	w.aws.change(func(f *fakeAWS) { f.tasks["task/2"] = runningTask(2) })
	w.pass(40 * time.Second)
	got, _ = w.Task("task/2")
	w.g.Expect(got.Stopped()).To(BeTrue())
}

func TestATaskToldToStopIsFollowed(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.pass(3 * time.Second)
	w.g.Expect(w.aws.count("DescribeTasks")).To(BeZero())
	w.TouchTask("task/1")
	stopping := runningTask(1)
	stopping.DesiredStatus = cloud.TaskStopped
	w.aws.change(func(f *fakeAWS) { f.tasks["task/1"] = stopping })
	w.pass(time.Second)
	got, _ := w.Task("task/1")
	w.g.Expect(got.DesiredStatus).To(Equal(cloud.TaskStopped))
	w.pass(time.Minute)
	described := w.aws.count("DescribeTasks")
	w.pass(time.Second)
	w.g.Expect(w.aws.count("DescribeTasks")).To(Equal(described+1), "it is in motion until it stopped")
}

func TestATaskThatRunsIsListedAndDescribedInTurn(t *testing.T) {
	t.Parallel()
	const tasks = 200
	w := watch(t, func(f *fakeAWS) {
		quietFleet(f)
		for n := range tasks {
			task := runningTask(n + 1)
			f.tasks[task.ARN] = task
		}
	})
	unhealthy := func() (count int) {
		for _, task := range w.Tasks() {
			if task.Health == "UNHEALTHY" {
				count++
			}
		}
		return count
	}
	w.aws.change(func(f *fakeAWS) {
		for arn, task := range f.tasks {
			task.Health = "UNHEALTHY"
			f.tasks[arn] = task
		}
	})
	w.pass(40 * time.Second)
	w.g.Expect(unhealthy()).To(And(BeNumerically(">", 0), BeNumerically("<", tasks/2)), "after a listing or two")
	w.pass(6 * time.Minute)
	w.g.Expect(unhealthy()).To(Equal(tasks), "after ten")
	w.g.Expect(w.Tasks()).To(HaveLen(tasks), "what is listed is there")
	w.g.Expect(w.aws.count("DescribeTasks")).To(BeZero(), "none moved")
}

func TestATaskIsFollowedNoLongerThanItMoves(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	starting := runningTask(2)
	starting.LastStatus = "PENDING"
	w.aws.change(func(f *fakeAWS) { f.tasks["task/2"] = starting })
	w.PutTask(starting)
	w.pass(2 * time.Second)
	w.g.Expect(w.aws.count("DescribeTasks")).To(Equal(2), "it starts")
	w.aws.change(func(f *fakeAWS) { f.tasks["task/2"] = runningTask(2) })
	w.pass(4 * time.Second)
	w.g.Expect(w.aws.count("DescribeTasks")).To(BeNumerically("<=", 3), "it runs, as it is to")

	w.TouchTask("task/2")
	stopped := runningTask(2)
	stopped.LastStatus, stopped.DesiredStatus = cloud.TaskStopped, cloud.TaskStopped
	w.aws.change(func(f *fakeAWS) { f.tasks["task/2"] = stopped })
	w.pass(4 * time.Second)
	w.g.Expect(w.aws.count("DescribeTasks")).To(BeNumerically("<=", 4), "it has stopped")
}

func TestRegionsOpenedTogetherLookAtTimesOfTheirOwn(t *testing.T) {
	t.Parallel()
	const regions = 20
	looked, listed := map[int]bool{}, map[time.Duration]bool{}
	for range regions {
		w := watch(t, quietFleet)
		w.TouchTask("task/1")
		w.clock.Step(500 * time.Millisecond)
		w.quiet()
		looked[w.aws.count("DescribeTasks")] = true

		began := w.clock.Now()
		for w.aws.count("ListTasks") < 2 {
			w.pass(time.Second)
		}
		took := w.clock.Since(began)
		w.g.Expect(took).To(BeNumerically("<=", 36*time.Second))
		listed[took] = true
	}
	g := NewWithT(t)
	g.Expect(looked).To(HaveLen(2), "in half an interval some have looked, and some have not")
	g.Expect(len(listed)).To(BeNumerically(">", 3), "they list again at different times: %v", listed)
}

func TestSeveralTasksOfOneStarter(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	second := runningTask(1)
	second.ARN = "task/other"
	w.PutTask(second)
	w.g.Expect(w.TasksStartedBy(cloud.StartedBy("uid", 1))).To(HaveLen(2))
}

func TestOtherPeoplesContainerHostsAreNotFollowed(t *testing.T) {
	t.Parallel()
	w := watch(t, func(f *fakeAWS) {
		theirs := activeHost("i-theirs")
		theirs.Status = cloud.ContainerHostDraining
		f.containerHosts[theirs.ARN] = theirs
	})
	w.pass(10 * time.Second)
	w.g.Expect(w.aws.count("DescribeContainerHosts")).To(BeZero())
	w.g.Expect(w.seen(cloud.HostChanged)).To(BeEmpty())
}

func TestCountsOfTasksAreNoChange(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.seen(cloud.HostChanged)
	w.aws.change(func(f *fakeAWS) {
		busy := activeHost("i-1")
		busy.RunningTasks = 7
		f.containerHosts[busy.ARN] = busy
	})
	w.pass(40 * time.Second)
	got, _ := w.ContainerHost("i-1")
	w.g.Expect(got.RunningTasks).To(Equal(int32(7)))
	w.g.Expect(w.seen(cloud.HostChanged)).To(BeEmpty())
}

func TestADeregisteredHostMayRegisterAnew(t *testing.T) {
	t.Parallel()
	w := watch(t, quietFleet)
	w.DropContainerHost("ci/i-1")
	_, registered := w.ContainerHost("i-1")
	w.g.Expect(registered).To(BeFalse())
	w.pass(time.Second) // A lagging read still shows it as active.
	_, registered = w.ContainerHost("i-1")
	w.g.Expect(registered).To(BeFalse())
	w.aws.change(func(f *fakeAWS) {
		delete(f.containerHosts, "ci/i-1")
		anew := activeHost("i-1")
		anew.ARN = "ci/anew"
		f.containerHosts[anew.ARN] = anew
	})
	w.pass(time.Second)
	got, registered := w.ContainerHost("i-1")
	w.g.Expect(registered).To(BeTrue())
	w.g.Expect(got.ARN).To(Equal("ci/anew"))
}

func TestFailuresAreKeptPerListing(t *testing.T) {
	t.Parallel()
	denied := &cloud.Error{Op: "ListTasks", Kind: cloud.KindUnauthorized, Err: errors.New("denied")}
	w := watch(t, func(f *fakeAWS) {
		quietFleet(f)
		f.fail["ListTasks"] = denied
	})
	w.g.Expect(w.Synced()).To(BeTrue())
	w.g.Expect(w.TasksSynced()).To(BeFalse())
	w.g.Expect(w.Err()).To(MatchError(ContainSubstring("listing tasks: ListTasks: denied")))
	w.g.Expect(errors.Is(w.Err(), denied)).To(BeTrue())
	w.seen(cloud.SyncedChanged)

	w.aws.change(func(f *fakeAWS) { delete(f.fail, "ListTasks") })
	w.pass(5 * time.Second)
	w.g.Expect(w.Err()).NotTo(HaveOccurred())
	w.g.Expect(w.TasksSynced()).To(BeTrue())
	w.g.Expect(w.seen(cloud.SyncedChanged)).NotTo(BeEmpty())
}

func TestFailingLooksBackOff(t *testing.T) {
	t.Parallel()
	w := watch(t, func(f *fakeAWS) {
		pending := runningHost("i-1", 0)
		pending.State = cloud.HostPending
		f.hosts["i-1"] = pending
		f.fail["DescribeHosts"] = &cloud.Error{Op: "DescribeInstances", Kind: cloud.KindThrottled, Err: errors.New("slow down")}
	})
	w.pass(30 * time.Second)
	w.g.Expect(w.aws.count("DescribeHosts")).To(BeNumerically("<=", 5))
	w.g.Expect(cloud.KindOf(w.Err())).To(Equal(cloud.KindThrottled))
}

func TestManyInMotionAreDescribedInBatches(t *testing.T) {
	t.Parallel()
	w := watch(t, func(f *fakeAWS) {
		for n := range 250 {
			task := runningTask(n)
			task.LastStatus = "PENDING"
			f.tasks[task.ARN] = task
		}
	})
	w.pass(time.Second)
	w.g.Expect(w.aws.count("DescribeTasks")).To(Equal(3))
}
