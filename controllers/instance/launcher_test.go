// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// launchAPI answers each launch with the next of its answers, and keeps the tokens.
type launchAPI struct {
	cloud.API
	answers []error
	tokens  []string
	// launched are the hosts that a call of another manager launched.
	launched []cloud.Host
}

func (a *launchAPI) HostsOfLaunch(context.Context, string) ([]cloud.Host, error) {
	return a.launched, nil
}

func (a *launchAPI) ListHosts(context.Context) ([]cloud.Host, error) { return a.launched, nil }

func (a *launchAPI) DescribeHosts(context.Context, []string) ([]cloud.Host, error) { return nil, nil }

func (a *launchAPI) FindContainerHosts(context.Context, []string) ([]cloud.ContainerHost, error) {
	return nil, nil
}

func (a *launchAPI) ListContainerHosts(context.Context) ([]cloud.ContainerHost, error) {
	return nil, nil
}

func (a *launchAPI) ListTasks(context.Context, func(string) bool) (cloud.TaskListing, error) {
	return cloud.TaskListing{}, nil
}

func (a *launchAPI) ListHostHealth(context.Context) ([]cloud.HostHealth, error) { return nil, nil }

func (a *launchAPI) Subnets(context.Context, cloud.Selector) ([]cloud.Subnet, error) { return nil, nil }

func (a *launchAPI) SecurityGroups(context.Context, cloud.Selector) ([]string, error) {
	return nil, nil
}

func (a *launchAPI) EventQueue() cloud.EventQueue { return nil }

func (a *launchAPI) Open(context.Context, cloud.Target) (cloud.API, error) { return a, nil }

func (a *launchAPI) LaunchHosts(_ context.Context, launch cloud.Launch) ([]cloud.Host, error) {
	err := a.answers[len(a.tokens)]
	a.tokens = append(a.tokens, launch.Token)
	if err != nil {
		return nil, err
	}
	return []cloud.Host{{InstanceID: "i-1", Token: launch.Token, Index: 0, State: cloud.HostPending}}, nil
}

// grace is how long reads lag at most.
const grace = 2 * time.Second

// bench is a Launcher on an API server in memory, with one Instance to launch.
type bench struct {
	*Launcher
	api     *launchAPI
	clock   *clocktesting.FakeClock
	regions *cloud.Regions
	region  *cloud.Region
	key     types.NamespacedName
}

func newBench(t *testing.T, answers ...error) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	i := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: "host-1-0", UID: "uid-1"}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(i).WithStatusSubresource(i).
		WithIndex(i, "spec.regionName", func(o client.Object) []string { return []string{o.(*v1alpha1.Instance).Spec.RegionName} }).Build()
	api := &launchAPI{answers: answers}
	clk := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	regions := cloud.NewRegions(api, cloud.ObserverOptions{Clock: clk, ListInterval: time.Second, GracePeriod: grace})
	region, err := regions.Ensure(t.Context(), cloud.Target{Region: "here"})
	if err != nil {
		t.Fatal(err)
	}
	l := NewLauncher(c, clk, &trigger.Trigger{})
	l.Live = c
	return &bench{Launcher: l, api: api, clock: clk, regions: regions, region: region, key: client.ObjectKeyFromObject(i)}
}

// observe has the region be listed as the clock goes.
func (b *bench) observe(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.region.Observer().Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	b.quiet(t)
}

// quiet waits until each of the observer's loops waits on the clock.
func (b *bench) quiet(t *testing.T) {
	t.Helper()
	const loops = 6
	gomega.NewWithT(t).Eventually(b.clock.Waiters).WithTimeout(10*time.Second).WithPolling(time.Millisecond).
		Should(gomega.BeNumerically(">=", loops), "the observer doesn't come to rest")
}

// pass lets time go by, in steps that each loop sees.
func (b *bench) pass(t *testing.T, d time.Duration) {
	t.Helper()
	for end := b.clock.Now().Add(d); b.clock.Now().Before(end); b.quiet(t) {
		b.clock.Step(min(time.Minute, end.Sub(b.clock.Now())))
	}
}

