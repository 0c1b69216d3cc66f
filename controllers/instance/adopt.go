// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/status"
)

// adopt gives an Instance without an intent a host of its revision that no Instance
// has: the status was lost, or the Instance the host was launched for, as by a restore
// from a backup, which makes objects anew. The intent that the host was launched under
// is written as any intent is.
func (r *Reconciler) adopt(ctx context.Context, s *scope) error {
	if s.instance.Status.Launch != nil || !toBeLaunched(s) || !s.cloud.Observer().Synced() {
		return nil
	}
	owned, err := r.owned(ctx, r.Client, s, client.MatchingFields{index.InstanceByRegion: s.instance.Spec.RegionName})
	if err != nil {
		s.adopting = true
		return err
	}
	hosts, unjudged := r.adoptable(s, owned)
	if len(hosts) == 0 && !unjudged {
		return nil
	}
	if len(hosts) == 0 || !s.cloud.Observer().TasksSynced() {
		s.adopting = true
		s.after(time.Second)
		return nil
	}
	r.Launcher.adoptions.Lock()
	defer r.Launcher.adoptions.Unlock()
	// The cache may lag behind, and an intent is always written before its host is
	// there: of hosts that were seen before the live list, it shows every owner.
	hosts, _ = r.adoptable(s, owned)
	owned, err = r.owned(ctx, r.Live, s, client.MatchingFields{"spec.regionName": s.instance.Spec.RegionName})
	if err != nil {
		s.adopting = true
		return err
	}
	hosts = slices.DeleteFunc(hosts, func(h cloud.Host) bool { return owned[v1alpha1.LaunchKey(h.Token, h.Index)] })
	host, err := r.choose(ctx, s, hosts)
	if err != nil || host == nil {
		s.adopting = err != nil
		return err
	}
	if err := r.take(ctx, s, *host); err != nil {
		s.adopting = true
		return err
	}
	return r.observe(ctx, s)
}

