// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
)

const (
	// Requests are gathered, so that hosts of one decision share a call. A group is
	// called for once all of its decision are in it, or when gatherQuiet has passed
	// without another; a large decision takes seconds to become requests, so that it
	// gets gatherLarge; and in any case gatherMost after the first. Hosts take a minute
	// to boot. gatherTick is the time between two looks.
	gatherTick  = 50 * time.Millisecond
	gatherQuiet = 250 * time.Millisecond
	gatherLarge = 2 * time.Second
	gatherMost  = 10 * time.Second
	// large is from how many hosts on a decision is.
	large = 10
	// maxPerCall is how many hosts one call asks for. EC2 advises to split large
	// launches. See https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html.
	maxPerCall = 100
	// intendTimeout bounds the writes of the intents of one token: one that not all have
	// after it is never called under by whoever began to write them.
	intendTimeout = 10 * time.Second
	// clockSkew is how far apart the clocks of two managers may be, and the second that
	// a time in a status is cut to.
	clockSkew = 5 * time.Second
	// maxUncertainPause is the longest pause after calls that proved nothing, such as
	// throttled ones; the first is a second, and each is twice the one before.
	maxUncertainPause = 30 * time.Second
	// maxHalfIntendedPause is the longest pause for a launch that was left half asked
	// for, as all that is waited for is that time passes.
	maxHalfIntendedPause = 5 * time.Second
)

// DefaultLaunchTimeout bounds a launch by default: the writes of its intents, and its call.
const DefaultLaunchTimeout = time.Minute

// order asks for the launch of one host. Orders whose plan and token are equal
// share a call.
type order struct {
	instance *v1alpha1.Instance
	// before is the version that the API server has, if instance has a status that is
	// not written yet and goes with the intent.
	before *v1alpha1.Instance
	cloud  *cloud.Region
	plan   plan
	// crowd is how many hosts are asked for together with this one, itself included;
	// 0 if that isn't known.
	crowd int
	// asked is when the host was asked for first; the Launcher notes it.
	asked time.Time
}

// plan is what is launched; the parameters of the call without token and count.
type plan struct {
	launch cloud.Launch
	// hash tells plans apart.
	hash         string
	userDataHash string
}

// refusal is the last call for a host that brought none.
type refusal struct {
	err error
	// until is when the host may be tried again.
	until time.Time
	// uncertain counts the calls in a row that proved nothing.
	uncertain int
}

// Launcher launches hosts: it gathers orders for a moment, writes the intent of
// each host, and then asks EC2 for all hosts of one plan in one call. What it
// does survives the caller that asked for it, and repeats after a crash: an order
// for a host that has an intent already is called for under the token of that.
type Launcher struct {
	Client client.Client
	// Live reads past the cache; the Reconciler's by default.
	Live  client.Reader
	Clock clock.WithTicker
	// Wake is fired for the hosts of a launch when it was answered.
	Wake *trigger.Trigger
	// Timeout bounds a launch; DefaultLaunchTimeout by default. An intent of another
	// manager may be called under for as long, whose call isn't known to have ended.
	Timeout time.Duration
	// Counts are told of hosts that EC2 did not give; nil for none.
	Counts *metrics.Counts

	// adoptions is held while a host is adopted, so that no two Instances adopt one.
	adoptions sync.Mutex

	mu sync.Mutex
	// started is when this Launcher began to launch.
	started  time.Time
	orders   map[types.UID]order
	busy     map[types.UID]bool
	refusals map[types.UID]refusal
	// spent are the tokens that are proven to have launched nothing for a host, the
	// last of each. Only a host whose intent has that very token gets a new one: a
	// later token may have launched a host, whatever became of this one.
	spent    map[types.UID]string
	shortage shortage
	wake     chan struct{}
}

// NewLauncher returns a Launcher.
func NewLauncher(c client.Client, clk clock.WithTicker, wake *trigger.Trigger) *Launcher {
	return &Launcher{
		Client: c, Clock: clk, Wake: wake, Timeout: DefaultLaunchTimeout,
		orders: map[types.UID]order{}, busy: map[types.UID]bool{}, refusals: map[types.UID]refusal{},
		spent: map[types.UID]string{}, shortage: shortage{}, wake: make(chan struct{}, 1),
	}
}