func (b *bench) read(t *testing.T) *v1alpha1.Instance {
	t.Helper()
	i := &v1alpha1.Instance{}
	if err := b.Live.Get(t.Context(), b.key, i); err != nil {
		t.Fatal(err)
	}
	return i
}

// launchFrom orders and carries out a launch from that version of the Instance.
func (b *bench) launchFrom(t *testing.T, i *v1alpha1.Instance) {
	t.Helper()
	b.Ask(order{instance: i, cloud: b.region, plan: plan{launch: cloud.Launch{InstanceType: "m", SubnetID: "s", Tags: map[string]string{}}, hash: "h", userDataHash: "u"}})
	for _, group := range b.gather(atOnce) {
		if err := b.launch(t.Context(), group); err != nil {
			t.Logf("launch: %v", err)
		}
	}
}

// atOnce waits for no others.
func atOnce([]order) bool { return true }

func answer(kind cloud.Kind) error {
	return &cloud.Error{Op: "RunInstances", Kind: kind, Err: errors.New("answered")}
}

func TestLauncherTakesANewTokenOnlyAfterADefiniteRefusalOfTheLast(t *testing.T) {
	capacity, lost, throttled := answer(cloud.KindCapacity), answer(cloud.KindUnknown), answer(cloud.KindThrottled)
	for name, c := range map[string]struct {
		answers []error
		// tokens numbers the tokens in the order of their first use.
		tokens []int
	}{
		"launched at once":                        {[]error{nil}, []int{0}},
		"a lost answer":                           {[]error{lost, nil}, []int{0, 0}},
		"throttled":                               {[]error{throttled, throttled, nil}, []int{0, 0, 0}},
		"no room, then room":                      {[]error{capacity, nil}, []int{0, 1}},
		"a lost answer after a refusal":           {[]error{capacity, lost, nil}, []int{0, 1, 1}},
		"refused, lost, refused, lost":            {[]error{capacity, lost, capacity, lost, nil}, []int{0, 1, 1, 2, 2}},
		"a token whose hosts are gone already":    {[]error{answer(cloud.KindTokenSpent), nil}, []int{0, 1}},
		"parameters that don't fit a known token": {[]error{answer(cloud.KindConflict), nil}, []int{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.answers...)
			for range c.answers {
				b.launchFrom(t, b.read(t))
			}
			numbers := map[string]int{}
			for n, token := range b.api.tokens {
				if _, known := numbers[token]; !known {
					numbers[token] = len(numbers)
				}
				if numbers[token] != c.tokens[n] {
					t.Errorf("call %d used token %d, want %d", n, numbers[token], c.tokens[n])
				}
			}
			if len(b.api.tokens) != len(c.tokens) {
				t.Errorf("%d calls, want %d", len(b.api.tokens), len(c.tokens))
			}
			if b.read(t).Status.Launch.Token != b.api.tokens[len(b.api.tokens)-1] {
				t.Error("the Instance does not have the token that it was called for with")
			}
		})
	}
}

func TestLauncherNeverCallsByAStaleVersion(t *testing.T) {
	for name, c := range map[string]struct {
		// answers come before the stale version is tried.
		answers []error
		// stale is how many launches the version is behind.
		stale int
	}{
		"that has no intent yet":         {[]error{nil}, 1},
		"whose intent was refused":       {[]error{answer(cloud.KindCapacity), nil}, 1},
		"whose intent is two behind":     {[]error{answer(cloud.KindCapacity), answer(cloud.KindCapacity), nil}, 2},
		"that has none, two intents ago": {[]error{answer(cloud.KindCapacity), nil}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.answers...)
			versions := []*v1alpha1.Instance{b.read(t)}
			for range c.answers {
				b.launchFrom(t, b.read(t))
				versions = append(versions, b.read(t))
			}
			b.launchFrom(t, versions[len(versions)-1-c.stale])
			if len(b.api.tokens) != len(c.answers) {
				t.Errorf("%d calls, want %d: the stale version was called for", len(b.api.tokens), len(c.answers))
			}
		})
	}
}

