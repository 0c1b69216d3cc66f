// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package orphan

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
)

const cluster, east = "test", "east"

// hostList is a cloud that has hosts and tasks, and nothing else.
type hostList struct {
	cloud.API
	mu                  sync.Mutex
	hosts               []cloud.Host
	tasks               []cloud.Task
	terminated, stopped []string
}

func (l *hostList) Open(context.Context, cloud.Target) (cloud.API, error) { return l, nil }
func (l *hostList) EventQueue() cloud.EventQueue                          { return nil }

func (l *hostList) add(id string) cloud.Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	host := cloud.Host{
		InstanceID: id, Token: "token-" + id, State: cloud.HostRunning,
		Tags: map[string]string{cloud.TagCluster: cluster, cloud.TagRegion: east},
	}
	l.hosts = append(l.hosts, host)
	return host
}

func (l *hostList) ListHosts(context.Context) ([]cloud.Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hosts), nil
}

func (l *hostList) DescribeHosts(ctx context.Context, _ []string) ([]cloud.Host, error) {
	return l.ListHosts(ctx)
}

func (l *hostList) ListHostHealth(context.Context) ([]cloud.HostHealth, error) { return nil, nil }
func (l *hostList) ListSpotInterruptions(context.Context) ([]cloud.SpotInterruption, error) {
	return nil, nil
}
func (l *hostList) ListContainerHosts(context.Context) ([]cloud.ContainerHost, error) {
	return nil, nil
}
func (l *hostList) FindContainerHosts(context.Context, []string) ([]cloud.ContainerHost, error) {
	return nil, nil
}

// run has a task of the session with the uid run.
func (l *hostList) run(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks = append(l.tasks, cloud.Task{
		ARN: "task-of-" + string(uid), StartedBy: cloud.StartedBy(string(uid), 1), LastStatus: cloud.TaskRunning, DesiredStatus: cloud.TaskRunning,
	})
}

func (l *hostList) ListTasks(ctx context.Context, _ func(string) bool) (cloud.TaskListing, error) {
	tasks, err := l.DescribeTasks(ctx, nil)
	return cloud.TaskListing{Tasks: tasks}, err
}

func (l *hostList) DescribeTasks(context.Context, []string) ([]cloud.Task, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.tasks), nil
}

func (l *hostList) StopTask(_ context.Context, arn, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = append(l.stopped, arn)
	return nil
}

func (l *hostList) TerminateHost(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terminated = append(l.terminated, id)
	return nil
}

// objects is an API server that has one Region.
func objects(t *testing.T) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	regionOf := func(o client.Object) []string { return []string{o.(*v1alpha1.Instance).Spec.RegionName} }
	return fake.NewClientBuilder().WithScheme(scheme).
		WithIndex(&v1alpha1.Instance{}, index.InstanceByRegion, regionOf).
		WithObjects(&v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: east}}).Build()
}

func owner(of cloud.Host) *v1alpha1.Instance {
	return &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{Name: "of-" + of.InstanceID},
		Spec:       v1alpha1.InstanceSpec{RegionName: east},
		Status:     v1alpha1.InstanceStatus{Launch: &v1alpha1.Launch{Token: of.Token, Index: of.Index}},
	}
}

// listing calls something before each list of what reader passes on, and after it.
func listing(c client.WithWatch, before, after func(client.ObjectList)) client.Reader {
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			before(list)
			err := c.List(ctx, list, opts...)
			after(list)
			return err
		},
	})
}

func nothing(client.ObjectList) {}

// afterLists calls something after each list of Instances.
func afterLists(c client.WithWatch, then func()) client.Reader {
	return listing(c, nothing, func(list client.ObjectList) {
		if _, ok := list.(*v1alpha1.InstanceList); ok {
			then()
		}
	})
}