// adoptable are the hosts of the Instance's region and revision that can serve it, and
// are not owned. unjudged says whether there are more of which that is not known yet.
func (r *Reconciler) adoptable(s *scope, owned map[string]bool) (hosts []cloud.Host, unjudged bool) {
	spec := s.instance.Spec
	for _, h := range s.cloud.Observer().Hosts() {
		ours := h.Tags[cloud.TagCluster] == r.ClusterID && h.Tags[cloud.TagRegion] == spec.RegionName &&
			h.Tags[cloud.TagAMI] == spec.AMIName && h.Tags[cloud.TagRevision] == spec.Revision && h.ImageID == spec.ImageID
		if !ours || h.Token == "" || owned[v1alpha1.LaunchKey(h.Token, h.Index)] {
			continue
		}
		serves, known := s.serves(h)
		unjudged = unjudged || !known
		if serves {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(a, b cloud.Host) int { return cmp.Compare(a.InstanceID, b.InstanceID) })
	return hosts, unjudged
}

// serves says whether a host runs and takes sessions, or will once it has registered.
// One that is older than the Instance was launched for another: it must be as good by
// now as a new one would become, of a type that the Instance asks for, and without
// anything that EC2 has against it. Of that, known is false until it was asked for.
func (s *scope) serves(h cloud.Host) (serves, known bool) {
	member, registered := s.cloud.Observer().ContainerHost(h.InstanceID)
	if h.State.Gone() || h.State.Halted() || registered && member.Status != cloud.ContainerHostActive {
		return false, true
	}
	if !s.older(h) {
		return true, true
	}
	if !registered || !member.AgentConnected || !slices.Contains(s.instance.Spec.InstanceTypes, h.InstanceType) {
		return false, true
	}
	health, known := s.cloud.Observer().HostHealth(h.InstanceID)
	return known && !health.Impaired && len(health.Events) == 0, known
}

// older says whether a host was launched before the Instance was made.
func (s *scope) older(h cloud.Host) bool {
	return h.LaunchTime.Before(s.instance.CreationTimestamp.Time)
}

// owned are the launch keys that the region's Instances have.
func (r *Reconciler) owned(ctx context.Context, reader client.Reader, s *scope, inRegion client.ListOption) (map[string]bool, error) {
	var list v1alpha1.InstanceList
	if err := reader.List(ctx, &list, inRegion, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the intents of region %s: %w", s.instance.Spec.RegionName, err)
	}
	owned := make(map[string]bool, len(list.Items))
	for i := range list.Items {
		owned[list.Items[i].LaunchKey()] = true
	}
	return owned, nil
}

// choose prefers the host that runs the Instance's own sessions, and takes none that
// runs another's. Nor is one taken on which tasks run that have no Mandelbox any more:
// they hold slots that nobody can claim for them.
func (r *Reconciler) choose(ctx context.Context, s *scope, hosts []cloud.Host) (*cloud.Host, error) {
	observer := s.cloud.Observer()
	tasks := map[string][]cloud.Task{}
	for _, task := range observer.Tasks() {
		tasks[task.ContainerHostARN] = append(tasks[task.ContainerHostARN], task)
	}
	var free *cloud.Host
	for n := range hosts {
		member, _ := observer.ContainerHost(hosts[n].InstanceID)
		holder, strangers, err := r.holder(ctx, tasks[member.ARN])
		switch {
		case err != nil:
			return nil, err
		case holder == s.instance.Name:
			return &hosts[n], nil
		case holder == "" && !strangers && free == nil:
			free = &hosts[n]
		}
	}
	return free, nil
}

// holder is the name of the Instance that the sessions of these tasks are committed
// to; strangers says whether some run, and are to go on, for no session that there is.
func (r *Reconciler) holder(ctx context.Context, tasks []cloud.Task) (instance string, strangers bool, err error) {
	for _, task := range tasks {
		m, _, err := r.sessionOf(ctx, task)
		switch {
		case err != nil:
			return "", false, err
		case m == nil:
			strangers = strangers || ofASession(task) && task.DesiredStatus != cloud.TaskStopped
		case m.Committed() && instance == "":
			instance = m.Status.InstanceName
		}
	}
	return instance, strangers, nil
}

func ofASession(task cloud.Task) bool {
	_, _, ok := cloud.ParseStartedBy(task.StartedBy)
	return ok
}

// sessionOf finds the session that a task runs for, and its attempt; nil if the task
// is over, or the session.
func (r *Reconciler) sessionOf(ctx context.Context, task cloud.Task) (*v1alpha1.Mandelbox, int32, error) {
	uid, attempt, ok := cloud.ParseStartedBy(task.StartedBy)
	if !ok || task.Stopped() || task.DesiredStatus == cloud.TaskStopped {
		return nil, 0, nil
	}
	m, err := index.SessionOf(ctx, r.Client, uid)
	if err != nil {
		return nil, 0, fmt.Errorf("finding the session of task %s: %w", task.ARN, err)
	}
	if m == nil || m.Finished() {
		return nil, 0, nil
	}
	return m, attempt, nil
}

// take writes the host's launch as the Instance's intent.
func (r *Reconciler) take(ctx context.Context, s *scope, host cloud.Host) error {
	after := s.before.DeepCopy()
	sum := sha256.Sum256([]byte(userData(s)))
	after.Status.Launch = &v1alpha1.Launch{
		Token: host.Token, Index: host.Index, Count: host.Index + 1, Attempt: 1,
		UserDataHash: hex.EncodeToString(sum[:]), Time: metav1.NewTime(host.LaunchTime),
	}
	after.Status.InstanceType, after.Status.SubnetID = host.InstanceType, host.SubnetID
	after.Status.Phase = v1alpha1.InstancePreConnection
	after.Status.ObservedGeneration = ptr.To(after.Generation)
	message := fmt.Sprintf("took over %s, which belonged to no Instance", host.InstanceID)
	if _, registered := s.cloud.Observer().ContainerHost(host.InstanceID); registered {
		status.New(&after.Status.Conditions, after.Generation).Set(v1alpha1.ConditionWarmed, true, v1alpha1.ReasonAdopted, message)
	}
	if err := status.Patch(ctx, r.Client, s.before, after, true); err != nil {
		return fmt.Errorf("adopting %s: %w", host.InstanceID, err)
	}
	s.before, s.instance = after, after.DeepCopy()
	r.Events.Eventf(after, nil, corev1.EventTypeNormal, v1alpha1.ReasonAdopted, "Adopt", "%s", message)
	return nil
}

// adopted says whether the host was running in ECS when it was adopted.
func adopted(i *v1alpha1.Instance) bool {
	warmed := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionWarmed)
	return warmed != nil && warmed.Reason == v1alpha1.ReasonAdopted
}
