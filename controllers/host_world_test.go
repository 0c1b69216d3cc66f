// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// home is the region of the specs that need one.
const home = "us-east-1"

// slotsPerHost is how many slots the hosts of these specs have: two for each of
// the four GPUs of a g4dn.12xlarge.
const slotsPerHost = 8

// free asks a Region for that many free slots.
func free(n int32) func(*v1alpha1.Region) {
	return func(r *v1alpha1.Region) { r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To(n) }
}

// fleet makes a region and a channel with that many hosts, and waits for them.
func (w *world) fleet(ctx context.Context, hosts int, change ...func(*v1alpha1.Region)) []v1alpha1.Instance {
	GinkgoHelper()
	w.region(ctx, home, append([]func(*v1alpha1.Region){free(int32(hosts * slotsPerHost))}, change...)...)
	w.channel(ctx, "stable", []string{home})
	Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(hosts), func() string { return w.summary(ctx) })
	active, err := w.hosts(ctx, v1alpha1.InstanceActive)()
	Expect(err).NotTo(HaveOccurred())
	return active
}

// summary is a line on each Instance, for the message of a spec that fails.
func (w *world) summary(ctx context.Context) string {
	all, err := w.hosts(ctx, "")()
	if err != nil {
		return err.Error()
	}
	lines := ""
	for _, i := range all {
		lines += fmt.Sprintf("%s: %s, %s, launch %+v, ready %s, launched %s\n", i.Name, i.Status.Phase, i.Status.InstanceID, i.Status.Launch,
			condition(&i, v1alpha1.ConditionReady), condition(&i, v1alpha1.ConditionLaunched))
	}
	return lines
}

// host makes one Active host, and a Region that wants no other in its place.
func (w *world) host(ctx context.Context, change ...func(*v1alpha1.Region)) *v1alpha1.Instance {
	GinkgoHelper()
	i := &w.fleet(ctx, 1, append(change, free(1))...)[0]
	w.wantNoMore(ctx)
	return i
}

// wantNoMore has the Region launch nothing more.
func (w *world) wantNoMore(ctx context.Context) {
	GinkgoHelper()
	r := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: home}}
	w.merge(ctx, r, `{"spec":{"capacity":{"desiredFreeMandelboxes":0}}}`)
}

func (w *world) merge(ctx context.Context, o client.Object, patch string) {
	GinkgoHelper()
	Expect(w.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
}

func (w *world) drain(ctx context.Context, i *v1alpha1.Instance, drain string) {
	GinkgoHelper()
	w.merge(ctx, i.DeepCopy(), `{"spec":{"drain":`+drain+`}}`)
}

// fault has the local AWS fail.
func (w *world) fault(f awsemu.Fault) {
	GinkgoHelper()
	_, err := w.aws.AddFault(f)
	Expect(err).NotTo(HaveOccurred())
}

// calls counts the requests that AWS got for an operation.
func (w *world) calls(operation string) int {
	return len(w.aws.Requests(awsemu.RequestFilter{Operation: operation}))
}

// is reads an Instance's phase, and the reason that it is or isn't Ready for.
func (w *world) is(ctx context.Context, i *v1alpha1.Instance) func() string {
	return func() string {
		if err := w.Get(ctx, client.ObjectKeyFromObject(i), i); err != nil {
			return string(metav1.StatusReasonNotFound)
		}
		reason := ""
		if ready := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
			reason = ready.Reason
		}
		return string(i.Status.Phase) + "/" + reason
	}
}

// gone says whether an Instance exists no more, a later one of its name not counted.
func (w *world) gone(ctx context.Context, i *v1alpha1.Instance) func() bool {
	return func() bool {
		var now v1alpha1.Instance
		err := w.Get(ctx, client.ObjectKeyFromObject(i), &now)
		return client.IgnoreNotFound(err) == nil && (err != nil || now.UID != i.UID)
	}
}

// condition reads one condition of an Instance as "Status/Reason".
func condition(i *v1alpha1.Instance, conditionType string) string {
	c := meta.FindStatusCondition(i.Status.Conditions, conditionType)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

// expectOneHostEach waits until each Instance has exactly one EC2 instance, and
// EC2 has no other.
func (w *world) expectOneHostEach(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		instances, err := w.hosts(ctx, "")()
		g.Expect(err).NotTo(HaveOccurred())
		wanted, running := map[string]string{}, map[string]string{}
		for _, i := range instances {
			wanted[i.Status.InstanceID] = i.LaunchKey()
		}
		for _, host := range w.ec2Hosts(ctx, home) {
			running[*host.InstanceId] = v1alpha1.LaunchKey(*host.ClientToken, *host.AmiLaunchIndex)
		}
		g.Expect(wanted).To(HaveLen(len(instances)))
		g.Expect(running).To(Equal(wanted))
	}).Should(Succeed())
}

// expectOneTaskEach waits until each session runs, on one task, in a slot that no
// other has, and ECS runs no other task.
func (w *world) expectOneTaskEach(ctx context.Context, sessions int) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var list v1alpha1.MandelboxList
		g.Expect(w.List(ctx, &list)).To(Succeed())
		tasks, slots := map[string]string{}, map[string]bool{}
		for _, m := range list.Items {
			g.Expect(m.Status.Phase).To(Equal(v1alpha1.MandelboxRunning), m.Name)
			tasks[m.Status.TaskARN] = cloud.StartedBy(string(m.UID), m.Status.Attempt)
			slots[m.Status.InstanceName+"/"+fmt.Sprint(*m.Status.Slot)] = true
		}
		g.Expect(list.Items).To(HaveLen(sessions))
		g.Expect(slots).To(HaveLen(sessions))
		running := map[string]string{}
		for _, t := range w.tasks(ctx, home, ecstypes.DesiredStatusRunning) {
			running[*t.TaskArn] = *t.StartedBy
		}
		g.Expect(running).To(Equal(tasks))
	}).Should(Succeed())
}

// zones counts the hosts in each zone.
func (w *world) zones(ctx context.Context) map[string]int {
	GinkgoHelper()
	zones := map[string]int{}
	for _, host := range w.ec2Hosts(ctx, home) {
		zones[*host.Placement.AvailabilityZone]++
	}
	return zones
}

// launchTokens are the client tokens that RunInstances was called with.
func (w *world) launchTokens() []string {
	tokens := map[string]bool{}
	for _, request := range w.aws.Requests(awsemu.RequestFilter{Operation: "RunInstances"}) {
		tokens[request.ClientToken] = true
	}
	return slices.Collect(maps.Keys(tokens))
}

// env is one variable of a channel's task.
func env(name, value string) v1alpha1.EnvVar {
	return v1alpha1.EnvVar{Name: name, Value: ptr.To(value)}
}
