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
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
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
	// lawless bugs need an API server that lacks the rules of Instances.
	lawless bool
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
	"claim": {
		what: "a claim beyond the host's last slot, with the API server's own rules removed",
		rule: checker.RuleSlot, do: (*rogue).overclaim, lawless: true,
	},
	"release":  {what: "the claim of a running session released", rule: checker.RuleBacked, do: (*rogue).releaseClaim},
	"move":     {what: "a running session's status moved to another slot", rule: checker.RuleAssignment, do: (*rogue).move},
	"task":     {what: "a second task for a running session", rule: checker.RuleOneTask, do: (*rogue).secondTask},
	"second":   {what: "a second host for an Instance, under a new token", rule: checker.RuleOneHost, do: (*rogue).secondHost},
	"orphan":   {what: "a host that no Instance knows", rule: checker.RuleHostOwner, do: (*rogue).orphan},
	"leak":     {what: "a task of a Mandelbox that there never was", rule: checker.RuleTaskOwner, do: (*rogue).leak},
	"host":     {what: "a host with a running session terminated", rule: checker.RuleStopped, do: (*rogue).terminate},
	"stop":     {what: "the task of a running session stopped", rule: checker.RuleStopped, do: (*rogue).stop},
	"anew":     {what: "a running session put back into the queue", rule: checker.RuleEnded, do: (*rogue).placeAnew},
	"swap":     {what: "a release made active that has no host", rule: checker.RuleSwap, do: (*rogue).swap},
	"room":     {what: "the active release's last hosts drained in a rollout", rule: checker.RuleRoom, do: (*rogue).drainInRollout},
	"running":  {what: "a session called Running without a task", rule: checker.RuleRunning, do: (*rogue).runningTooEarly},
	"active":   {what: "an Instance called Active without a host", rule: checker.RuleActive, do: (*rogue).activeTooEarly},
	"finished": {what: "a session called Finished whose task runs", rule: checker.RuleFinished, do: (*rogue).finishedTooEarly},
	"idle":     {what: "a status written again and again with nothing new", rule: checker.RuleIdle},
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

// removeRules takes the rules off the CRD of Instances, so that what the API server
// would refuse can be written, and waits until that is so. The operator must run
// already, for it refuses to start without them; and nobody may watch yet, since the
// API server has no old versions of a kind that has changed.
func (w *world) removeRules(ctx context.Context) error {
	var hosts v1alpha1.InstanceList
	err := wait.PollUntilContextTimeout(ctx, lookInterval, plantWithin, true, func(ctx context.Context) (bool, error) {
		err := w.api.List(ctx, &hosts)
		return len(hosts.Items) > 0, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the first Instance: %w", err)
	}
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
	return w.awaitLawlessness(ctx, &hosts.Items[0])
}

// awaitLawlessness tries what the rules forbid, without effect, until it can be done.
func (w *world) awaitLawlessness(ctx context.Context, host *v1alpha1.Instance) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, lookInterval, plantWithin, true, func(ctx context.Context) (bool, error) {
		if last = w.api.Get(ctx, client.ObjectKeyFromObject(host), host); last == nil {
			host.Status.Claims = append(host.Status.Claims, v1alpha1.Claim{Slot: 127, Namespace: tenants[0], Name: "ghost", UID: "ghost", Attempt: 1})
			last = w.api.Status().Update(ctx, host, client.DryRunAll)
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until the API server has forgotten the rules: %w", errors.Join(err, last))
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

// update writes a status.
func (r *rogue) update(ctx context.Context, o client.Object) error {
	if err := r.api.Status().Update(ctx, o); err != nil {
		return fmt.Errorf("writing the status of %s: %w", o.GetName(), err)
	}
	return nil
}

func (r *rogue) overclaim(ctx context.Context) error {
	ghost := v1alpha1.Claim{Slot: r.host.Slots(), Namespace: tenants[0], Name: "ghost", UID: "ghost", Attempt: 1}
	r.host.Status.Claims = append(r.host.Status.Claims, ghost)
	return r.update(ctx, r.host)
}

func (r *rogue) releaseClaim(ctx context.Context) error {
	r.host.Status.Claims = slices.DeleteFunc(r.host.Status.Claims, func(c v1alpha1.Claim) bool { return c.UID == string(r.session.UID) })
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
	answer, err := api.RunTask(ctx, &ecs.RunTaskInput{
		Cluster: awssdk.String(ecsCluster), TaskDefinition: like.Tasks[0].TaskDefinitionArn, StartedBy: awssdk.String(startedBy),
		LaunchType: ecstypes.LaunchTypeEc2, PlacementConstraints: []ecstypes.PlacementConstraint{{
			Type: ecstypes.PlacementConstraintTypeMemberOf, Expression: awssdk.String("ec2InstanceId == " + r.host.Status.InstanceID),
		}},
	})
	if err == nil && len(answer.Tasks) != 1 {
		err = errors.New("the host has no room")
	}
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
