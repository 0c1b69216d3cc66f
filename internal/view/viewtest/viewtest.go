// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package viewtest puts a fleet into an API server that no manager looks at, for the
// tests of what shows one: objects that the API server accepts, in the states
// that a manager would have written.
package viewtest

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// The two releases of every channel, and the image that both boot.
const (
	OldHash = "0123456789ab"
	NewHash = "fedcba987654"
	image   = "ami-0123456789abcdef0"
)

// Condition is a condition of the moment.
func Condition(of string, is bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: of, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.Now()}
}

// Region is a Region that is ready.
func Region(name string, fallback ...string) *v1alpha1.Region {
	return &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RegionSpec{
			Subnets: v1alpha1.ResourceSelector{IDs: []string{"subnet-1"}}, SecurityGroups: v1alpha1.ResourceSelector{IDs: []string{"sg-1"}},
			InstanceTypes: []string{"g4dn.xlarge"}, FallbackRegions: fallback, Capacity: v1alpha1.Capacity{MaxInstances: ptr.To[int32](1000)},
		},
		Status: v1alpha1.RegionStatus{
			ObservedGeneration: ptr.To[int64](1),
			Conditions: []metav1.Condition{
				Condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, "Every channel has the room it should have."),
			},
		},
	}
}

// AMI is a channel whose release NewHash is active in the regions, where it
// replaced OldHash.
func AMI(name string, regions ...string) *v1alpha1.AMI {
	a := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: NewHash,
			Task:             v1alpha1.TaskTemplate{Image: "registry.example.com/browser:1", CPU: 4096, MemoryMiB: 8192},
		},
		Status: v1alpha1.AMIStatus{
			ObservedGeneration: ptr.To[int64](1), ActiveRevision: "new",
			Conditions: []metav1.Condition{
				Condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, "Revision new serves."),
				Condition(v1alpha1.ConditionRolledOut, true, v1alpha1.ReasonRolledOut, "Revision new is active."),
			},
			Revisions: []v1alpha1.Revision{
				{Name: "new", ClientCommitHash: NewHash, State: v1alpha1.RevisionActive, Time: metav1.Now()},
				{Name: "old", ClientCommitHash: OldHash, State: v1alpha1.RevisionRetiring, Time: metav1.Now()},
			},
		},
	}
	for _, region := range regions {
		a.Spec.Images = append(a.Spec.Images, v1alpha1.RegionImage{Region: region, ImageID: image})
		a.Status.Regions = append(a.Status.Regions, v1alpha1.AMIRegionStatus{Region: region})
		for i := range a.Status.Revisions {
			r := &a.Status.Revisions[i]
			r.Regions = append(r.Regions, v1alpha1.RevisionRegion{Region: region, ID: r.Name, ImageID: image})
		}
	}
	return a
}

// RollingOut has the release NewHash of a channel warm, while OldHash is active.
func RollingOut(a *v1alpha1.AMI) *v1alpha1.AMI {
	a.Status.ActiveRevision = "old"
	a.Status.Revisions[0].State, a.Status.Revisions[1].State = v1alpha1.RevisionWarming, v1alpha1.RevisionActive
	a.Status.Conditions[1] = Condition(v1alpha1.ConditionRolledOut, false, v1alpha1.ReasonRollingOut, "Revision new is on its way.")
	return a
}

// Host is an Active host of a channel's release NewHash, with its slots free.
func Host(name, region, channel string, capacity int32) *v1alpha1.Instance {
	return &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.InstanceSpec{
			RegionName: region, AMIName: channel, Revision: "new", ImageID: image, ClientCommitHash: NewHash, InstanceTypes: []string{"g4dn.xlarge"},
		},
		Status: v1alpha1.InstanceStatus{
			ObservedGeneration: ptr.To[int64](1), Phase: v1alpha1.InstanceActive, Capacity: ptr.To(capacity), InstanceType: "g4dn.xlarge",
			Conditions: []metav1.Condition{Condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, "takes sessions")},
		},
	}
}

// Session is a session of the user of its name that waits for a slot of a channel.
func Session(namespace, name, channel string, regions ...string) *v1alpha1.Mandelbox {
	const message = "No host has room."
	return &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.MandelboxSpec{UserID: name, SessionID: "session-" + name, Regions: regions, AMIName: channel},
		Status: v1alpha1.MandelboxStatus{
			ObservedGeneration: ptr.To[int64](1), Phase: v1alpha1.MandelboxPending,
			Conditions: []metav1.Condition{
				Condition(v1alpha1.ConditionAssigned, false, v1alpha1.ReasonNoInstanceAvailable, message),
				Condition(v1alpha1.ConditionFinished, false, v1alpha1.ReasonNoInstanceAvailable, message),
			},
		},
	}
}

// Seat gives a session that is in the API server a slot of a host that isn't yet,
// and has it run there.
func Seat(host *v1alpha1.Instance, slot int32, m *v1alpha1.Mandelbox) {
	host.Status.Claims = append(host.Status.Claims, v1alpha1.Claim{
		Slot: slot, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), Attempt: 1,
	})
	now := metav1.NewTime(time.Now())
	m.Status.Phase, m.Status.InstanceName, m.Status.Slot, m.Status.Attempt = v1alpha1.MandelboxRunning, host.Name, &slot, 1
	m.Status.Region, m.Status.IP, m.Status.AssignedTime, m.Status.RunningTime = host.Spec.RegionName, "203.0.113.7", &now, &now
	m.Status.Ports = []v1alpha1.PortBinding{{Name: "web", ContainerPort: 80, HostPort: 32768 + slot, Protocol: v1alpha1.ProtocolTCP}}
	m.Status.Conditions = []metav1.Condition{
		Condition(v1alpha1.ConditionAssigned, true, v1alpha1.ReasonAssigned, fmt.Sprintf("slot %d of Instance %s", slot, host.Name)),
		Condition(v1alpha1.ConditionFinished, false, v1alpha1.ReasonRunning, "the session is running"),
		Condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonRunning, "the session is running"),
	}
}

// Put creates objects with their statuses.
func Put(ctx context.Context, c client.Client, objects ...client.Object) error {
	for _, o := range objects {
		wanted := o.DeepCopyObject().(client.Object)
		if err := c.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
		setStatus(o, wanted)
		if err := c.Status().Update(ctx, o); err != nil {
			return fmt.Errorf("writing the status of %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// setStatus gives an object the status of another of its kind.
func setStatus(o, from client.Object) {
	switch o := o.(type) {
	case *v1alpha1.Region:
		o.Status = from.(*v1alpha1.Region).Status
	case *v1alpha1.AMI:
		o.Status = from.(*v1alpha1.AMI).Status
	case *v1alpha1.Instance:
		o.Status = from.(*v1alpha1.Instance).Status
	case *v1alpha1.Mandelbox:
		o.Status = from.(*v1alpha1.Mandelbox).Status
	}
}
