// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
)

// fleet is what the API server says of all objects, and when it first said so.
type fleet struct {
	mu sync.Mutex
	// objects are the last seen, by kind and name.
	hosts    map[string]*tracked[*v1alpha1.Instance]
	sessions map[string]*tracked[*v1alpha1.Mandelbox]
	regions  map[string]*v1alpha1.Region
	channels map[string]*v1alpha1.AMI
	// lost are the sessions that ended, or stopped running, without having been
	// deleted, and why.
	lost map[string]string
	// left counts the hosts that are gone, by the commit hash that they ran.
	left map[string]int
	// changed has room for one: whoever waits looks at everything again.
	changed chan struct{}
	// tell gets a line for each change that a person would want to hear of.
	tell func(line string)
}

// tracked is an object and the moments of its way.
type tracked[T client.Object] struct {
	object T
	// seen is when it was first seen; reached when it first was Active or Running.
	seen, reached time.Time
}

func newFleet(tell func(string)) *fleet {
	return &fleet{
		hosts: map[string]*tracked[*v1alpha1.Instance]{}, sessions: map[string]*tracked[*v1alpha1.Mandelbox]{},
		regions: map[string]*v1alpha1.Region{}, channels: map[string]*v1alpha1.AMI{},
		lost: map[string]string{}, left: map[string]int{},
		changed: make(chan struct{}, 1), tell: tell,
	}
}