func TestLauncherPausesLongerAfterEachCallThatProvedNothing(t *testing.T) {
	lost := answer(cloud.KindUnknown)
	b := newBench(t, lost, lost, lost, lost, lost, lost, lost, nil)
	var pauses []time.Duration
	for range 7 {
		b.launchFrom(t, b.read(t))
		last, busy := b.Last("uid-1")
		if busy {
			t.Fatal("still busy")
		}
		pauses = append(pauses, last.until.Sub(b.clock.Now()))
	}
	for n, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if pauses[n] != want*time.Second {
			t.Errorf("pause %d is %s, want %s", n, pauses[n], want*time.Second)
		}
	}
	b.launchFrom(t, b.read(t))
	if last, _ := b.Last("uid-1"); last != nil {
		t.Errorf("after a launch the last refusal is %v, want none", last.err)
	}
}

func TestLauncherGathersWhatCanShareACall(t *testing.T) {
	b := newBench(t)
	next := 0
	ask := func(hosts, crowd int) {
		for range hosts {
			i := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("host-1-%d", next), UID: types.UID(fmt.Sprint(next))}}
			b.Ask(order{instance: i, cloud: b.region, plan: plan{hash: "h", userDataHash: "u"}, crowd: crowd})
			next++
		}
	}
	expect := func(when string, want ...int) {
		t.Helper()
		var sizes []int
		for _, group := range b.gather(b.ripe) {
			sizes = append(sizes, len(group))
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%s it calls for %v hosts, want %v", when, sizes, want)
		}
	}
	ask(1, 1)
	expect("for one host that was asked for alone", 1)
	ask(2, 3)
	expect("with one of three still to come")
	ask(1, 3)
	expect("with all three there", 3)
	ask(1, 3)
	b.clock.Step(gatherQuiet)
	expect("when the others don't come", 1)

	ask(maxPerCall+3, 300)
	expect("of a large decision", maxPerCall)
	b.clock.Step(gatherLarge / 2)
	ask(1, 300)
	b.clock.Step(gatherLarge / 2)
	expect("while more of it come")
	b.clock.Step(gatherLarge / 2)
	expect("when no more of it come", 4)

	ask(1, 300)
	for range int(gatherMost/gatherLarge) * 2 {
		expect("while more of it come")
		b.clock.Step(gatherLarge / 2)
		ask(1, 300)
	}
	expect("when they have come for long", 11)
}

func TestLauncherCancelsOnlyWhatIsNotUnderWay(t *testing.T) {
	b := newBench(t, nil)
	i := b.read(t)
	o := order{instance: i, cloud: b.region, plan: plan{hash: "h", userDataHash: "u"}}
	b.Ask(o)
	if !b.Cancel(i.UID) {
		t.Error("an order that waits was not cancelled")
	}
	if groups := b.gather(atOnce); len(groups) != 0 {
		t.Errorf("a cancelled order was gathered: %d groups", len(groups))
	}
	b.Ask(o)
	b.gather(atOnce)
	if b.Cancel(i.UID) {
		t.Error("an order under way was cancelled")
	}
}

