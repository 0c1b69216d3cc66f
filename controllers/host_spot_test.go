// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"sync/atomic"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// spot has a Region ask for spot hosts.
func spot(r *v1alpha1.Region) { r.Spec.PurchaseOption = v1alpha1.PurchaseSpot }

// agentsDontDrain joins hosts to the cluster with agents that do nothing on a notice.
func agentsDontDrain(r *v1alpha1.Region) {
	r.Spec.UserDataFormat = v1alpha1.UserDataCustom
	r.Spec.UserData = "#!/bin/bash\necho ECS_CLUSTER=mandelbox >> /etc/ecs/ecs.config\n"
}

// noticed gives a host its notice of a spot interruption, and waits until the host
// is on its way out for that, while its session runs and another takes its place.
func (w *world) noticed(ctx context.Context, i *v1alpha1.Instance, m *v1alpha1.Mandelbox) {
	GinkgoHelper()
	Expect(w.aws.InterruptSpot("", home, i.Status.InstanceID)).To(Succeed())
	w.healthy(ctx, i, "False/"+v1alpha1.ReasonSpotInterruption)
	Eventually(w.is(ctx, i)).Should(Equal("Draining/Draining"))
	Eventually(w.told(ctx, i)).Should(ContainElement(v1alpha1.ReasonSpotInterruption))
	w.expectValues(map[string]float64{"instances_given_up_total stable SpotInterruption us-east-1": 1})
	w.expectAnother(ctx, i)
	later := w.session(ctx, "later", []string{home})
	w.runs(ctx, later)
	Expect(later.Status.InstanceName).NotTo(Equal(i.Name))
	Expect(w.phase(ctx, m)()).To(Equal("Running/Running"))
}

// drainInECS sets a host to DRAINING as a person would.
func (w *world) drainInECS(ctx context.Context, i *v1alpha1.Instance) {
	GinkgoHelper()
	_, err := ecs.NewFromConfig(w.awsConfig(home)).UpdateContainerInstancesState(ctx, &ecs.UpdateContainerInstancesStateInput{
		Cluster: awssdk.String("mandelbox"), ContainerInstances: []string{i.Status.ContainerInstanceARN},
		Status: ecstypes.ContainerInstanceStatusDraining,
	})
	Expect(err).NotTo(HaveOccurred())
}

// advisor is a cloud that recommends to leave a host, as only EC2's events do.
type advisor struct {
	cloud.Provider
	host atomic.Pointer[string]
}

func (a *advisor) Open(ctx context.Context, target cloud.Target) (cloud.API, error) {
	api, err := a.Provider.Open(ctx, target)
	return &advised{API: api, by: a}, err
}

type advised struct {
	cloud.API
	by *advisor
}

func (a *advised) ListHostHealth(ctx context.Context) ([]cloud.HostHealth, error) {
	list, err := a.API.ListHostHealth(ctx)
	if host := a.by.host.Load(); host != nil {
		list = append(list, cloud.HostHealth{InstanceID: *host, Events: []cloud.HostEvent{{Code: cloud.EventRebalance}}})
	}
	return list, err
}

var _ = Describe("A spot host that EC2 takes back", func() {
	// interrupted makes a spot host with a session, and a time of notice in which
	// another host is up and takes sessions.
	interrupted := func(ctx context.Context, change ...func(*v1alpha1.Region)) (*world, *v1alpha1.Instance, *v1alpha1.Mandelbox) {
		GinkgoHelper()
		w := newWorld()
		w.delay(func(d *awsemu.Delays) { d.SpotNotice = 15 * time.Second })
		i := &w.fleet(ctx, 1, append(change, free(1), spot)...)[0]
		m := w.session(ctx, "first", []string{home})
		w.runs(ctx, m)
		return w, i, m
	}

	It("takes no new session from the notice on and is replaced, and its sessions go on until it is gone", func(ctx context.Context) {
		w, i, m := interrupted(ctx)
		w.noticed(ctx, i, m)
		w.ends(ctx, m, v1alpha1.ReasonHostLost)
		Eventually(w.gone(ctx, i)).Should(BeTrue())
		w.expectOneHostEach(ctx)
	})

	It("is known by its spot request where its agent does not drain it", func(ctx context.Context) {
		w, i, m := interrupted(ctx, agentsDontDrain)
		w.noticed(ctx, i, m)
		w.ends(ctx, m, v1alpha1.ReasonHostLost)
	})

	It("is known by its agent where spot requests may not be listed", func(ctx context.Context) {
		w, i, m := interrupted(ctx)
		w.fault(awsemu.Fault{Operation: "DescribeSpotInstanceRequests", Action: awsemu.ActionError, Code: "UnauthorizedOperation", Status: 403})
		w.noticed(ctx, i, m)
		w.ends(ctx, m, v1alpha1.ReasonHostLost)
	})

	It("is drained and replaced, and keeps its sessions, when EC2 only recommends to leave it", func(ctx context.Context) {
		advice := &advisor{}
		w := newWorld(func(w *world) {
			w.through = func(provider cloud.Provider) cloud.Provider {
				advice.Provider = provider
				return advice
			}
		})
		i := &w.fleet(ctx, 1, free(1), spot)[0]
		m := w.session(ctx, "first", []string{home})
		w.runs(ctx, m)
		id := i.Status.InstanceID // Not the field, which is read again while the manager asks.
		advice.host.Store(&id)
		w.healthy(ctx, i, "False/"+v1alpha1.ReasonRebalanceRecommended)
		w.leavesAfterItsSession(ctx, i, m)
	})

	It("costs no call in a region without spot hosts", func(ctx context.Context) {
		w := newWorld()
		w.host(ctx)
		listed := w.calls("DescribeInstanceStatus")
		Eventually(func() int { return w.calls("DescribeInstanceStatus") }).Should(BeNumerically(">", listed+2))
		Expect(w.calls("DescribeSpotInstanceRequests")).To(BeZero())
	})
})

var _ = Describe("A host that somebody drains in ECS", func() {
	It("is replaced, and leaves after its sessions", func(ctx context.Context) {
		w := newWorld()
		i := &w.fleet(ctx, 1, free(1))[0]
		m := w.session(ctx, "first", []string{home})
		w.runs(ctx, m)
		w.drainInECS(ctx, i)
		Eventually(w.told(ctx, i)).Should(ContainElement(v1alpha1.ReasonDrainedOutside))
		w.leavesAfterItsSession(ctx, i, m)
	})
})
