// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func TestRunningSessionStaysAsItIsWhileItsTaskIsNotListed(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	host := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: "host"}, Spec: v1alpha1.InstanceSpec{RegionName: "here"}}
	m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Name: "s", Generation: 1}}
	setAssigned(m, host, v1alpha1.Claim{Slot: 1, Attempt: 1}, metav1.NewTime(now))
	running := &scope{mandelbox: m, instance: host, now: now, task: &cloud.Task{
		ARN: "arn", LastStatus: cloud.TaskRunning, DesiredStatus: cloud.TaskRunning, StartedAt: now,
		Ports: []cloud.Port{{ContainerPort: 1, HostPort: 32768, Protocol: "tcp"}},
	}}
	setStatus(running, nil)
	if m.Status.Phase != v1alpha1.MandelboxRunning || !ptr.Equal(m.Status.ObservedGeneration, ptr.To[int64](1)) {
		t.Fatalf("the session does not run: %+v", m.Status)
	}
	before := m.DeepCopy()
	setStatus(&scope{mandelbox: m, instance: host, now: now.Add(time.Minute)}, nil)
	if diff := cmp.Diff(before, m); diff != "" {
		t.Errorf("with its task not listed yet it changes:\n%s", diff)
	}
}
