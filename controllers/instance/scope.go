// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// conflictPause is how long to wait for the cache after a write met a newer version.
	conflictPause = 20 * time.Millisecond
	// lookAgain is how long to wait for what should come by an event.
	lookAgain = 10 * time.Second
	// slowRetry is how long to wait before asking again for what a person must mend.
	slowRetry = time.Minute
)

// scope carries the facts that the steps gather about one host.
type scope struct {
	before   *v1alpha1.Instance
	instance *v1alpha1.Instance
	now      time.Time

	// region is the Region object, nil if it doesn't exist (any more).
	region *v1alpha1.Region
	// ami is the channel, and row its revision here; nil if they don't exist.
	ami *v1alpha1.AMI
	row *v1alpha1.RevisionRegion
	// cloud is the open region; nil while it isn't open.
	cloud *cloud.Region
	// host is what EC2 has, if presence is Present.
	host     cloud.Host
	presence cloud.Presence
	// launchOver says that what isn't listed is sure not to be: the last listing may be
	// from before another manager launched the host.
	launchOver bool
	// health is what EC2's checks and schedules say of the host, once healthKnown.
	health      cloud.HostHealth
	healthKnown bool
	// member is the host in ECS, nil if it isn't there.
	member *cloud.ContainerHost
	// warm says that the warm-up is done or not asked for; warmReason says why not.
	warm        bool
	warmReason  string
	warmMessage string
	// adopting says that it is not known yet whether the host is there already.
	adopting bool
	// rebuilt are the claims of the sessions that ran on a host when it was adopted.
	rebuilt []v1alpha1.Claim
	// order is what the Launcher is asked for; nil for nothing.
	order *order
	// refusal is why the last launch was refused; nil if it wasn't.
	refusal *refusal
	// expired is why the host is given up; empty if it isn't.
	expired        string
	expiredMessage string
	// terminating says that EC2 was told to terminate the host.
	terminating bool
	// gone says that nothing is left to write to.
	gone         bool
	requeueAfter time.Duration
}

// after asks for another look in d at the latest.
func (s *scope) after(d time.Duration) {
	d = max(d, time.Millisecond)
	if s.requeueAfter == 0 || d < s.requeueAfter {
		s.requeueAfter = d
	}
}

// present says whether EC2 has the host and it isn't on its way out.
func (s *scope) present() bool { return s.presence == cloud.Present && !s.host.State.Gone() }

// lost says whether the host was there and is no more.
func (s *scope) lost() bool {
	if s.presence == cloud.Present {
		return s.host.State.Gone()
	}
	return s.presence == cloud.Gone && s.instance.Status.InstanceID != "" && s.launchOver
}

// connected says whether the host's agent can be told to start tasks.
func (s *scope) connected() bool {
	return s.member != nil && s.member.AgentConnected &&
		(s.member.Status == cloud.ContainerHostActive || s.member.Status == cloud.ContainerHostDraining)
}

// findRegion finds the Region, the channel's revision, and the open region of the cloud.
func (r *Reconciler) findRegion(ctx context.Context, s *scope) error {
	spec := s.instance.Spec
	var region v1alpha1.Region
	switch err := r.Get(ctx, types.NamespacedName{Name: spec.RegionName}, &region); {
	case err == nil:
		s.region = &region
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("reading Region %s: %w", spec.RegionName, err)
	}
	var ami v1alpha1.AMI
	switch err := r.Get(ctx, types.NamespacedName{Name: spec.AMIName}, &ami); {
	case err == nil:
		s.ami, s.row = &ami, ami.RowByID(spec.RegionName, spec.Revision)
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("reading AMI %s: %w", spec.AMIName, err)
	}
	if open, ok := r.Regions.Get(spec.RegionName); ok {
		s.cloud = open
	}
	return nil
}

// hold puts the finalizer on, before the first call that makes something.
func (r *Reconciler) hold(ctx context.Context, s *scope) error {
	if !s.instance.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(s.instance, v1alpha1.InstanceFinalizer) {
		return nil
	}
	return r.patchFinalizer(ctx, s, controllerutil.AddFinalizer)
}

func (r *Reconciler) patchFinalizer(ctx context.Context, s *scope, change func(client.Object, string) bool) error {
	after := s.before.DeepCopy()
	if !change(after, v1alpha1.InstanceFinalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Patch(ctx, after, patch); err != nil {
		return fmt.Errorf("writing the finalizer: %w", err)
	}
	s.before, s.instance = after, after.DeepCopy()
	return nil
}

// observe takes in what EC2 and ECS say of the host.
func (r *Reconciler) observe(_ context.Context, s *scope) error {
	launch := s.instance.Status.Launch
	if s.cloud == nil || launch == nil {
		return nil
	}
	observer := s.cloud.Observer()
	// Asked first, so that it never is of a later listing than what is said of the host.
	s.launchOver = r.Launcher.Over(launch, observer)
	s.host, s.presence = observer.Host(launch.Token, launch.Index)
	id := s.instance.Status.InstanceID
	if s.presence == cloud.Present {
		id = s.host.InstanceID
	}
	if member, ok := observer.ContainerHost(id); ok && id != "" {
		s.member = &member
	}
	if s.host.Spot && s.drainedOutside() {
		observer.Notify(id, cloud.HostEvent{
			Code: cloud.EventSpotInterruption, Description: "ECS drains it, as its agent asks for when EC2 gives notice",
		})
	}
	if s.presence == cloud.Present {
		s.health, s.healthKnown = observer.HostHealth(id)
	}
	return nil
}

// planned is how many Mandelboxes the host's instance type promises room for; ok
// is false while EC2 hasn't said what the type is.
func (s *scope) planned() (slots int32, ok bool) {
	if s.cloud == nil || s.region == nil {
		return 0, false
	}
	t, ok := s.cloud.Observer().Catalog().InstanceTypes[s.instance.Status.InstanceType]
	if !ok {
		return 0, false
	}
	gpu := v1alpha1.GPUShared
	if s.row != nil {
		gpu = s.row.GPU
	}
	return census.SlotsPerHost(s.region, gpu, t), true
}
