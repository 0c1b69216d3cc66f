// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// fakeAWS is a region whose contents and failures a test sets.
type fakeAWS struct {
	mu             sync.Mutex
	hosts          map[string]cloud.Host
	containerHosts map[string]cloud.ContainerHost
	tasks          map[string]cloud.Task
	health         map[string]cloud.HostHealth
	interrupted    map[string]cloud.SpotInterruption
	types          map[string]cloud.InstanceType
	subnets        []cloud.Subnet
	fail           map[string]error
	// asked are the ids of each call of each operation.
	asked map[string][][]string
	// onDescribe is called within each describe, which fails with its error.
	onDescribe func() error
}

func newFakeAWS() *fakeAWS {
	return &fakeAWS{
		hosts:          map[string]cloud.Host{},
		containerHosts: map[string]cloud.ContainerHost{},
		tasks:          map[string]cloud.Task{},
		health:         map[string]cloud.HostHealth{},
		interrupted:    map[string]cloud.SpotInterruption{},
		types:          map[string]cloud.InstanceType{},
		fail:           map[string]error{},
		asked:          map[string][][]string{},
	}
}

// change changes the region.
func (f *fakeAWS) change(how func(*fakeAWS)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f)
}

// count is how often an operation was called.
func (f *fakeAWS) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked[op])
}

// asks are the ids of each call of an operation.
func (f *fakeAWS) asks(op string) [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked[op])
}

// called notes a call and returns its failure, if it has one; the lock is held.
func (f *fakeAWS) called(op string, ids ...string) error {
	f.asked[op] = append(f.asked[op], ids)
	return f.fail[op]
}

func all[T any](f *fakeAWS, op string, from func() map[string]T) ([]T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called(op); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Values(from())), nil
}

func some[T any](f *fakeAWS, op string, from func() map[string]T, ids []string) ([]T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called(op, ids...); err != nil {
		return nil, err
	}
	if f.onDescribe != nil {
		if err := f.onDescribe(); err != nil {
			return nil, err
		}
	}
	var found []T
	for _, id := range ids {
		if t, ok := from()[id]; ok {
			found = append(found, t)
		}
	}
	return found, nil
}

func (f *fakeAWS) ListHosts(context.Context) ([]cloud.Host, error) {
	return all(f, "ListHosts", func() map[string]cloud.Host { return f.hosts })
}

func (f *fakeAWS) DescribeHosts(_ context.Context, ids []string) ([]cloud.Host, error) {
	return some(f, "DescribeHosts", func() map[string]cloud.Host { return f.hosts }, ids)
}

func (f *fakeAWS) ListHostHealth(context.Context) ([]cloud.HostHealth, error) {
	return all(f, "ListHostHealth", func() map[string]cloud.HostHealth { return f.health })
}

func (f *fakeAWS) ListSpotInterruptions(context.Context) ([]cloud.SpotInterruption, error) {
	return all(f, "ListSpotInterruptions", func() map[string]cloud.SpotInterruption { return f.interrupted })
}

func (f *fakeAWS) HostsOfLaunch(context.Context, string) ([]cloud.Host, error) { return nil, nil }

func (f *fakeAWS) ListContainerHosts(context.Context) ([]cloud.ContainerHost, error) {
	return all(f, "ListContainerHosts", func() map[string]cloud.ContainerHost { return f.containerHosts })
}

func (f *fakeAWS) DescribeContainerHosts(_ context.Context, ids []string) ([]cloud.ContainerHost, error) {
	return some(f, "DescribeContainerHosts", func() map[string]cloud.ContainerHost { return f.containerHosts }, ids)
}

func (f *fakeAWS) FindContainerHosts(_ context.Context, ids []string) ([]cloud.ContainerHost, error) {
	return some(f, "FindContainerHosts", func() map[string]cloud.ContainerHost {
		byInstance := map[string]cloud.ContainerHost{}
		for _, ch := range f.containerHosts {
			byInstance[ch.InstanceID] = ch
		}
		return byInstance
	}, ids)
}

func (f *fakeAWS) ListTasks(_ context.Context, settled func(string) bool) (cloud.TaskListing, error) {
	var listing cloud.TaskListing
	tasks, err := all(f, "ListTasks", func() map[string]cloud.Task { return f.tasks })
	for _, t := range tasks {
		if t.DesiredStatus == cloud.TaskRunning && settled(t.ARN) {
			listing.Settled = append(listing.Settled, t.ARN)
			continue
		}
		listing.Tasks = append(listing.Tasks, t)
	}
	return listing, err
}

func (f *fakeAWS) DescribeTasks(_ context.Context, ids []string) ([]cloud.Task, error) {
	return some(f, "DescribeTasks", func() map[string]cloud.Task { return f.tasks }, ids)
}

func (f *fakeAWS) InstanceTypes(_ context.Context, names []string) (map[string]cloud.InstanceType, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("InstanceTypes", names...); err != nil {
		return nil, err
	}
	return maps.Clone(f.types), nil
}

func (f *fakeAWS) Subnets(_ context.Context, by cloud.Selector) ([]cloud.Subnet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.called("Subnets", by.IDs...); err != nil {
		return nil, err
	}
	return slices.Clone(f.subnets), nil
}

func (f *fakeAWS) SecurityGroups(_ context.Context, by cloud.Selector) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return by.IDs, f.called("SecurityGroups", by.IDs...)
}

func (f *fakeAWS) Images(_ context.Context, ids []string) (map[string]cloud.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.called("Images", ids...)
}

func (f *fakeAWS) Cluster(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return "arn:cluster", f.called("Cluster")
}

// fakeAPI adds writers whose answers a test sets.
type fakeAPI struct {
	*fakeAWS
	launched  []cloud.Host
	launchErr error
	queue     cloud.EventQueue
}

func (f *fakeAPI) EventQueue() cloud.EventQueue { return f.queue }

func (f *fakeAPI) EnsureCluster(context.Context, map[string]string) (string, error) {
	return "arn:cluster", nil
}

func (f *fakeAPI) EnsureTaskDefinition(context.Context, cloud.TaskDefinition) (cloud.RegisteredTask, error) {
	return cloud.RegisteredTask{}, nil
}

func (f *fakeAPI) DescribeTaskDefinition(context.Context, string) (cloud.RegisteredTask, error) {
	return cloud.RegisteredTask{}, nil
}

func (f *fakeAPI) LaunchHosts(context.Context, cloud.Launch) ([]cloud.Host, error) {
	return f.launched, f.launchErr
}

func (f *fakeAPI) TerminateHost(context.Context, string) error { return nil }

func (f *fakeAPI) RunTask(_ context.Context, run cloud.TaskRun) (cloud.Task, error) {
	return cloud.Task{ARN: "task/" + run.Token, StartedBy: run.StartedBy, LastStatus: "PENDING", DesiredStatus: cloud.TaskRunning}, nil
}

func (f *fakeAPI) StopTask(context.Context, string, string) error { return nil }

func (f *fakeAPI) DrainHosts(context.Context, []string) error { return nil }

func (f *fakeAPI) DeregisterHost(context.Context, string) error { return nil }
