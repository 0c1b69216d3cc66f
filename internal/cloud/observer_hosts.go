// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"reflect"
	"time"
)

// Host returns the host that the launch with this token made in this place.
func (o *Observer) Host(token string, index int32) (Host, Presence) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if id, ok := o.byLaunch[launchKey{token, index}]; ok {
		return o.hosts.items[id].value, Present
	}
	if at, ok := o.expected[token]; ok && o.listings[hostListing].beganAt.Sub(at) < o.opts.GracePeriod {
		return Host{}, Unknown
	}
	return Host{}, o.absence()
}

// HostByID returns the host with this EC2 instance id.
func (o *Observer) HostByID(instanceID string) (Host, Presence) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if known, ok := o.hosts.items[instanceID]; ok {
		return known.value, Present
	}
	return Host{}, o.absence()
}

// HostsListedSince says whether all that was launched by t is known, or gone: the hosts
// were listed a grace period after it.
func (o *Observer) HostsListedSince(t time.Time) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.listings[hostListing].beganAt.Sub(t) >= o.opts.GracePeriod
}

// absence says what it means that a host isn't known: right after the start it
// may have been launched just before, and not be visible yet.
func (o *Observer) absence() Presence {
	listed := o.listings[hostListing].beganAt
	if listed.IsZero() || listed.Sub(o.startedAt) < o.opts.GracePeriod {
		return Unknown
	}
	return Gone
}

// Hosts returns all known hosts, in no order.
func (o *Observer) Hosts() []Host {
	o.mu.RLock()
	defer o.mu.RUnlock()
	hosts := make([]Host, 0, len(o.hosts.items))
	for _, known := range o.hosts.items {
		hosts = append(hosts, known.value)
	}
	return hosts
}

// ContainerHost returns the container instance that is registered for an EC2
// instance; the newest if it registered more than once, none that was
// deregistered.
func (o *Observer) ContainerHost(instanceID string) (ContainerHost, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.containerHost(instanceID)
}

func (o *Observer) containerHost(instanceID string) (newest ContainerHost, found bool) {
	for arn := range o.byInstance.ids(instanceID) {
		ch := o.containerHosts.items[arn].value
		if ch.Status == ContainerHostInactive {
			continue
		}
		if !found || ch.RegisteredAt.After(newest.RegisteredAt) {
			newest, found = ch, true
		}
	}
	return newest, found
}

// ContainerHostByARN returns the container instance with this ARN.
func (o *Observer) ContainerHostByARN(arn string) (ContainerHost, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	known, ok := o.containerHosts.items[arn]
	if !ok {
		return ContainerHost{}, false
	}
	return known.value, true
}

// PutHosts takes in hosts that a writer got as an answer, and watches them.
func (o *Observer) PutHosts(hosts ...Host) {
	now := o.opts.Clock.Now()
	o.mu.Lock()
	var changes []Change
	for _, h := range hosts {
		changes = append(changes, o.takeHost(h, now, now)...)
		o.hosts.touch(h.InstanceID, now.Add(o.opts.TouchTime))
	}
	o.mu.Unlock()
	o.emit(changes)
}

// ExpectLaunch tells that a launch under the token is about to be asked for: its
// hosts are not Gone until a grace period after it.
func (o *Observer) ExpectLaunch(token string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expected[token] = o.opts.Clock.Now()
}

// TouchHost watches a host, and its container host, for a while, because a writer
// did something to it.
func (o *Observer) TouchHost(instanceID string) {
	until := o.opts.Clock.Now().Add(o.opts.TouchTime)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hosts.touch(instanceID, until)
	for arn := range o.byInstance.ids(instanceID) {
		o.containerHosts.touch(arn, until)
	}
}

// TouchContainerHost watches a container instance for a while.
func (o *Observer) TouchContainerHost(arn string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.containerHosts.touch(arn, o.opts.Clock.Now().Add(o.opts.TouchTime))
}

// DropContainerHost takes in that a writer deregistered a container instance.
func (o *Observer) DropContainerHost(arn string) {
	now := o.opts.Clock.Now()
	o.mu.Lock()
	var changes []Change
	if known, ok := o.containerHosts.items[arn]; ok {
		dropped := known.value
		dropped.Status = ContainerHostInactive
		changes = o.takeContainerHost(dropped, now, now)
	}
	o.mu.Unlock()
	o.emit(changes)
}

// takeHost puts a host on its shelf and returns the changes by it.
func (o *Observer) takeHost(h Host, asOf, now time.Time) []Change {
	if known, ok := o.hosts.items[h.InstanceID]; ok && len(h.Tags) == 0 {
		// Tags may become visible later than the instance, and lag on a replica.
		h.Tags = known.value.Tags
	}
	if !o.hosts.put(h.InstanceID, h, asOf, now) {
		return nil
	}
	o.byLaunch[launchKey{h.Token, h.Index}] = h.InstanceID
	return []Change{hostChange(h)}
}

// dropHost forgets what a listing found gone.
func (o *Observer) dropHost(h Host) Change {
	delete(o.byLaunch, launchKey{h.Token, h.Index})
	return hostChange(h)
}

func hostChange(h Host) Change {
	return Change{Kind: HostChanged, Token: h.Token, Index: h.Index, InstanceID: h.InstanceID}
}

// takeContainerHost puts a container host on its shelf and returns the changes by it.
func (o *Observer) takeContainerHost(ch ContainerHost, asOf, now time.Time) []Change {
	if !o.containerHosts.put(ch.ARN, ch, asOf, now) {
		return nil
	}
	o.byInstance.add(ch.InstanceID, ch.ARN)
	return o.containerHostChange(ch)
}

// containerHostChange is a change of the host it is on; none if that isn't ours,
// since others may use the same ECS cluster.
func (o *Observer) containerHostChange(ch ContainerHost) []Change {
	known, ok := o.hosts.items[ch.InstanceID]
	if !ok {
		return nil
	}
	return []Change{hostChange(known.value)}
}

// hostOrder is how far along its life a host is in each state.
var hostOrder = map[HostState]int{
	HostPending: 0, HostRunning: 1, HostStopping: 2, HostStopped: 3, HostShuttingDown: 4, HostTerminated: 5,
}

// hostSupersedes holds that a host only moves forward, except that one that
// stopped may be started again by a person.
func hostSupersedes(old, fresh Host, later bool) bool {
	was, is := hostOrder[old.State], hostOrder[fresh.State]
	switch {
	case is > was:
		return true
	case is < was:
		stopped := old.State == HostStopped || old.State == HostStopping
		return later && stopped
	}
	return later
}

func sameHost(a, b Host) bool { return reflect.DeepEqual(a, b) }

// containerHostSupersedes holds that a deregistered container instance never
// comes back: its host would register as another one.
func containerHostSupersedes(old, fresh ContainerHost, later bool) bool {
	if old.Status == ContainerHostInactive {
		return false
	}
	return later || fresh.Status == ContainerHostInactive
}

// sameContainerHost leaves out the counts of tasks, which change with every
// session and decide nothing.
func sameContainerHost(a, b ContainerHost) bool {
	a.RunningTasks, a.PendingTasks = b.RunningTasks, b.PendingTasks
	return reflect.DeepEqual(a, b)
}
