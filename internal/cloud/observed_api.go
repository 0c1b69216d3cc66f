// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import "context"

// observedAPI is a region's client whose answers go into its Observer: what a
// writer made is known before the writer returns, and what it acted on is
// watched.
type observedAPI struct {
	API
	observer *Observer
}

// EnsureCluster has the catalogue show the cluster soon.
func (a *observedAPI) EnsureCluster(ctx context.Context, tags map[string]string) (string, error) {
	arn, err := a.API.EnsureCluster(ctx, tags)
	if err == nil && a.observer.Catalog().ClusterARN != arn {
		a.observer.RefreshCatalog()
	}
	return arn, err
}

// LaunchHosts makes the launch known before it is asked for, in case its answer
// is lost.
func (a *observedAPI) LaunchHosts(ctx context.Context, launch Launch) ([]Host, error) {
	a.observer.ExpectLaunch(launch.Token)
	hosts, err := a.API.LaunchHosts(ctx, launch)
	a.observer.PutHosts(hosts...)
	return hosts, err
}

// TerminateHost watches the host whatever the answer was.
func (a *observedAPI) TerminateHost(ctx context.Context, instanceID string) error {
	err := a.API.TerminateHost(ctx, instanceID)
	a.observer.TouchHost(instanceID)
	return err
}

// RunTask makes the task known.
func (a *observedAPI) RunTask(ctx context.Context, run TaskRun) (Task, error) {
	task, err := a.API.RunTask(ctx, run)
	if err == nil {
		a.observer.PutTask(task)
	}
	return task, err
}

// StopTask watches the task whatever the answer was.
func (a *observedAPI) StopTask(ctx context.Context, taskARN, reason string) error {
	err := a.API.StopTask(ctx, taskARN, reason)
	a.observer.TouchTask(taskARN)
	return err
}

// DrainHosts watches the container instances whatever the answer was.
func (a *observedAPI) DrainHosts(ctx context.Context, containerInstanceARNs []string) error {
	err := a.API.DrainHosts(ctx, containerInstanceARNs)
	for _, arn := range containerInstanceARNs {
		a.observer.TouchContainerHost(arn)
	}
	return err
}

// DeregisterHost forgets the container instance.
func (a *observedAPI) DeregisterHost(ctx context.Context, containerInstanceARN string) error {
	err := a.API.DeregisterHost(ctx, containerInstanceARN)
	if err == nil {
		a.observer.DropContainerHost(containerInstanceARN)
	}
	return err
}
