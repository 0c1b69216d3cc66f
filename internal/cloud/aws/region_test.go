// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"context"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// opener makes a provider of an open function.
type opener func(cloud.Target) cloud.API

func (o opener) Open(_ context.Context, target cloud.Target) (cloud.API, error) {
	return o(target), nil
}

// TestARegionIsObserved follows hosts and a session through the Observer alone, as
// the controllers do.
func TestARegionIsObserved(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	regions := cloud.NewRegions(opener(l.open), cloud.ObserverOptions{
		ListInterval: time.Second, HotInterval: 20 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- regions.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		NewWithT(t).Expect(<-stopped).To(Succeed())
	})
	region, err := regions.Ensure(ctx, l.target)
	g.Expect(err).NotTo(HaveOccurred())
	observer, api := region.Observer(), region.API()
	g.Eventually(observer.Synced).WithTimeout(patience).Should(BeTrue())

	_, err = api.EnsureCluster(ctx, ofOurs)
	g.Expect(err).NotTo(HaveOccurred())
	definition, err := api.EnsureTaskDefinition(ctx, definition())
	g.Expect(err).NotTo(HaveOccurred())
	hosts, err := api.LaunchHosts(ctx, l.launch(t, "observed", 30))
	g.Expect(err).NotTo(HaveOccurred())
	for _, h := range hosts {
		_, presence := observer.Host("observed", h.Index)
		g.Expect(presence).To(Equal(cloud.Present))
	}
	g.Eventually(func(g Gomega) {
		for _, h := range hosts {
			seen, _ := observer.HostByID(h.InstanceID)
			g.Expect(seen.State).To(Equal(cloud.HostRunning))
			containerHost, ok := observer.ContainerHost(h.InstanceID)
			g.Expect(ok).To(BeTrue())
			g.Expect(containerHost.AgentConnected).To(BeTrue())
		}
	}).WithTimeout(patience).Should(Succeed())

	host, _ := observer.ContainerHost(hosts[0].InstanceID)
	run := l.session(definition, host, "uid-1")
	task, err := api.RunTask(ctx, run)
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() string {
		tasks := observer.TasksStartedBy(run.StartedBy)
		return tasks[0].LastStatus
	}).WithTimeout(patience).Should(Equal(cloud.TaskRunning))
	g.Expect(l.CrashTask("", l.target.AWSRegion, task.ARN)).To(Succeed())
	g.Eventually(func(g Gomega) {
		crashed, ok := observer.Task(task.ARN)
		g.Expect(ok).To(BeTrue())
		g.Expect(crashed.Stopped()).To(BeTrue())
		g.Expect(crashed.ExitCode).NotTo(BeNil())
		g.Expect(*crashed.ExitCode).NotTo(BeZero())
	}).WithTimeout(patience).Should(Succeed())
	g.Expect(observer.Err()).NotTo(HaveOccurred())
}

func TestCallsAreTriedAgain(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	l := newLocalAWS(t, config.WithDefaultsMode(awssdk.DefaultsModeStandard))
	_, err := l.AddFault(awsemu.Fault{Operation: "DescribeInstances", Action: awsemu.ActionThrottle, Count: 1})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = l.api.ListHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(l.calls("DescribeInstances")).To(Equal(2))
	// The call itself went well: only the count of attempts tells of the throttle.
	throttled, err := testutil.GatherAndCount(l.metrics, "mandelbox_aws_throttled_attempts_total")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(throttled).To(Equal(1))

	// An answer that is lost after the launch is asked for again, and launches nothing more.
	_, err = l.AddFault(awsemu.Fault{Operation: "RunInstances", Phase: awsemu.PhaseAfter, Action: awsemu.ActionDrop, Count: 1})
	g.Expect(err).NotTo(HaveOccurred())
	hosts, err := l.api.LaunchHosts(t.Context(), l.launch(t, "lost-answer", 2))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(hosts).To(HaveLen(2))
	listed, err := l.api.ListHosts(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(listed).To(HaveLen(2))
}

func TestARoleLeadsIntoAnotherAccount(t *testing.T) {
	t.Parallel()
	g, l := NewWithT(t), newLocalAWS(t)
	target := l.target
	target.RoleARN = "arn:aws:iam::123456789012:role/operator"
	arn, err := l.open(target).EnsureCluster(t.Context(), ofOurs)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(arn).To(ContainSubstring(":123456789012:"))
	g.Expect(l.calls("AssumeRole")).To(Equal(1))
	for _, request := range l.Requests(awsemu.RequestFilter{Operation: "CreateCluster"}) {
		g.Expect(request.Caller).To(ContainSubstring("mandelbox-operator/test"))
	}
}
