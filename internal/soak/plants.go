// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// plant is a bug that an operator could have: a rogue client commits it while the
// real operator is frozen, so that nothing of it is in the product's code. The
// checker must find it by the rule.
type plant struct {
	what, rule string
	do         func(r *rogue, ctx context.Context) error
}

// rogue acts in the operator's place.
type rogue struct {
	*world
	cluster string
	// session runs on the host.
	session *v1alpha1.Mandelbox
	host    *v1alpha1.Instance
}

// plants are the bugs by name.
var plants = map[string]plant{
	"claim":    {"a claim beyond the host's last slot, with the API server's own rules removed", checker.RuleSlot, (*rogue).overclaim},
	"steal":    {"another's claim on the slot of a running session", checker.RuleBacked, (*rogue).steal},
	"move":     {"a running session's status moved to another slot", checker.RuleAssignment, (*rogue).move},
	"task":     {"a second task for a running session", checker.RuleOneTask, (*rogue).secondTask},
	"second":   {"a second host for an Instance, under a new token", checker.RuleOneHost, (*rogue).secondHost},
	"orphan":   {"a host that no Instance knows", checker.RuleHostOwner, (*rogue).orphan},
	"leak":     {"a task of a Mandelbox that there never was", checker.RuleTaskOwner, (*rogue).leak},
	"host":     {"a host with a running session terminated", checker.RuleStopped, (*rogue).terminate},
	"stop":     {"the task of a running session stopped", checker.RuleStopped, (*rogue).stop},
	"anew":     {"a running session put back into the queue", checker.RuleEnded, (*rogue).placeAnew},
	"swap":     {"a release made active that has no host", checker.RuleSwap, (*rogue).swap},
	"room":     {"the active release's last hosts drained in a rollout", checker.RuleRoom, (*rogue).drainInRollout},
	"running":  {"a session called Running without a task", checker.RuleRunning, (*rogue).runningTooEarly},
	"active":   {"an Instance called Active without a host", checker.RuleActive, (*rogue).activeTooEarly},
	"finished": {"a session called Finished whose task runs", checker.RuleFinished, (*rogue).finishedTooEarly},
	"idle":     {"a status written again and again with nothing new", checker.RuleIdle, nil},
}

// Plants are the names of the bugs that can be planted.
func Plants() []string { return slices.Sorted(maps.Keys(plants)) }

func findPlant(name string) (*plant, error) {
	if name == "" {
		return nil, nil
	}
	p, known := plants[name]
	if !known {
		return nil, fmt.Errorf("there is no bug %q to plant: want one of %s", name, strings.Join(Plants(), ", "))
	}
	return &p, nil
}

// plantWithin is how long a plant may wait for the session and the host it needs.
const plantWithin = 50 * time.Second

// run plants the bug. The operator stays frozen afterwards, unless the bug is that
// it never rests.
func (p *plant) run(ctx context.Context, w *world, f *feed, c *checker.Checker) error {
	if p.do == nil {
		return w.neverRest(ctx, f, c)
	}
	if err := w.allowAnyClaim(ctx); err != nil {
		return err
	}
	r := &rogue{world: w, cluster: string(w.plane.ClusterUID())}
	if err := r.findSession(ctx); err != nil {
		return err
	}
	if err := w.manager.freeze(); err != nil {
		return err
	}
	// What the operator wrote last is read again, now that it writes no more.
	if err := errors.Join(r.read(ctx, r.session), r.read(ctx, r.host)); err != nil {
		return err
	}
	return p.do(r, ctx)
}

// allowAnyClaim takes the rules off the CRD of Instances, so that what the API
// server would refuse can be written. A manager that starts later refuses to.
func (w *world) allowAnyClaim(ctx context.Context) error {
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := w.api.Get(ctx, client.ObjectKey{Name: "instances." + v1alpha1.GroupVersion.Group}, definition); err != nil {
		return fmt.Errorf("reading the CRD of Instances: %w", err)
	}
	for i := range definition.Spec.Versions {
		definition.Spec.Versions[i].Schema.OpenAPIV3Schema.XValidations = nil
	}
	if err := w.api.Update(ctx, definition); err != nil {
		return fmt.Errorf("taking the rules off the CRD of Instances: %w", err)
	}
	return nil
}

func (r *rogue) read(ctx context.Context, o client.Object) error {
	if err := r.api.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return fmt.Errorf("reading %s: %w", o.GetName(), err)
	}
	return nil
}