// watchFleet follows all objects until ctx ends. It returns when all that exist
// have been seen; the function it returns waits until the watching has ended.
func watchFleet(ctx context.Context, config *rest.Config, tell func(string)) (*fleet, func() error, error) {
	f := newFleet(tell)
	objects, err := cache.New(config, cache.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		return nil, nil, fmt.Errorf("preparing to watch the fleet: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- objects.Start(ctx) }()
	for _, kind := range []client.Object{&v1alpha1.Region{}, &v1alpha1.AMI{}, &v1alpha1.Instance{}, &v1alpha1.Mandelbox{}} {
		informer, err := objects.GetInformer(ctx, kind)
		if err != nil {
			return nil, nil, fmt.Errorf("watching %T: %w", kind, err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { f.see(object, time.Now()) },
			UpdateFunc: func(_, object any) { f.see(object, time.Now()) },
			DeleteFunc: f.forget,
		}); err != nil {
			return nil, nil, fmt.Errorf("watching %T: %w", kind, err)
		}
	}
	return f, func() error { return <-ended }, nil
}

// see takes in an object.
func (f *fleet) see(object any, now time.Time) {
	f.mu.Lock()
	var line string
	switch o := object.(type) {
	case *v1alpha1.Region:
		f.regions[o.Name] = o
	case *v1alpha1.AMI:
		line = channelChange(f.channels[o.Name], o)
		f.channels[o.Name] = o
	case *v1alpha1.Instance:
		before := track(f.hosts, o.Name, o, now, o.Status.Phase == v1alpha1.InstanceActive)
		line = hostChange(before, o)
	case *v1alpha1.Mandelbox:
		before := track(f.sessions, sessionName(o), o, now, o.Status.Phase == v1alpha1.MandelboxRunning)
		line = sessionChange(before, o)
		if end := taken(before, o); end != "" {
			f.lost[sessionName(o)] = end
		}
	}
	f.mu.Unlock()
	f.announce(line)
}

// track replaces the object of a name, and returns what was there before.
func track[T client.Object](all map[string]*tracked[T], name string, object T, now time.Time, reached bool) (before T) {
	known, ok := all[name]
	if !ok {
		known = &tracked[T]{seen: now}
		all[name] = known
	}
	before, known.object = known.object, object
	if reached && known.reached.IsZero() {
		known.reached = now
	}
	return before
}

// forget takes in that an object is gone.
func (f *fleet) forget(object any) {
	if last, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	f.mu.Lock()
	var line string
	switch o := object.(type) {
	case *v1alpha1.Region:
		delete(f.regions, o.Name)
	case *v1alpha1.AMI:
		delete(f.channels, o.Name)
	case *v1alpha1.Instance:
		delete(f.hosts, o.Name)
		f.left[o.Spec.ClientCommitHash]++
		line = fmt.Sprintf("host     %s is gone", o.Name)
	case *v1alpha1.Mandelbox:
		delete(f.sessions, sessionName(o))
		if !isGuest(o) {
			line = fmt.Sprintf("session  %s is gone", sessionName(o))
		}
	}
	f.mu.Unlock()
	f.announce(line)
}

// announce wakes who waits and tells the line, if there is one.
func (f *fleet) announce(line string) {
	select {
	case f.changed <- struct{}{}:
	default:
	}
	if line != "" {
		f.tell(line)
	}
}

// snapshot is the fleet as the table shows it.
func (f *fleet) snapshot(now time.Time) view {
	f.mu.Lock()
	defer f.mu.Unlock()
	var v view
	hosts := slices.SortedFunc(maps.Values(f.hosts), func(a, b *tracked[*v1alpha1.Instance]) int {
		return cmp.Or(strings.Compare(a.object.Spec.RegionName, b.object.Spec.RegionName),
			a.object.CreationTimestamp.Compare(b.object.CreationTimestamp.Time), strings.Compare(a.object.Name, b.object.Name))
	})
	for _, h := range hosts {
		o := h.object
		v.hosts = append(v.hosts, hostRow{
			name: o.Name, region: o.Spec.RegionName, phase: orNew(string(o.Status.Phase)), reason: reasonOf(o.Status.Conditions, v1alpha1.ConditionReady),
			instanceType: o.Status.InstanceType, claimed: int32(len(o.Status.Claims)), capacity: ptr.Deref(o.Status.Capacity, 0),
			elapsed: h.elapsed(now),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(f.sessions)) {
		s := f.sessions[name]
		v.sessions = append(v.sessions, sessionRow{
			name: name, phase: orNew(string(s.object.Status.Phase)), reason: sessionReason(s.object),
			host: s.object.Status.InstanceName, address: address(s.object), elapsed: s.elapsed(now),
		})
	}
	return v
}

// elapsed is the time from when the object was first seen until it had reached
// its place, or until now.
func (t *tracked[T]) elapsed(now time.Time) time.Duration {
	if !t.reached.IsZero() {
		now = t.reached
	}
	return now.Sub(t.seen)
}

// missing says what is not yet as it should be once all samples run; nothing if
// all is. An error means that it never will be.
func (f *fleet) missing(want *samples) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var missing []string
	var failed []error
	for _, name := range want.sessions {
		s, ok := f.sessions[name]
		switch {
		case !ok:
			missing = append(missing, "session "+name+" has not been seen")
		case s.object.Status.Phase == v1alpha1.MandelboxFinished:
			failed = append(failed, fmt.Errorf("session %s ended: %s", name, why(s.object.Status.Conditions, v1alpha1.ConditionFinished)))
		case s.object.Status.Phase != v1alpha1.MandelboxRunning:
			missing = append(missing, fmt.Sprintf("session %s is %s: %s", name, orNew(string(s.object.Status.Phase)), why(s.object.Status.Conditions, v1alpha1.ConditionFinished)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.hosts)) {
		if o := f.hosts[name].object; o.Status.Phase != v1alpha1.InstanceActive {
			missing = append(missing, fmt.Sprintf("host %s is %s: %s", name, orNew(string(o.Status.Phase)), why(o.Status.Conditions, v1alpha1.ConditionReady)))
		}
	}
	for _, region := range want.regions {
		if o, ok := f.regions[region.Name]; !ok || !meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionReady) {
			missing = append(missing, "region "+region.Name+" is not ready: "+regionWhy(o))
		}
	}
	return missing, errors.Join(failed...)
}

func regionWhy(o *v1alpha1.Region) string {
	if o == nil {
		return "it has not been seen"
	}
	return why(o.Status.Conditions, v1alpha1.ConditionReady)
}

func sessionName(m *v1alpha1.Mandelbox) string { return m.Namespace + "/" + m.Name }

func sessionReason(m *v1alpha1.Mandelbox) string {
	return reasonOf(m.Status.Conditions, v1alpha1.ConditionFinished)
}

func reasonOf(conditions []metav1.Condition, kind string) string {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return c.Reason
	}
	return ""
}

// why is the reason and message of a condition.
func why(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	switch {
	case c == nil:
		return "no reason given yet"
	case c.Message == "":
		return c.Reason
	default:
		return c.Reason + ", " + c.Message
	}
}

// address is where the session's first port can be reached.
func address(m *v1alpha1.Mandelbox) string {
	if m.Status.IP == "" || len(m.Status.Ports) == 0 {
		return m.Status.IP
	}
	return net.JoinHostPort(m.Status.IP, strconv.Itoa(int(m.Status.Ports[0].HostPort)))
}

func orNew(phase string) string {
	if phase == "" {
		return "New"
	}
	return phase
}
