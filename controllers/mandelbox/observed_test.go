// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// seenCloud is a cloud of which everything is listed, and nothing changes.
type seenCloud struct {
	cloud.API
	hosts   []cloud.Host
	members []cloud.ContainerHost
	tasks   []cloud.Task
}

func (c *seenCloud) Open(context.Context, cloud.Target) (cloud.API, error) { return c, nil }
func (c *seenCloud) EventQueue() cloud.EventQueue                          { return nil }
func (c *seenCloud) ListHosts(context.Context) ([]cloud.Host, error)       { return c.hosts, nil }
func (c *seenCloud) ListContainerHosts(context.Context) ([]cloud.ContainerHost, error) {
	return c.members, nil
}
func (c *seenCloud) DescribeHosts(context.Context, []string) ([]cloud.Host, error) {
	return c.hosts, nil
}
func (c *seenCloud) DescribeTasks(context.Context, []string) ([]cloud.Task, error) {
	return c.tasks, nil
}
func (c *seenCloud) FindContainerHosts(context.Context, []string) ([]cloud.ContainerHost, error) {
	return nil, nil
}
func (c *seenCloud) ListHostHealth(context.Context) ([]cloud.HostHealth, error) { return nil, nil }
func (c *seenCloud) ListTasks(context.Context, func(string) bool) (cloud.TaskListing, error) {
	return cloud.TaskListing{Tasks: c.tasks}, nil
}

// of adds a host and a task of a session on it, each in a state.
func (c *seenCloud) of(session string, host cloud.HostState, task string) {
	c.hosts = append(c.hosts, cloud.Host{InstanceID: "i-" + session, Token: session, State: host})
	c.members = append(c.members, cloud.ContainerHost{ARN: "ci-" + session, InstanceID: "i-" + session, Status: cloud.ContainerHostActive, AgentConnected: true})
	c.tasks = append(c.tasks, cloud.Task{
		ARN: "task-" + session, ContainerHostARN: "ci-" + session, StartedBy: cloud.StartedBy("uid-"+session, 1),
		LastStatus: task, DesiredStatus: cloud.TaskRunning,
	})
}

// TestWhatIsSeenToRunIsNotWokenByAListing holds that of a region's sessions only those
// are looked at, when a listing is there or old enough, that may have waited for it.
func TestWhatIsSeenToRunIsNotWokenByAListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aws := &seenCloud{}
		scheme := runtime.NewScheme()
		if err := v1alpha1.AddToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		objects := fake.NewClientBuilder().WithScheme(scheme)
		known := func(name string, phase v1alpha1.MandelboxPhase, region string) *v1alpha1.Mandelbox {
			m := session("t", name, "uid-"+name)
			m.Status = v1alpha1.MandelboxStatus{Phase: phase, Region: region, Attempt: 1, InstanceName: "of-" + name}
			objects.WithObjects(m)
			return m
		}
		for _, name := range []string{"runs", "leaves"} {
			known(name, v1alpha1.MandelboxRunning, "east")
			aws.of(name, cloud.HostRunning, cloud.TaskRunning)
		}
		known("starts", v1alpha1.MandelboxAllocated, "east")
		aws.of("starts", cloud.HostRunning, "PENDING")
		known("hostless", v1alpha1.MandelboxRunning, "east")
		aws.of("hostless", cloud.HostTerminated, cloud.TaskRunning)
		known("taskless", v1alpha1.MandelboxRunning, "east")
		known("waits", v1alpha1.MandelboxPending, "")
		known("elsewhere", v1alpha1.MandelboxRunning, "west")
		known("over", v1alpha1.MandelboxFinished, "east").Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionTrue}}
		c := objects.Build()

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		regions := cloud.NewRegions(aws, cloud.ObserverOptions{HotInterval: time.Hour})
		go func() { _ = regions.Start(ctx) }()
		if _, err := regions.Ensure(ctx, cloud.Target{Region: "east"}); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Second)
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer queue.ShutDown()
		wake := &trigger.Trigger{}
		if err := wake.Start(ctx, queue); err != nil {
			t.Fatal(err)
		}
		leaving := &v1alpha1.Mandelbox{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: "t", Name: "leaves"}, leaving); err != nil {
			t.Fatal(err)
		}
		leaving.Finalizers = []string{v1alpha1.MandelboxFinalizer}
		if err := c.Update(ctx, leaving); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(ctx, leaving); err != nil {
			t.Fatal(err)
		}

		r := &Reconciler{Client: c, Regions: regions, Wake: wake}
		r.Observed(ctx, "east", cloud.Change{Kind: cloud.SyncedChanged})
		var woken []string
		for queue.Len() > 0 {
			request, _ := queue.Get()
			woken = append(woken, request.Name)
			queue.Done(request)
		}
		slices.Sort(woken)
		if want := []string{"hostless", "leaves", "starts", "taskless"}; !slices.Equal(woken, want) {
			t.Errorf("woken are %v, want %v", woken, want)
		}
	})
}