func TestLauncherNeverCallsUnderATokenThatNotAllHaveTheIntentOf(t *testing.T) {
	b := newBench(t, nil)
	i := b.read(t)
	i.Status.Launch = &v1alpha1.Launch{Token: "left-behind", Index: 1, Count: 3, Attempt: 1, UserDataHash: "u"}
	if err := b.Client.Status().Update(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	b.launchFrom(t, b.read(t))
	if last, _ := b.Last(i.UID); len(b.api.tokens) != 0 || last == nil || !errors.Is(last.err, errHalfIntended) {
		t.Errorf("%d calls, last refusal %v; want none, and to wait", len(b.api.tokens), last)
	}
	b.api.launched = []cloud.Host{{InstanceID: "i-7", Token: "left-behind", Index: 1, State: cloud.HostRunning}}
	b.launchFrom(t, b.read(t))
	host, presence := b.region.Observer().Host("left-behind", 1)
	if len(b.api.tokens) != 0 || presence != cloud.Present || host.InstanceID != "i-7" {
		t.Errorf("%d calls, host %q is %v; want none, and the host adopted", len(b.api.tokens), host.InstanceID, presence)
	}
}

// TestLauncherGivesUpALaunchThatAnotherManagerLeftHalfAskedFor holds that a manager that
// was there before another, which ended in the middle of writing its intents, waits for
// no more than what the other could have written or launched to be seen.
func TestLauncherGivesUpALaunchThatAnotherManagerLeftHalfAskedFor(t *testing.T) {
	b := newBench(t, nil)
	b.observe(t)
	b.started = b.clock.Now()
	b.pass(t, time.Hour)
	left := b.clock.Now()
	i := b.read(t)
	i.Status.Launch = &v1alpha1.Launch{Token: "left-behind", Count: 2, Attempt: 1, UserDataHash: "u", Time: metav1.NewTime(left)}
	if err := b.Client.Status().Update(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	for len(b.api.tokens) == 0 && b.clock.Since(left) < 5*time.Minute {
		b.launchFrom(t, b.read(t))
		b.pass(t, time.Second)
	}
	least, most := intendTimeout+grace, intendTimeout+grace+15*time.Second
	if waited := b.clock.Since(left); len(b.api.tokens) != 1 || b.api.tokens[0] == "left-behind" || waited < least || waited > most {
		t.Errorf("called under %v after %s; want a new token, after %s to %s", b.api.tokens, waited, least, most)
	}
}

// TestLauncherGivesATokenUpThatTakesTooLongToWrite holds what others rely on who find an
// intent that not all hosts of a launch have: nobody writes on after intendTimeout.
func TestLauncherGivesATokenUpThatTakesTooLongToWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		i := b.read(t)
		b.Client = interceptor.NewClient(b.Client.(client.WithWatch), interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, _ client.Client, _ string, _ client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
				<-ctx.Done()
				return ctx.Err()
			},
		})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), b.Timeout)
		defer cancel()
		o := order{instance: i, cloud: b.region, plan: plan{hash: "h", userDataHash: "u"}}
		if err := b.launch(ctx, []order{o}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an API server that takes nothing is no error: %v", err)
		}
		if last, _ := b.Last(i.UID); last == nil || !last.until.After(time.Now()) || refusalReason(last) != v1alpha1.ReasonLaunching {
			t.Errorf("the host does not wait before it is asked for again: %+v", last)
		}
		if took := time.Since(began); took != intendTimeout || len(b.api.tokens) != 0 {
			t.Errorf("given up after %s and %d calls, want %s and none", took, len(b.api.tokens), intendTimeout)
		}
	})
}

// TestInstanceStaysWhileItsLaunchIsUnderWay holds that no Instance goes while the call
// that launched its host may still be repeated.
func TestInstanceStaysWhileItsLaunchIsUnderWay(t *testing.T) {
	for name, underWay := range map[string]bool{"under way": true, "answered": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			i := b.read(t)
			before := i.DeepCopy()
			i.Finalizers = []string{v1alpha1.InstanceFinalizer}
			if err := b.Client.Patch(t.Context(), i, client.MergeFrom(before)); err != nil {
				t.Fatal(err)
			}
			if underWay {
				b.busy[i.UID] = true
			}
			r := &Reconciler{Client: b.Client, Launcher: b.Launcher}
			if err := r.letGo(t.Context(), &scope{before: i, instance: i.DeepCopy()}); err != nil {
				t.Fatal(err)
			}
			if stays := len(b.read(t).Finalizers) > 0; stays != underWay {
				t.Errorf("the Instance stays: %t, want %t", stays, underWay)
			}
		})
	}
}
