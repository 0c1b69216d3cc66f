// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	newHash = "bbbbbbb"
	oldHash = "aaaaaaa"
)

// now is the moment of every snapshot here; ago is a time before it.
var now = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

// seen is the metadata and the generation of an object that a manager has looked at.
func seen(name string, age time.Duration) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Generation: 1, CreationTimestamp: ago(age)}
}

func is(of string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: of, Status: status, Reason: reason, Message: message, LastTransitionTime: ago(2 * time.Minute)}
}

func yes(of, reason, message string) metav1.Condition {
	return is(of, metav1.ConditionTrue, reason, message)
}

func no(of, reason, message string) metav1.Condition {
	return is(of, metav1.ConditionFalse, reason, message)
}

func region(name string, conditions ...metav1.Condition) v1alpha1.Region {
	if len(conditions) == 0 {
		conditions = []metav1.Condition{yes(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "Every channel has the room it should have.")}
	}
	r := v1alpha1.Region{ObjectMeta: seen(name, time.Hour)}
	r.Spec.Capacity.MaxInstances = ptr.To[int32](10)
	r.Status.ObservedGeneration = ptr.To[int64](1)
	r.Status.Conditions = conditions
	return r
}

// stable is the channel of that name in the regions: "r1" was replaced by "r2".
func stable(regions ...string) v1alpha1.AMI {
	a := v1alpha1.AMI{ObjectMeta: seen("stable", time.Hour)}
	a.Spec.ClientCommitHash = newHash
	a.Status.ObservedGeneration = ptr.To[int64](1)
	a.Status.ActiveRevision = "new"
	a.Status.Conditions = []metav1.Condition{
		yes(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "serves"), yes(v1alpha1.ConditionRolledOut, v1alpha1.ReasonRolledOut, "active"),
	}
	replaced := v1alpha1.Revision{Name: "old", ClientCommitHash: oldHash, State: v1alpha1.RevisionRetiring, Time: ago(time.Hour)}
	active := v1alpha1.Revision{Name: "new", ClientCommitHash: newHash, State: v1alpha1.RevisionActive, Time: ago(time.Minute)}
	for _, name := range regions {
		replaced.Regions = append(replaced.Regions, v1alpha1.RevisionRegion{Region: name, ID: "r1"})
		active.Regions = append(active.Regions, v1alpha1.RevisionRegion{Region: name, ID: "r2"})
		a.Status.Regions = append(a.Status.Regions, v1alpha1.AMIRegionStatus{Region: name})
	}
	a.Status.Revisions = []v1alpha1.Revision{replaced, active}
	return a
}

// host is a host of the channel "stable" in phase Active, with the release r2.
func host(name, region string, capacity int32, claimants ...*v1alpha1.Mandelbox) v1alpha1.Instance {
	i := v1alpha1.Instance{ObjectMeta: seen(name, 10*time.Minute)}
	i.Spec = v1alpha1.InstanceSpec{RegionName: region, AMIName: "stable", Revision: "r2", ClientCommitHash: newHash}
	i.Status.ObservedGeneration = ptr.To[int64](1)
	i.Status.Phase, i.Status.Capacity = v1alpha1.InstanceActive, ptr.To(capacity)
	i.Status.Conditions = []metav1.Condition{yes(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "takes sessions")}
	for n, m := range claimants {
		i.Status.Claims = append(i.Status.Claims, v1alpha1.Claim{
			Slot: int32(n), Namespace: m.Namespace, Name: m.Name, UID: string(m.UID), Attempt: max(1, m.Status.Attempt),
		})
	}
	return i
}

func in(phase v1alpha1.InstancePhase, i v1alpha1.Instance, conditions ...metav1.Condition) v1alpha1.Instance {
	i.Status.Phase = phase
	if len(conditions) > 0 {
		i.Status.Conditions = conditions
	}
	return i
}

// waiting is a session that waits, in the namespace "team" for the user of its name.
func waiting(name string, age time.Duration, regions ...string) *v1alpha1.Mandelbox {
	m := &v1alpha1.Mandelbox{ObjectMeta: seen(name, age)}
	m.Namespace = "team"
	m.Spec = v1alpha1.MandelboxSpec{UserID: name, SessionID: name, Regions: regions, AMIName: "stable"}
	m.Status.ObservedGeneration = ptr.To[int64](1)
	m.Status.Phase = v1alpha1.MandelboxPending
	m.Status.Conditions = []metav1.Condition{
		no(v1alpha1.ConditionAssigned, v1alpha1.ReasonNoInstanceAvailable, "no room"),
		no(v1alpha1.ConditionFinished, v1alpha1.ReasonNoInstanceAvailable, "no room"),
	}
	return m
}

// on is a session in a phase that was committed to a slot.
func on(hostName string, slot int32, phase v1alpha1.MandelboxPhase, name string) *v1alpha1.Mandelbox {
	m := waiting(name, time.Minute, "east")
	m.Status.Phase, m.Status.InstanceName, m.Status.Slot, m.Status.Attempt = phase, hostName, ptr.To(slot), 1
	m.Status.AssignedTime = ptr.To(ago(50 * time.Second))
	m.Status.Conditions = nil
	if phase == v1alpha1.MandelboxRunning {
		m.Status.RunningTime = ptr.To(ago(40 * time.Second))
		m.Status.Conditions = []metav1.Condition{no(v1alpha1.ConditionFinished, v1alpha1.ReasonRunning, "the session is running")}
	}
	return m
}

// failed is a session that ended badly some time ago.
func failed(name, reason string, before time.Duration) *v1alpha1.Mandelbox {
	m := on("gone", 0, v1alpha1.MandelboxFinished, name)
	m.Status.FinishedTime = ptr.To(ago(before))
	m.Status.Conditions = []metav1.Condition{
		yes(v1alpha1.ConditionFinished, reason, "it ended"), yes(v1alpha1.ConditionStalled, reason, "it ended"),
	}
	return m
}

func mandelboxes(all ...*v1alpha1.Mandelbox) []v1alpha1.Mandelbox {
	list := make([]v1alpha1.Mandelbox, 0, len(all))
	for _, m := range all {
		list = append(list, *m)
	}
	return list
}
