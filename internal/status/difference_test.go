// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// TestDifference holds the patch to what controller-runtime makes of the same two versions.
func TestDifference(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC))
	mandelbox := func(change func(*v1alpha1.Mandelbox)) *v1alpha1.Mandelbox {
		m := &v1alpha1.Mandelbox{
			ObjectMeta: metav1.ObjectMeta{Name: "m", Namespace: "n", ResourceVersion: "7", Finalizers: []string{"f"}},
			Spec:       v1alpha1.MandelboxSpec{UserID: "u", MaxSessionDuration: &metav1.Duration{Duration: time.Hour}},
			Status: v1alpha1.MandelboxStatus{
				Phase: v1alpha1.MandelboxAllocated, InstanceName: "host", Slot: ptr.To[int32](0), AssignedTime: &now,
				Conditions: []metav1.Condition{{Type: "Assigned", Status: "True", LastTransitionTime: now}},
			},
		}
		change(m)
		return m
	}
	same := func(*v1alpha1.Mandelbox) {}
	for name, test := range map[string]struct{ before, after client.Object }{
		"a field that comes": {mandelbox(same), mandelbox(func(m *v1alpha1.Mandelbox) { m.Status.TaskARN = "arn" })},
		"a field that goes": {mandelbox(same), mandelbox(func(m *v1alpha1.Mandelbox) {
			m.Status.InstanceName, m.Status.Slot, m.Status.AssignedTime = "", nil, nil
		})},
		"a list":             {mandelbox(same), mandelbox(func(m *v1alpha1.Mandelbox) { m.Status.Conditions[0].Status = "False" })},
		"a list that goes":   {mandelbox(same), mandelbox(func(m *v1alpha1.Mandelbox) { m.Status.Conditions = nil })},
		"a status that goes": {mandelbox(same), mandelbox(func(m *v1alpha1.Mandelbox) { m.Status = v1alpha1.MandelboxStatus{} })},
		"a first status": {
			&v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: "i", ResourceVersion: "7"}},
			&v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: "i", ResourceVersion: "7"}, Status: v1alpha1.InstanceStatus{
				Phase: v1alpha1.InstanceActive, Claims: []v1alpha1.Claim{{Name: "m", Namespace: "n", UID: "u", Attempt: 1}},
			}},
		},
	} {
		for _, lock := range []bool{false, true} {
			reference := client.MergeFrom(test.before)
			if lock {
				reference = client.MergeFromWithOptions(test.before, client.MergeFromWithOptimisticLock{})
			}
			want, got := decoded(t, reference, test.after), decoded(t, difference{test.before, lock}, test.after)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, locked: %t (-controller-runtime +ours):\n%s", name, lock, diff)
			}
		}
	}
	if _, err := (difference{mandelbox(func(m *v1alpha1.Mandelbox) { m.ResourceVersion = "" }), true}).Data(mandelbox(same)); err == nil {
		t.Error("a version that says nothing can't be held to")
	}
}

func decoded(t *testing.T, patch client.Patch, after client.Object) (content map[string]any) {
	t.Helper()
	raw, err := patch.Data(after)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &content); err != nil {
		t.Fatal(err)
	}
	return content
}