// NeedLeaderElection says that only the leader launches.
func (l *Launcher) NeedLeaderElection() bool { return true }

// Start launches until the context ends, and returns when the calls under way have.
func (l *Launcher) Start(ctx context.Context) error {
	log := logr.FromContextOrDiscard(ctx).WithName("launcher")
	l.mu.Lock()
	l.started = l.Clock.Now()
	l.mu.Unlock()
	var rounds sync.WaitGroup
	defer rounds.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		for l.waiting() {
			select {
			case <-ctx.Done():
				return nil
			case <-l.Clock.After(gatherTick):
			}
			for _, group := range l.gather(l.ripe) {
				rounds.Go(func() {
					// The call is not the context's of whoever asked first, nor is it
					// abandoned when the manager stops: its answer would be lost.
					bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Timeout)
					defer cancel()
					if err := l.launch(bounded, group); err != nil {
						log.Error(err, "A launch was not answered well", "hosts", len(group))
					}
				})
			}
		}
	}
}

// waiting says whether there are orders.
func (l *Launcher) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.orders) > 0
}

// ripe says whether it is worth waiting no longer for orders that could share the
// call of these.
func (l *Launcher) ripe(group []order) bool {
	first, last, crowd := group[0].asked, group[0].asked, group[0].crowd
	for _, o := range group {
		if o.asked.Before(first) {
			first = o.asked
		}
		if o.asked.After(last) {
			last = o.asked
		}
		crowd = max(crowd, o.crowd)
	}
	if len(group) >= maxPerCall || crowd > 0 && len(group) >= crowd {
		return true
	}
	quiet := gatherQuiet
	if crowd >= large {
		quiet = gatherLarge
	}
	now := l.Clock.Now()
	return now.Sub(last) >= quiet || now.Sub(first) >= gatherMost
}

// Ask orders the launch of a host, unless one is under way. It returns false if the
// host was ordered already.
func (l *Launcher) Ask(o order) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[o.instance.UID] {
		return false
	}
	last, known := l.orders[o.instance.UID]
	if o.asked = last.asked; !known {
		o.asked = l.Clock.Now()
	}
	l.orders[o.instance.UID] = o
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return !known
}

// Last returns the host's last refusal, nil if there was none since it was
// launched, and whether a call for it is under way.
func (l *Launcher) Last(uid types.UID) (last *refusal, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refused, ok := l.refusals[uid]; ok {
		last = &refused
	}
	return last, l.busy[uid]
}

// Cancel takes back the order for a host. It returns false if it is too late for
// that: the call is under way, and its answer will wake the host.
func (l *Launcher) Cancel(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.orders, uid)
	return !l.busy[uid]
}

// Refused says whether the token of the host's intent is proven to have launched
// nothing for it, so that the next launch needs a new one.
func (l *Launcher) Refused(i *v1alpha1.Instance) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused(i)
}

// Over says whether nothing can come any more of a call under the intent that isn't known:
// what a call made that began with it would be to be seen by now.
func (l *Launcher) Over(launch *v1alpha1.Launch, o *cloud.Observer) bool {
	return o.HostsListedSince(launch.Time.Add(l.Timeout + clockSkew))
}

// Forget drops what is remembered of a host that is gone.
func (l *Launcher) Forget(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.orders, uid)
	delete(l.refusals, uid)
	delete(l.spent, uid)
}

// gather takes the orders that wait and are ripe, in groups that share a call.
func (l *Launcher) gather(ripe func(group []order) bool) [][]order {
	l.mu.Lock()
	defer l.mu.Unlock()
	groups := map[string][]order{}
	for _, o := range l.orders {
		key := o.cloud.Target().Region + "/" + o.plan.hash
		if o.instance.Status.Launch != nil && !l.refused(o.instance) {
			key = o.cloud.Target().Region + "/token/" + o.instance.Status.Launch.Token
		}
		groups[key] = append(groups[key], o)
	}
	var calls [][]order
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		group := groups[key]
		slices.SortFunc(group, func(a, b order) int { return compareNames(a.instance.Name, b.instance.Name) })
		for call := range slices.Chunk(group, maxPerCall) {
			if !ripe(call) {
				continue
			}
			for _, o := range call {
				delete(l.orders, o.instance.UID)
				l.busy[o.instance.UID] = true
			}
			calls = append(calls, call)
		}
	}
	return calls
}