// open has the cloud's only region be observed until the test ends, as the context does.
func open(t *testing.T, aws *hostList) (context.Context, *cloud.Regions) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	regions := cloud.NewRegions(aws, cloud.ObserverOptions{ListInterval: time.Second, HotInterval: time.Second})
	go func() { _ = regions.Start(ctx) }()
	if _, err := regions.Ensure(ctx, cloud.Target{ClusterID: cluster, Region: east, AWSRegion: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	return ctx, regions
}

func newSweeper(cache, live client.Reader, regions *cloud.Regions) *Sweeper {
	return &Sweeper{
		Client: cache, Live: live, Regions: regions, Events: events.NewFakeRecorder(100), Clock: clock.RealClock{},
		seen: map[string]time.Time{}, told: map[string]string{}, refused: map[string]refusal{},
	}
}

// TestAbsenceIsProvenLive holds that a host is an orphan only if no Instance has it by
// a list of the API server itself, taken after the cloud's: what the cache lacks may be
// news, and what was made after the objects were listed has its object too.
func TestAbsenceIsProvenLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aws, api, cache := &hostList{}, objects(t), objects(t)
		ctx, regions := open(t, aws)
		create := func(c client.Client, host cloud.Host) {
			if err := c.Create(ctx, owner(host)); err != nil {
				t.Error(err)
			}
		}
		known, news := aws.add("i-known"), aws.add("i-news")
		aws.add("i-orphan")
		create(api, known)
		create(cache, known)
		create(api, news) // The cache is behind.

		made := 0
		whileListing := func() {
			made++
			create(api, aws.add("i-while-"+string(rune('a'+made))))
			<-time.After(5 * time.Second) // The cloud's next list has it.
		}
		s := newSweeper(afterLists(cache, whileListing), afterLists(api, whileListing), regions)
		<-time.After(5 * time.Second)
		if err := s.sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(aws.terminated, []string{"i-orphan"}) {
			t.Errorf("terminated are %v, want i-orphan alone", aws.terminated)
		}
		if made != 2 {
			t.Errorf("Instances were listed %d times, want twice: by the cache, and then live", made)
		}
	})
}

// TestNothingIsListedLiveBeforeItsGraceIsOver holds that the lists past the cache, which
// grow with the fleet, are made for what is about to be removed and for nothing else.
func TestNothingIsListedLiveBeforeItsGraceIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aws, api := &hostList{}, objects(t)
		ctx, regions := open(t, aws)
		aws.add("i-orphan")
		aws.run("nobody")
		live := 0
		s := newSweeper(api, listing(api, func(client.ObjectList) { live++ }, nothing), regions)
		s.Grace = time.Minute
		<-time.After(5 * time.Second)
		sweep := func() {
			t.Helper()
			if err := s.sweep(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for range 6 {
			sweep()
			<-time.After(10*time.Second - time.Millisecond)
		}
		if live != 0 || len(aws.terminated)+len(aws.stopped) != 0 {
			t.Errorf("%d live lists, terminated %v and stopped %v within the grace time, want none", live, aws.terminated, aws.stopped)
		}
		<-time.After(time.Second)
		sweep()
		if live != 2 || len(aws.terminated) != 1 || len(aws.stopped) != 1 {
			t.Errorf("%d live lists, terminated %v and stopped %v after it; want one of each kind, and the orphans", live, aws.terminated, aws.stopped)
		}
	})
}

// TestASessionThatComesMeanwhileIsNoSuspect holds that the owners are looked up after
// the tasks: one that is assigned while the others are looked at has both or neither.
func TestASessionThatComesMeanwhileIsNoSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aws, api := &hostList{}, objects(t)
		ctx, regions := open(t, aws)
		come := func(name types.UID) {
			m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: "t", Name: string(name), UID: name}}
			if err := api.Create(ctx, m); err != nil {
				t.Error(err)
			}
			aws.run(name)
			<-time.After(5 * time.Second) // The cloud's next list has it.
		}
		n := 0
		one := func(client.ObjectList) { n++; come(types.UID(fmt.Sprint("s", n))) }
		come("s")
		s := newSweeper(listing(api, one, one), api, regions)
		s.Grace = time.Minute
		if err := s.sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if len(s.tasks[east]) != 0 || n < 4 {
			t.Errorf("suspects are %v after %d sessions came, want none", s.tasks[east], n)
		}
	})
}

// TestWhatIsNoOrphanIsForgotten holds that a task which the cache alone took for an
// orphan has its whole grace if it becomes one, and is not remembered until then.
func TestWhatIsNoOrphanIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aws, api, cache := &hostList{}, objects(t), objects(t)
		ctx, regions := open(t, aws)
		s := newSweeper(cache, api, regions)
		s.Grace, s.DryRun = time.Minute, true
		aws.run("nobody")
		<-time.After(5 * time.Second)
		sweep := func() {
			t.Helper()
			if err := s.sweep(ctx); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: "t", Name: "news", UID: "news"}}
		if err := api.Create(ctx, m); err != nil { // The cache is behind.
			t.Fatal(err)
		}
		aws.run("news")
		<-time.After(time.Minute)
		sweep()
		if _, known := s.seen[taskKey("task-of-news")]; known || len(s.seen) != 1 {
			t.Errorf("remembered are %v, want the task of nobody alone", s.seen)
		}
	})
}
