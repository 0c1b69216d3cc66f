// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

func TestTroubles(t *testing.T) {
	suspended := stable("east")
	suspended.Status.Conditions[1] = no(v1alpha1.ConditionRolledOut, v1alpha1.ReasonSuspended, "held")
	failedRollout := stable("east")
	failedRollout.Status.Conditions = append(failedRollout.Status.Conditions, yes(v1alpha1.ConditionStalled, v1alpha1.ReasonBufferTimeout, "not ready"))
	unseen := host("unseen", "east", 0)
	unseen.Status = v1alpha1.InstanceStatus{ObservedGeneration: ptr.To[int64](-1)}
	justMade := *unseen.DeepCopy()
	justMade.CreationTimestamp = ago(time.Second)
	impaired := host("impaired", "east", 1)
	impaired.Status.Conditions = append(impaired.Status.Conditions, no(v1alpha1.ConditionHealthy, v1alpha1.ReasonImpaired, "fails"))
	refused := func(name string) v1alpha1.Instance {
		return in(v1alpha1.InstancePreConnection, host(name, "east", 0), no(v1alpha1.ConditionReady, v1alpha1.ReasonInsufficientCapacity, "none to give"))
	}
	stuck := on("h", 0, v1alpha1.MandelboxDying, "stuck")
	stuck.DeletionTimestamp = ptr.To(ago(10 * time.Minute))
	east := []v1alpha1.Region{region("east")}
	for name, tc := range map[string]struct {
		snapshot Snapshot
		want     []string
	}{
		"none when all is well": {
			snapshot: Snapshot{Regions: east, AMIs: []v1alpha1.AMI{stable("east")}, Instances: []v1alpha1.Instance{
				host("a", "east", 4), in(v1alpha1.InstancePreConnection, host("b", "east", 0), no(v1alpha1.ConditionReady, v1alpha1.ReasonRegistering, "")), justMade,
			}, Mandelboxes: mandelboxes(on("a", 0, v1alpha1.MandelboxRunning, "ada"), waiting("new", time.Second, "east"), failed("done", v1alpha1.ReasonCrashed, 2*time.Hour))},
		},
		"regions: stalled, at their limit, held up; one that is only scaling up is well": {
			snapshot: Snapshot{Regions: []v1alpha1.Region{
				region("a", no(v1alpha1.ConditionReady, v1alpha1.ReasonScalingUp, "hosts are on their way")),
				region("b", yes(v1alpha1.ConditionReady, v1alpha1.ReasonMaxInstancesReached, "2 more")),
				region("c", no(v1alpha1.ConditionReady, v1alpha1.ReasonThrottled, "slower")),
				region("d", yes(v1alpha1.ConditionStalled, v1alpha1.ReasonUnauthorized, "may not")),
			}},
			want: []string{"broken Region d Unauthorized", "warning Region b MaxInstancesReached", "warning Region c Throttled"},
		},
		"a region that only hosts know of": {
			snapshot: Snapshot{Instances: []v1alpha1.Instance{host("a", "east", 1), host("b", "east", 1)}},
			want:     []string{"broken Region east RegionNotFound"},
		},
		"rollouts: held and failed": {
			snapshot: Snapshot{Regions: east, AMIs: []v1alpha1.AMI{suspended, failedRollout}},
			want:     []string{"broken AMI stable BufferTimeout", "warning AMI stable Suspended"},
		},
		"hosts, together by reason, the broken first": {
			snapshot: Snapshot{Regions: east, Instances: []v1alpha1.Instance{
				refused("c"), refused("b"), impaired,
				in(v1alpha1.InstanceUnresponsive, host("d", "east", 1), yes(v1alpha1.ConditionStalled, v1alpha1.ReasonAgentDisconnected, "silent")),
			}},
			want: []string{"broken Instance d AgentDisconnected", "warning Instance impaired Impaired", "warning Instance b,c InsufficientCapacity"},
		},
		"sessions that wait long, that ended badly of late, and that do not stop": {
			snapshot: Snapshot{Regions: east, Mandelboxes: mandelboxes(
				waiting("late", time.Minute, "east"), waiting("early", 2*time.Minute, "east"),
				failed("lost", v1alpha1.ReasonHostLost, time.Minute), stuck,
			)},
			want: []string{"warning Mandelbox team/stuck Stopping", "warning Mandelbox team/early,team/late NoInstanceAvailable", "warning Mandelbox team/lost HostLost"},
		},
		"objects that nobody looks at": {
			snapshot: Snapshot{Regions: east, Instances: []v1alpha1.Instance{unseen, host("fine", "east", 1)}},
			want:     []string{"broken Instance unseen NotSeen"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.snapshot.Now = now
			var got []string
			for _, trouble := range Of(tc.snapshot).Troubles {
				got = append(got, fmt.Sprintf("%s %s %s %s", trouble.Severity, trouble.Kind, strings.Join(trouble.Names, ","), trouble.Reason))
				if trouble.Message == "" || trouble.Since.IsZero() {
					t.Errorf("%s says nothing, or not since when", got[len(got)-1])
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("troubles (-want +got):\n%s", diff)
			}
		})
	}
}
