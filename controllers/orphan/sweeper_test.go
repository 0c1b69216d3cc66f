// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package orphan

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/index"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const cluster, east = "test", "east"

// hostList is a cloud that has hosts and nothing else.
type hostList struct {
	cloud.API
	mu         sync.Mutex
	hosts      []cloud.Host
	terminated []string
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
func (l *hostList) ListTasks(context.Context) ([]cloud.Task, error) { return nil, nil }

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

// afterLists calls something after each list of Instances.
func afterLists(c client.WithWatch, then func()) client.Reader {
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if _, ok := list.(*v1alpha1.InstanceList); ok {
				then()
			}
			return err
		},
	})
}

// TestAbsenceIsProvenLive holds that a host is an orphan only if no Instance has it by
// a list of the API server itself, taken after the cloud's: what the cache lacks may be
// news, and what was made after the objects were listed has its object too.
func TestAbsenceIsProvenLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aws, api, cache := &hostList{}, objects(t), objects(t)
		regions := cloud.NewRegions(aws, cloud.ObserverOptions{ListInterval: time.Second, HotInterval: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = regions.Start(ctx) }()
		if _, err := regions.Ensure(ctx, cloud.Target{ClusterID: cluster, Region: east, AWSRegion: "us-east-1"}); err != nil {
			t.Fatal(err)
		}
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
		s := &Sweeper{
			Client: afterLists(cache, whileListing), Live: afterLists(api, whileListing), Regions: regions,
			Events: events.NewFakeRecorder(100), Clock: clock.RealClock{},
			seen: map[string]time.Time{}, told: map[string]string{}, refused: map[string]refusal{},
		}
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
