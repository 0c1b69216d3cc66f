// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/view"
	"github.com/mandelbox/mandelbox-operator/internal/view/viewtest"
)

// memory is a Source that holds a fleet of its own.
type memory struct {
	changed chan struct{}

	mu       sync.Mutex
	snapshot view.Snapshot
	loading  bool
	since    time.Time
	err      error
}

// remember returns a source of a fleet whose controllers have seen all of it.
func remember(s view.Snapshot) *memory {
	for i := range s.Regions {
		s.Regions[i].Generation = 1
	}
	for i := range s.AMIs {
		s.AMIs[i].Generation = 1
	}
	for i := range s.Instances {
		s.Instances[i].Generation = 1
	}
	return &memory{snapshot: s, changed: make(chan struct{}, 1)}
}

func (m *memory) Changed() <-chan struct{} { return m.changed }

func (m *memory) Synced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.loading
}

func (m *memory) Trouble() (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.since, m.err
}

func (m *memory) Snapshot() view.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshot.Now = time.Now()
	return m.snapshot
}

// change changes the source. Objects that were read are somebody else's: what is
// changed in the snapshot is to be a copy.
func (m *memory) change(how func(*memory)) {
	m.mu.Lock()
	how(m)
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// end has the sessions of hosts end, or begin again, in the slot.
func (m *memory) toggle(slot int32, hosts ...int) {
	m.change(func(m *memory) {
		m.snapshot.Instances = slices.Clone(m.snapshot.Instances)
		for _, i := range hosts {
			host := m.snapshot.Instances[i].DeepCopy()
			free := slices.DeleteFunc(host.Status.Claims, func(c v1alpha1.Claim) bool { return c.Slot == slot })
			if len(free) == len(host.Status.Claims) {
				free = append(free, v1alpha1.Claim{Slot: slot, Namespace: "team-z", Name: "late", UID: "late", Attempt: 1})
			}
			host.Status.Claims = free
			m.snapshot.Instances[i] = *host
		}
	})
}

// fullFleet has so many hosts in three regions, and a session in every slot.
func fullFleet(hosts int, slots int32) view.Snapshot {
	names := []string{"ap-northeast-1", "eu-central-1", "us-east-1"}
	s := view.Snapshot{AMIs: []v1alpha1.AMI{*viewtest.AMI("stable", names...)}}
	for _, name := range names {
		s.Regions = append(s.Regions, *viewtest.Region(name))
	}
	began := time.Now().Add(-time.Hour)
	for i := range hosts {
		host := viewtest.Host(fmt.Sprintf("%s-%03d", names[i%3], i), names[i%3], "stable", slots)
		host.CreationTimestamp = metav1.NewTime(began.Add(time.Duration(i) * time.Second))
		for slot := range slots {
			m := session(fmt.Sprintf("team-%c", 'a'+slot), fmt.Sprintf("user-%04d", i*int(slots)+int(slot)), names[i%3])
			viewtest.Seat(host, slot, m)
			s.Mandelboxes = append(s.Mandelboxes, *m)
		}
		s.Instances = append(s.Instances, *host)
	}
	return s
}

// session is one that waits, and has been asked for a moment ago.
func session(namespace, name string, regions ...string) *v1alpha1.Mandelbox {
	m := viewtest.Session(namespace, name, "stable", regions...)
	m.UID, m.CreationTimestamp = types.UID(namespace+"/"+name), metav1.NewTime(time.Now().Add(-10*time.Second))
	return m
}

// busyFleet is a small fleet in which everything happens that may be shown: a
// release that rolls out, hosts in every phase, slots in every state, a queue, and
// a Region that may not launch hosts.
func busyFleet() view.Snapshot {
	west := viewtest.Region("us-west-2")
	west.Status.Conditions = []metav1.Condition{
		viewtest.Condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonUnauthorized, "not allowed: ec2:RunInstances"),
		viewtest.Condition(v1alpha1.ConditionStalled, true, v1alpha1.ReasonUnauthorized,
			"The manager's role may not call ec2:RunInstances in us-west-2; see config/aws/iam-policy.json."),
	}
	west.Status.Pending = ptr.To[int32](3)
	s := view.Snapshot{
		Regions: []v1alpha1.Region{*viewtest.Region("eu-central-1"), *viewtest.Region("us-east-1"), *west},
		AMIs: []v1alpha1.AMI{
			*viewtest.AMI("beta", "eu-central-1"), *viewtest.RollingOut(viewtest.AMI("stable", "eu-central-1", "us-east-1", "us-west-2")),
		},
	}
	began := time.Now().Add(-26 * time.Hour)
	add := func(region, channel, revision string, slots, taken int32, how func(*v1alpha1.Instance)) {
		n := len(s.Instances)
		host := viewtest.Host(fmt.Sprintf("%s-20cbafb1b7-%d-%d", region, n/4+1, n%4), region, channel, slots)
		host.Spec.Revision, host.CreationTimestamp = revision, metav1.NewTime(began.Add(time.Duration(n)*time.Hour))
		host.Status.InstanceType, host.Status.AvailabilityZone = "g4dn.12xlarge", region+"a"
		host.Status.InstanceID = fmt.Sprintf("i-0%016x", 0x5ca1ab1e+n*7919)
		if how != nil {
			how(host)
		}
		for slot := range taken {
			m := session([]string{"team-a", "team-b"}[slot%2], fmt.Sprintf("%s-%d", []string{"ada", "grace", "alan", "katherine", "edsger", "barbara", "hedy", "donald"}[slot], n), region)
			viewtest.Seat(host, slot, m)
			s.Mandelboxes = append(s.Mandelboxes, *m)
		}
		s.Instances = append(s.Instances, *host)
	}
	for _, region := range []string{"eu-central-1", "us-east-1"} {
		for i := range int32(5) {
			add(region, "stable", "old", 8, 8-i%3*i, nil)
		}
		add(region, "stable", "new", 8, 0, nil)
		add(region, "stable", "new", 0, 0, func(h *v1alpha1.Instance) {
			h.Status.Phase, h.Status.Capacity = v1alpha1.InstancePreConnection, nil
			h.Status.Conditions = []metav1.Condition{viewtest.Condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonRegistering, "waits for its ECS agent")}
		})
	}
	add("us-east-1", "stable", "old", 8, 3, func(h *v1alpha1.Instance) {
		h.Spec.Drain, h.Status.Phase = ptr.To(true), v1alpha1.InstanceDraining
		h.Status.Conditions = []metav1.Condition{viewtest.Condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonDraining, "3 sessions are left")}
	})
	add("us-east-1", "stable", "old", 8, 5, func(h *v1alpha1.Instance) {
		h.Status.Phase = v1alpha1.InstanceUnresponsive
		h.Status.Conditions = []metav1.Condition{viewtest.Condition(v1alpha1.ConditionReady, false, v1alpha1.ReasonAgentDisconnected, "Its ECS agent is silent; its sessions may be well.")}
	})
	add("eu-central-1", "beta", "new", 2, 1, nil)
	last := &s.Mandelboxes[len(s.Mandelboxes)-1]
	last.Status.Phase = v1alpha1.MandelboxAllocated
	s.Mandelboxes[3].Status.Phase = v1alpha1.MandelboxDying
	for _, name := range []string{"john", "margaret", "frances"} {
		waiting := session("team-b", name, "us-west-2")
		waiting.CreationTimestamp = metav1.NewTime(time.Now().Add(-4 * time.Minute))
		s.Mandelboxes = append(s.Mandelboxes, *waiting)
	}
	return s
}