func (l *Launcher) refused(i *v1alpha1.Instance) bool {
	return i.Status.Launch != nil && l.spent[i.UID] == i.Status.Launch.Token
}

// launch carries out one group: intents first, then the call.
func (l *Launcher) launch(ctx context.Context, group []order) error {
	defer l.done(group)
	confirm := l.stillIntended
	if first := group[0]; first.instance.Status.Launch == nil || l.Refused(first.instance) {
		confirm = l.intend
	}
	intended, err := confirm(ctx, group)
	if err != nil || len(intended) == 0 {
		return err
	}
	intent := intended[0].instance.Status.Launch
	request := intended[0].plan.launch
	request.Token, request.Count = intent.Token, intent.Count
	request.InstanceType, request.SubnetID = intended[0].instance.Status.InstanceType, intended[0].instance.Status.SubnetID
	request.Tags = maps.Clone(request.Tags)
	request.Tags[cloud.TagLaunch] = intent.Token
	hosts, err := intended[0].cloud.API().LaunchHosts(ctx, request)
	l.answered(intended, request, hosts, err)
	if err != nil && !cloud.KindOf(err).Definite() {
		return fmt.Errorf("launching %d hosts of %s: %w", len(intended), request.InstanceType, err)
	}
	return nil
}

// answered takes in EC2's answer: hosts beyond those that it gave were refused for
// lack of capacity; a definite error refuses them all. Any other error leaves it
// open whether there are hosts: the same token is asked again after a pause.
func (l *Launcher) answered(group []order, request cloud.Launch, hosts []cloud.Host, err error) {
	now := l.Clock.Now()
	err = nameQuota(err, request)
	given := map[int32]bool{}
	for _, host := range hosts {
		given[host.Index] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if kind := cloud.KindOf(err); err != nil && (kind == cloud.KindCapacity || kind == cloud.KindQuota) || err == nil && len(given) < len(group) {
		l.shortage.note(request, now)
	} else if err == nil {
		l.shortage.had(request)
	}
	for _, o := range group {
		uid := o.instance.UID
		switch {
		case err == nil && given[o.instance.Status.Launch.Index]:
			delete(l.refusals, uid)
		case err == nil:
			l.spent[uid] = request.Token
			l.refusals[uid] = refusal{err: &cloud.Error{
				Op: "RunInstances", Kind: cloud.KindCapacity, Code: "InsufficientInstanceCapacity",
				Err: fmt.Errorf("%d of %d hosts of %s were to be had in %s", len(hosts), request.Count, request.InstanceType, request.SubnetID),
			}, until: now}
		case cloud.KindOf(err).Definite():
			l.spent[uid] = request.Token
			l.refusals[uid] = refusal{err: err, until: now.Add(retryAfter(cloud.KindOf(err)))}
		default:
			l.pause(uid, err)
		}
		if refused, ok := l.refusals[uid]; ok {
			l.Counts.LaunchRefused(o.instance, refusalReason(&refused))
		}
	}
}

// pause has the host wait, twice as long each time, after what proved nothing; the
// lock is held.
func (l *Launcher) pause(uid types.UID, err error) {
	last, longest := l.refusals[uid].uncertain, maxUncertainPause
	if errors.Is(err, errHalfIntended) {
		longest = maxHalfIntendedPause
	}
	wait := min(time.Second<<min(last, 10), longest)
	l.refusals[uid] = refusal{err: err, until: l.Clock.Now().Add(wait), uncertain: last + 1}
}

// retryAfter is how soon another launch is worth a try after a definite refusal:
// at once where another type, zone or token may do, later where a person must act.
func retryAfter(kind cloud.Kind) time.Duration {
	switch kind {
	case cloud.KindCapacity, cloud.KindQuota, cloud.KindTokenSpent:
		return 0
	}
	return slowRetry
}

// done wakes the hosts of a group.
func (l *Launcher) done(group []order) {
	l.mu.Lock()
	for _, o := range group {
		delete(l.busy, o.instance.UID)
	}
	l.mu.Unlock()
	for _, o := range group {
		l.Wake.FireName(o.instance.Name)
	}
}
