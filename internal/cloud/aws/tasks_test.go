// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func definition() cloud.TaskDefinition {
	return cloud.TaskDefinition{
		Family: "mandelbox-1a2b", ContainerName: "mandelbox", Image: "mandelbox/browser:1",
		Resources: cloud.Resources{CPU: 4096, MemoryMiB: 8192},
		Ports:     []cloud.Port{{ContainerPort: 32262, Protocol: "tcp"}, {ContainerPort: 32263, Protocol: "udp"}},
		Env:       map[string]string{"MODE": "prod"},
		LogDriver: "json-file",
		Tags:      ofOurs,
	}
}

// session makes a task for a session on a host.
func (l *localAWS) session(task cloud.RegisteredTask, host cloud.ContainerHost, uid string) cloud.TaskRun {
	return cloud.TaskRun{
		Token: cloud.TaskToken(uid, 1), TaskDefinition: task.ARN, InstanceID: host.InstanceID, ContainerHostARN: host.ARN,
		StartedBy: cloud.StartedBy(uid, 1), ContainerName: task.ContainerName,
		Env:  map[string]string{"SESSION": uid, "USER": "u"},
		Tags: map[string]string{cloud.TagCluster: l.target.ClusterID, cloud.TagRegion: l.target.Region},
	}
}

