// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
)

// scripted is a client on which one Region exists, and whose watches of Regions
// are those of the script, one after the other. It notes from where each began.
type scripted struct {
	mu     sync.Mutex
	script []func() (watch.Interface, error)
	lists  int
	from   []string
}

func (s *scripted) client(t *testing.T) client.WithWatch {
	scheme := runtime.NewScheme()
	NewWithT(t).Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			list.SetResourceVersion("10")
			if regions, ok := list.(*v1alpha1.RegionList); ok {
				s.lists++
				regions.Items = []v1alpha1.Region{*region("7")}
			}
			return nil
		},
		Watch: func(_ context.Context, _ client.WithWatch, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, ok := list.(*v1alpha1.RegionList); !ok || len(s.script) == 0 {
				return watch.NewFake(), nil
			}
			var applied client.ListOptions
			s.from = append(s.from, applied.ApplyOptions(options).Raw.ResourceVersion)
			next := s.script[0]
			s.script = s.script[1:]
			return next()
		},
	}).Build()
}

func region(version string) *v1alpha1.Region {
	return &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "r", ResourceVersion: version}}
}

// ends is a watch that tells of events and ends.
func ends(events ...watch.Event) func() (watch.Interface, error) {
	return func() (watch.Interface, error) {
		w := watch.NewFakeWithChanSize(len(events), false)
		for _, e := range events {
			w.Action(e.Type, e.Object)
		}
		w.Stop()
		return w, nil
	}
}

// patience is for machines that do much else.
const patience = 20 * time.Second

var gone = apierrors.NewResourceExpired("too old resource version")

func TestAWatchIsContinuedAndNeverListedAnew(t *testing.T) {
	g := NewWithT(t)
	s := &scripted{script: []func() (watch.Interface, error){
		ends(watch.Event{Type: watch.Modified, Object: region("11")}, watch.Event{Type: watch.Bookmark, Object: region("20")}),
		func() (watch.Interface, error) { return nil, apierrors.NewServiceUnavailable("restarting") },
		ends(watch.Event{Type: watch.Error, Object: &apierrors.NewInternalError(gone).ErrStatus}),
		ends(watch.Event{Type: watch.Deleted, Object: region("21")}),
	}}
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan checker.Version, 10)
	ended := make(chan error, 1)
	client := s.client(t)
	go func() { ended <- checker.Follow(ctx, client, out) }()
	for _, want := range []struct {
		version, listed string
		deleted         bool
	}{{"7", "10", false}, {"11", "", false}, {"21", "", true}} {
		var v checker.Version
		g.Eventually(out, patience).Should(Receive(&v))
		g.Expect(v.Object.GetResourceVersion()).To(Equal(want.version))
		g.Expect(v.Listed).To(Equal(want.listed))
		g.Expect(v.Deleted).To(Equal(want.deleted))
	}
	cancel()
	g.Eventually(ended, patience).Should(Receive(BeNil()))
	s.mu.Lock()
	defer s.mu.Unlock()
	g.Expect(s.from).To(HaveExactElements("10", "20", "20", "20"))
	g.Expect(s.lists).To(Equal(1))
}

func TestMissedVersionsAreAFailure(t *testing.T) {
	for name, end := range map[string]func() (watch.Interface, error){
		"when the watch is asked for": func() (watch.Interface, error) { return nil, gone },
		"when it runs":                ends(watch.Event{Type: watch.Error, Object: &gone.ErrStatus}),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := &scripted{script: []func() (watch.Interface, error){end}}
			ended := make(chan error, 1)
			client := s.client(t)
			go func() { ended <- checker.Follow(t.Context(), client, make(chan checker.Version, 10)) }()
			g.Eventually(ended, patience).Should(Receive(MatchError(ContainSubstring("versions were missed"))))
		})
	}
}

func TestSessionsAreListedAfterTheirHosts(t *testing.T) {
	g := NewWithT(t)
	scheme := runtime.NewScheme()
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	kinds := make(chan string, 4)
	c := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
			kinds <- fmt.Sprintf("%T", list)
			return nil
		},
	}).Build()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- checker.Follow(ctx, c, make(chan checker.Version)) }()
	order := map[string]int{}
	for n := range 4 {
		var kind string
		g.Eventually(kinds, patience).Should(Receive(&kind))
		order[kind] = n
	}
	g.Expect(order["*v1alpha1.MandelboxList"]).To(BeNumerically(">", order["*v1alpha1.InstanceList"]))
	cancel()
	g.Eventually(ended, patience).Should(Receive(BeNil()))
}