// findSession makes a session, and waits until it runs.
func (r *rogue) findSession(ctx context.Context) error {
	name := fmt.Sprintf("victim-%d", time.Now().UnixNano())
	m, err := r.createSession(ctx, Session{Namespace: tenants[0], Name: name, User: name, Regions: regionNames[:1], Channel: channelNames[0]})
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, lookInterval, plantWithin, true, func(ctx context.Context) (bool, error) {
		return m.Status.Phase == v1alpha1.MandelboxRunning, r.read(ctx, m)
	})
	if err != nil {
		return fmt.Errorf("waiting for the session that the bug strikes, which is %q: %w", m.Status.Phase, err)
	}
	r.session, r.host = m, &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: m.Status.InstanceName}}
	return nil
}

// update writes a status; until the API server has taken the changed CRD in, it
// still refuses.
func (r *rogue) update(ctx context.Context, o client.Object) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 2*lookInterval, plantWithin, true, func(ctx context.Context) (bool, error) {
		last = r.api.Status().Update(ctx, o)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("writing the status of %s: %w", o.GetName(), errors.Join(err, last))
	}
	return nil
}

func (r *rogue) overclaim(ctx context.Context) error {
	ghost := v1alpha1.Claim{Slot: r.host.Slots(), Namespace: tenants[0], Name: "ghost", UID: "ghost", Attempt: 1}
	r.host.Status.Claims = append(r.host.Status.Claims, ghost)
	return r.update(ctx, r.host)
}

func (r *rogue) steal(ctx context.Context) error {
	claim := r.host.ClaimOf(string(r.session.UID))
	if claim == nil {
		return errors.New("the running session has no claim")
	}
	claim.UID, claim.Name = "thief", "thief"
	return r.update(ctx, r.host)
}

func (r *rogue) move(ctx context.Context) error {
	r.session.Status.Slot = ptr.To(*r.session.Status.Slot + 1)
	return r.update(ctx, r.session)
}

// runTask starts a task on the host of the session.
func (r *rogue) runTask(ctx context.Context, startedBy string) error {
	api := r.ecs(r.session.Status.Region)
	like, err := api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: awssdk.String(ecsCluster), Tasks: []string{r.session.Status.TaskARN}})
	if err != nil {
		return fmt.Errorf("looking at the task of the session: %w", err)
	}
	if len(like.Tasks) != 1 {
		return fmt.Errorf("ECS doesn't know the task %s of the session", r.session.Status.TaskARN)
	}
	_, err = api.StartTask(ctx, &ecs.StartTaskInput{
		Cluster: awssdk.String(ecsCluster), TaskDefinition: like.Tasks[0].TaskDefinitionArn,
		ContainerInstances: []string{r.host.Status.ContainerInstanceARN}, StartedBy: awssdk.String(startedBy),
	})
	if err != nil {
		return fmt.Errorf("starting a task: %w", err)
	}
	return nil
}

func (r *rogue) secondTask(ctx context.Context) error {
	return r.runTask(ctx, cloud.StartedBy(string(r.session.UID), r.session.Status.Attempt+1))
}

func (r *rogue) leak(ctx context.Context) error {
	return r.runTask(ctx, cloud.StartedBy("00000000-0000-0000-0000-000000000000", 1))
}

// launch launches a host as one of the operator's.
func (r *rogue) launch(ctx context.Context, token string) error {
	_, err := r.ec2(r.host.Spec.RegionName).RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId: awssdk.String(r.host.Spec.ImageID), InstanceType: ec2types.InstanceTypeG4dn12xlarge, ClientToken: awssdk.String(token),
		MinCount: awssdk.Int32(1), MaxCount: awssdk.Int32(1),
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{
			{Key: awssdk.String(cloud.TagCluster), Value: awssdk.String(r.cluster)},
		}}},
	})
	if err != nil {
		return fmt.Errorf("launching a host: %w", err)
	}
	return nil
}

func (r *rogue) orphan(ctx context.Context) error { return r.launch(ctx, "orphan-"+r.session.Name) }

func (r *rogue) secondHost(ctx context.Context) error {
	token := "second-" + r.session.Name
	r.host.Status.Launch.Token, r.host.Status.Launch.Index = token, 0
	r.host.Status.Launch.Attempt++
	return errors.Join(r.update(ctx, r.host), r.launch(ctx, token))
}

func (r *rogue) terminate(ctx context.Context) error {
	_, err := r.ec2(r.host.Spec.RegionName).TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{r.host.Status.InstanceID}})
	return err
}