func TestNothingInAClusterThatIsNotThere(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	arn, err := l.api.Cluster(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(arn).To(BeEmpty())
	containerHosts, err := l.api.ListContainerHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(containerHosts).To(BeEmpty())
	listing, err := l.api.ListTasks(t.Context(), nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(listing.Tasks).To(BeEmpty())
}

func TestClusterAndDefinitionAreMadeOnce(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	ctx := t.Context()
	first, err := l.api.EnsureCluster(ctx, ofOurs)
	g.Expect(err).NotTo(HaveOccurred())
	second, err := l.api.EnsureCluster(ctx, ofOurs)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(second).To(Equal(first))
	g.Expect(l.calls("CreateCluster")).To(Equal(1))

	_, err = l.api.DescribeTaskDefinition(ctx, "mandelbox-1a2b:1")
	mustKind(g, err, cloud.KindNotFound)
	registered, err := l.api.EnsureTaskDefinition(ctx, definition())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(registered.ContainerName).To(Equal("mandelbox"))
	g.Expect(registered.Resources).To(Equal(cloud.Resources{CPU: 4096, MemoryMiB: 8192}))
	g.Expect(registered.Ports).To(Equal(definition().Ports))
	again, err := l.api.EnsureTaskDefinition(ctx, definition())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again).To(Equal(registered))
	g.Expect(l.calls("RegisterTaskDefinition")).To(Equal(1))
}

func TestASessionOnAHost(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	ctx := t.Context()
	hosts, registered := l.registered(t, "hosts", 2)
	host, other := registered[hosts[0].InstanceID], registered[hosts[1].InstanceID]
	g.Expect(host.Status).To(Equal(cloud.ContainerHostActive))
	g.Expect(host.AgentConnected).To(BeTrue())
	g.Expect(host.Registered.CPU).To(Equal(int32(48 * 1024)))
	definition, err := l.api.EnsureTaskDefinition(ctx, definition())
	g.Expect(err).NotTo(HaveOccurred())

	run := l.session(definition, host, "uid-1")
	task, err := l.api.RunTask(ctx, run)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(task.ContainerHostARN).To(Equal(host.ARN))
	same, err := l.api.RunTask(ctx, run)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(same.ARN).To(Equal(task.ARN))

	g.Eventually(func(g Gomega) {
		listing, err := l.api.ListTasks(ctx, nil)
		g.Expect(err).NotTo(HaveOccurred())
		listed := listing.Tasks
		g.Expect(listed).To(HaveLen(1))
		g.Expect(listed[0].LastStatus).To(Equal(cloud.TaskRunning))
		g.Expect(listed[0].StartedBy).To(Equal(cloud.StartedBy("uid-1", 1)))
		g.Expect(listed[0].Ports).To(HaveLen(2))
		g.Expect(listed[0].Ports[0].HostPort).To(BeNumerically(">=", 32768))
	}).WithTimeout(patience).Should(Succeed())

	// One that is known to run is listed, and not described.
	described := l.calls("DescribeTasks")
	listing, err := l.api.ListTasks(ctx, func(arn string) bool { return arn == task.ARN })
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(listing).To(Equal(cloud.TaskListing{Tasks: []cloud.Task{}, Settled: []string{task.ARN}}))
	g.Expect(l.calls("DescribeTasks")).To(Equal(described))

	// Other parameters on the claimed host: the task is adopted.
	run.Env["USER"] = "changed"
	adopted, err := l.api.RunTask(ctx, run)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(adopted.ARN).To(Equal(task.ARN))

	// The same token for another host: what runs elsewhere is stopped.
	run.InstanceID, run.ContainerHostARN = other.InstanceID, other.ARN
	_, err = l.api.RunTask(ctx, run)
	mustKind(g, err, cloud.KindConflict)
	g.Eventually(func(g Gomega) {
		described, err := l.api.DescribeTasks(ctx, []string{task.ARN, task.ARN + "0"})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(described).To(HaveLen(1))
		g.Expect(described[0].Stopped()).To(BeTrue())
		g.Expect(described[0].StopCode).To(Equal("UserInitiated"))
		g.Expect(described[0].ExitCode).NotTo(BeNil())
	}).WithTimeout(patience).Should(Succeed())

	// One that stopped stays listed, whatever was known of it, and is described only once more.
	for range 3 {
		listing, err := l.api.ListTasks(ctx, func(string) bool { return true })
		g.Expect(err).NotTo(HaveOccurred())
		listed := listing.Tasks
		g.Expect(listed).To(HaveLen(1))
		g.Expect(listed[0].Stopped()).To(BeTrue())
	}
	described = l.calls("DescribeTasks")
	_, err = l.api.ListTasks(ctx, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(l.calls("DescribeTasks")).To(Equal(described))

	g.Expect(l.api.StopTask(ctx, task.ARN, "again")).To(Succeed())
	// By its policy the manager would be denied what is not known: nothing says that it is its.
	owner := openAs(t, awsemu.RootAccessKey, "c1", l.endpoint)
	g.Expect(owner.StopTask(ctx, task.ARN[:len(task.ARN)-8]+"00000000", "unknown")).To(Succeed())
}

func TestTasksOfOthersAreLeftOut(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	hosts, registered := l.registered(t, "shared", 1)
	definition, err := l.api.EnsureTaskDefinition(t.Context(), definition())
	g.Expect(err).NotTo(HaveOccurred())
	_, err = l.api.RunTask(t.Context(), l.session(definition, registered[hosts[0].InstanceID], "uid-1"))
	g.Expect(err).NotTo(HaveOccurred())

	theirs := l.target
	theirs.ClusterID = "c2"
	listing, err := l.open(theirs).ListTasks(t.Context(), nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(listing.Tasks).To(BeEmpty())
	// Container instances carry no tag of ours: the Observer knows whose hosts are whose.
	containerHosts, err := l.open(theirs).ListContainerHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(containerHosts).To(HaveLen(1))
}

func TestPlacementFailures(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	ctx := t.Context()
	hosts, registered := l.registered(t, "small", 2)
	full, drained := registered[hosts[0].InstanceID], registered[hosts[1].InstanceID]
	big := definition()
	big.Family, big.Resources.CPU = "mandelbox-big", 40*1024
	task, err := l.api.EnsureTaskDefinition(ctx, big)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = l.api.RunTask(ctx, l.session(task, full, "uid-1"))
	g.Expect(err).NotTo(HaveOccurred())
	_, err = l.api.RunTask(ctx, l.session(task, full, "uid-2"))
	mustKind(g, err, cloud.KindNoRoom)

	g.Expect(l.api.DrainHosts(ctx, []string{drained.ARN})).To(Succeed())
	_, err = l.api.RunTask(ctx, l.session(task, drained, "uid-3"))
	mustKind(g, err, cloud.KindHostUnavailable)

	g.Expect(l.api.DeregisterHost(ctx, drained.ARN)).To(Succeed())
	g.Expect(l.api.DeregisterHost(ctx, drained.ARN)).To(Succeed())
	g.Expect(l.api.DrainHosts(ctx, []string{drained.ARN})).To(Succeed())
	g.Eventually(func(g Gomega) {
		left, err := l.api.ListContainerHosts(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(left).To(HaveLen(1))
		g.Expect(left[0].ARN).To(Equal(full.ARN))
	}).WithTimeout(patience).WithPolling(50 * time.Millisecond).Should(Succeed())
}

func TestListingsGoThroughAllPages(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	l.registered(t, "first", 60)
	l.registered(t, "second", 60)
	lists, describes := l.calls("ListContainerInstances"), l.calls("DescribeContainerInstances")
	all, err := l.api.ListContainerHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(all).To(HaveLen(120))
	g.Expect(l.calls("ListContainerInstances") - lists).To(Equal(2))
	g.Expect(l.calls("DescribeContainerInstances") - describes).To(Equal(2))
}
