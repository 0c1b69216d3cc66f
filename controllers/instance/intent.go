// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// errHalfIntended is what a host waits for whose token not all hosts of the launch
// have: its call was never made, or its hosts are not to be seen yet.
var errHalfIntended = errors.New("looking for the hosts of a launch that was left half asked for")

// errNotIntended is what a host waits for whose intent the API server did not take.
var errNotIntended = errors.New("writing down that EC2 is to be asked for the host")

// outdated says whether a write failed because the version that it was made from is not
// the newest, which the next look will have.
func outdated(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

// stillIntended returns the orders whose token may be called under: the intent is
// the newest there is, and every host of the call has it. The cache may show one
// that was given up since, and a manager may have ended, or met another, in the
// middle of writing the intents: a call would then launch hosts for nobody.
func (l *Launcher) stillIntended(ctx context.Context, group []order) ([]order, error) {
	first := group[0].instance
	var live v1alpha1.InstanceList
	if err := l.Live.List(ctx, &live, client.MatchingFields{"spec.regionName": first.Spec.RegionName}); err != nil {
		return nil, fmt.Errorf("listing the intents of region %s: %w", first.Spec.RegionName, err)
	}
	holders := map[types.UID]*v1alpha1.Instance{}
	for i := range live.Items {
		if launch := live.Items[i].Status.Launch; launch != nil && launch.Token == first.Status.Launch.Token {
			holders[live.Items[i].UID] = &live.Items[i]
		}
	}
	var current []order
	for _, o := range group {
		if holder := holders[o.instance.UID]; holder != nil && holder.DeletionTimestamp.IsZero() {
			current = append(current, o)
		}
	}
	if len(current) > 0 && len(holders) < int(first.Status.Launch.Count) {
		return nil, l.adopt(ctx, current)
	}
	return current, nil
}

// adopt takes in what was launched under a token that can't be called under again.
// Hosts for which there is surely nothing get a new token, unless another manager
// may be about to write the intents that are missing: one that ended can't.
func (l *Launcher) adopt(ctx context.Context, group []order) error {
	region, token := group[0].cloud, group[0].instance.Status.Launch.Token
	hosts, err := region.API().HostsOfLaunch(ctx, token)
	region.Observer().PutHosts(hosts...)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range group {
		uid := o.instance.UID
		abandoned := l.abandoned(o.instance.Status.Launch, region.Observer()) // By a listing before the look.
		_, presence := region.Observer().Host(token, o.instance.Status.Launch.Index)
		switch {
		case presence == cloud.Present:
			delete(l.refusals, uid)
		case err != nil:
			l.pause(uid, err)
		case presence == cloud.Gone && abandoned:
			l.spent[uid] = token
			delete(l.refusals, uid)
		default:
			l.pause(uid, errHalfIntended)
		}
	}
	if err != nil {
		return fmt.Errorf("finding the hosts of launch %s: %w", token, err)
	}
	return nil
}

// abandoned says whether nobody can be at work on the missing intents of a launch any
// more: this manager is the later one, or another has given up writing them, and what it
// called for before that would be to be seen. The lock is held.
func (l *Launcher) abandoned(launch *v1alpha1.Launch, o *cloud.Observer) bool {
	return launch.Time.Time.Before(l.started) || o.HostsListedSince(launch.Time.Add(intendTimeout+clockSkew))
}

// intend writes the intent on every host of a group, under a token that was never
// used. If one can't be written, the others get a new token without it: nobody
// calls under one that not all have.
func (l *Launcher) intend(ctx context.Context, group []order) ([]order, error) {
	for len(group) > 0 {
		written, err := l.writeIntents(ctx, group)
		if len(written) == len(group) {
			return written, nil
		}
		if ctx.Err() != nil || len(written) == 0 && !outdated(err) {
			l.mu.Lock()
			for _, o := range group {
				l.pause(o.instance.UID, errNotIntended)
			}
			l.mu.Unlock()
			return nil, fmt.Errorf("writing the intents of %d launches: %w", len(group), err)
		}
		group = written
	}
	return nil, nil
}

func (l *Launcher) writeIntents(ctx context.Context, group []order) ([]order, error) {
	ctx, cancel := context.WithTimeout(ctx, intendTimeout)
	defer cancel()
	token := uuid.NewString()
	now := metav1.NewTime(l.Clock.Now())
	results := make([]error, len(group))
	written := make([]*v1alpha1.Instance, len(group))
	var wg sync.WaitGroup
	for n, o := range group {
		wg.Go(func() {
			after := o.instance.DeepCopy()
			attempt := int32(1)
			if after.Status.Launch != nil {
				attempt = after.Status.Launch.Attempt + 1
			}
			after.Status.Launch = &v1alpha1.Launch{
				Token: token, Index: int32(n), Count: int32(len(group)), Attempt: attempt, //nolint:gosec // There are at most a hundred to a call.
				UserDataHash: o.plan.userDataHash, Time: now,
			}
			after.Status.InstanceType, after.Status.SubnetID = o.plan.launch.InstanceType, o.plan.launch.SubnetID
			after.Status.Phase = v1alpha1.InstancePreConnection
			after.Status.ObservedGeneration = ptr.To(after.Generation)
			if attempt == 1 {
				// Later on, what the last call was refused for says more.
				status.New(&after.Status.Conditions, after.Generation).Reconciling(v1alpha1.ReasonLaunching, launchingMessage(after))
			}
			before := o.instance
			if o.before != nil {
				before = o.before
			}
			if results[n] = status.Patch(ctx, l.Client, before, after, true); results[n] == nil {
				written[n] = after
			}
		})
	}
	wg.Wait()
	var kept []order
	var err error
	for n, o := range group {
		if results[n] != nil {
			err = results[n]
			continue
		}
		o.instance, o.before = written[n], nil
		kept = append(kept, o)
	}
	if len(kept) < len(group) {
		// Whoever could be written must not keep a token of the wrong count.
		l.mu.Lock()
		for _, o := range kept {
			l.spent[o.instance.UID] = token
		}
		l.mu.Unlock()
	}
	return kept, err
}