func (r *rogue) stop(ctx context.Context) error {
	_, err := r.ecs(r.session.Status.Region).StopTask(ctx, &ecs.StopTaskInput{
		Cluster: awssdk.String(ecsCluster), Task: awssdk.String(r.session.Status.TaskARN), Reason: awssdk.String("no reason"),
	})
	return err
}

func (r *rogue) placeAnew(ctx context.Context) error {
	st := &r.session.Status
	st.Phase, st.InstanceName, st.Slot = v1alpha1.MandelboxPending, "", nil
	return r.update(ctx, r.session)
}

// channelWithRelease reads the channel of the session, and adds a release to it that is like
// the active one but has no host.
func (r *rogue) channelWithRelease(ctx context.Context, state v1alpha1.RevisionState) (*v1alpha1.AMI, *v1alpha1.Revision, error) {
	channel := &v1alpha1.AMI{ObjectMeta: metav1.ObjectMeta{Name: r.host.Spec.AMIName}}
	if err := r.read(ctx, channel); err != nil {
		return nil, nil, err
	}
	active := channel.Revision(channel.Status.ActiveRevision)
	if active == nil {
		return nil, nil, errors.New("the channel has no active release")
	}
	rogue := active.DeepCopy()
	rogue.Name, rogue.State, rogue.Time = "planted", state, metav1.Now()
	for i := range rogue.Regions {
		rogue.Regions[i].ID = "planted"
	}
	channel.Status.Revisions = append([]v1alpha1.Revision{*active}, *rogue)
	return channel, &channel.Status.Revisions[1], nil
}

func (r *rogue) swap(ctx context.Context) error {
	channel, release, err := r.channelWithRelease(ctx, v1alpha1.RevisionActive)
	if err != nil {
		return err
	}
	channel.Status.ActiveRevision = release.Name
	return r.update(ctx, channel)
}

func (r *rogue) drainInRollout(ctx context.Context) error {
	channel, _, err := r.channelWithRelease(ctx, v1alpha1.RevisionWarming)
	if err != nil {
		return err
	}
	if err := r.update(ctx, channel); err != nil {
		return err
	}
	var hosts v1alpha1.InstanceList
	if err := r.api.List(ctx, &hosts); err != nil {
		return fmt.Errorf("listing Instances: %w", err)
	}
	for i := range hosts.Items {
		host := &hosts.Items[i]
		if host.Spec.AMIName != r.host.Spec.AMIName {
			continue
		}
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"drain":true}}`))
		if err := r.api.Patch(ctx, host, patch); err != nil {
			return fmt.Errorf("draining Instance %s: %w", host.Name, err)
		}
	}
	return nil
}

func (r *rogue) runningTooEarly(ctx context.Context) error {
	name := "early-" + r.session.Name
	m, err := r.createSession(ctx, Session{Namespace: tenants[0], Name: name, User: name, Regions: regionNames[:1], Channel: channelNames[0]})
	if err != nil {
		return err
	}
	m.Status.Phase = v1alpha1.MandelboxRunning
	return r.update(ctx, m)
}

func (r *rogue) activeTooEarly(ctx context.Context) error {
	early := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: "early-" + r.session.Name}, Spec: *r.host.Spec.DeepCopy()}
	if err := r.api.Create(ctx, early); err != nil {
		return fmt.Errorf("creating an Instance: %w", err)
	}
	early.Status.Phase, early.Status.InstanceID = v1alpha1.InstanceActive, "i-0000000000000dead"
	return r.update(ctx, early)
}

func (r *rogue) finishedTooEarly(ctx context.Context) error {
	r.session.Status.Phase = v1alpha1.MandelboxFinished
	return r.update(ctx, r.session)
}

// neverRest writes to an object again and again, and has the checker wait for silence.
func (w *world) neverRest(ctx context.Context, f *feed, c *checker.Checker) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	written := make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: regionNames[0]}}
			patch := fmt.Appendf(nil, `{"status":{"surplusSince":%q}}`, time.Unix(int64(n), 0).UTC().Format(time.RFC3339))
			err := w.api.Status().Patch(ctx, region, client.RawPatch("application/merge-patch+json", patch))
			select {
			case <-ctx.Done():
				written <- nil
				return
			case <-time.After(10 * lookInterval):
			}
			if err != nil {
				written <- fmt.Errorf("writing to Region %s: %w", region.Name, err)
				return
			}
		}
	}()
	err := awaitSilence(ctx, f, c, endings{silence: 5 * time.Second, quiet: 15 * time.Second})
	cancel()
	return errors.Join(err, <-written)
}
