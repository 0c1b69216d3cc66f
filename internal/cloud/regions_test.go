// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// fakeProvider opens fake regions and remembers them.
type fakeProvider struct {
	mu     sync.Mutex
	opened []cloud.Target
	apis   map[string]*fakeAPI
	err    error
}

func (p *fakeProvider) Open(_ context.Context, target cloud.Target) (cloud.API, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	p.opened = append(p.opened, target)
	api := &fakeAPI{fakeAWS: newFakeAWS()}
	p.apis[target.Region] = api
	return api, nil
}

func newFakeProvider() *fakeProvider { return &fakeProvider{apis: map[string]*fakeAPI{}} }

func east(role string) cloud.Target {
	return cloud.Target{ClusterID: "c1", Region: "east", AWSRegion: "us-east-1", ECSCluster: "mandelbox", RoleARN: role}
}

func TestRegionsAreOpenedOnce(t *testing.T) {
	t.Parallel()
	g, provider := NewWithT(t), newFakeProvider()
	regions := cloud.NewRegions(provider, cloud.ObserverOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan string, 100)
	regions.Subscribe(func(region string, change cloud.Change) { changes <- region + " " + string(change.Kind) })

	// Before the start a region is open but not observed.
	first, err := regions.Ensure(ctx, east(""))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(first.Target()).To(Equal(east("")))
	stopped := make(chan error, 1)
	go func() { stopped <- regions.Start(ctx) }()
	g.Eventually(first.Observer().Synced).Should(BeTrue())
	g.Eventually(changes).Should(Receive(Equal("east Synced")))

	same, err := regions.Ensure(ctx, east(""))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(same).To(BeIdenticalTo(first))
	other, err := regions.Ensure(ctx, east("arn:aws:iam::123456789012:role/other"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(other).NotTo(BeIdenticalTo(first))
	g.Eventually(other.Observer().Synced).Should(BeTrue())
	withQueue := other.Target()
	withQueue.EventQueueURL = "https://sqs.us-east-1.amazonaws.com/123456789012/events"
	another, err := regions.Ensure(ctx, withQueue)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(another).NotTo(BeIdenticalTo(other))
	other = another
	found, ok := regions.Get("east")
	g.Expect(ok).To(BeTrue())
	g.Expect(found).To(BeIdenticalTo(other))

	regions.Remove("east")
	_, ok = regions.Get("east")
	g.Expect(ok).To(BeFalse())

	cancel()
	g.Eventually(stopped).WithTimeout(5 * time.Second).Should(Receive(BeNil()))
}

func TestARegionThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	g, provider := NewWithT(t), newFakeProvider()
	provider.err = &cloud.Error{Op: "Open", Kind: cloud.KindInvalid, Err: errors.New("no such role")}
	_, err := cloud.NewRegions(provider, cloud.ObserverOptions{}).Ensure(t.Context(), east(""))
	g.Expect(err).To(MatchError("opening region east: Open: no such role"))
	g.Expect(cloud.KindOf(err)).To(Equal(cloud.KindInvalid))
}

func TestAnswersOfWritersAreObserved(t *testing.T) {
	t.Parallel()
	g, provider := NewWithT(t), newFakeProvider()
	region, err := cloud.NewRegions(provider, cloud.ObserverOptions{}).Ensure(t.Context(), east(""))
	g.Expect(err).NotTo(HaveOccurred())
	provider.apis["east"].launched = []cloud.Host{{InstanceID: "i-1", Token: "tok", State: cloud.HostPending}}

	_, err = region.API().LaunchHosts(t.Context(), cloud.Launch{Token: "tok"})
	g.Expect(err).NotTo(HaveOccurred())
	host, presence := region.Observer().Host("tok", 0)
	g.Expect(presence).To(Equal(cloud.Present))
	g.Expect(host.InstanceID).To(Equal("i-1"))

	task, err := region.API().RunTask(t.Context(), cloud.TaskRun{Token: "t", StartedBy: "mbx/u/1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(region.Observer().TasksStartedBy("mbx/u/1")).To(Equal([]cloud.Task{task}))
}
