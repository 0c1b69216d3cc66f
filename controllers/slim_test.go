// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"encoding/json"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// decoded is an object as it comes from the API server: all its strings are its own.
func decoded[T any](t *testing.T, from *T) *T {
	t.Helper()
	document, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	object := new(T)
	if err := json.Unmarshal(document, object); err != nil {
		t.Fatal(err)
	}
	return object
}

func slimmed[T client.Object](t *testing.T, object T) T {
	t.Helper()
	small, err := slim(object)
	if err != nil {
		t.Fatal(err)
	}
	return small.(T)
}

func meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "tenant", Name: "one", Finalizers: []string{"here/held"}, Labels: map[string]string{"a": "b"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Owner", APIVersion: "v1", Name: "its", UID: "uid"}},
	}
}

func conditions() []metav1.Condition {
	at := metav1.NewTime(time.Unix(1_800_000_000, 0))
	return []metav1.Condition{
		{Type: v1alpha1.ConditionAssigned, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAssigned, Message: "slot 1 of Instance a", LastTransitionTime: at},
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRunning, Message: "runs", LastTransitionTime: at},
	}
}

func TestCachedSessionsShareWhatTheyHaveInCommon(t *testing.T) {
	session := &v1alpha1.Mandelbox{
		ObjectMeta: meta(),
		Spec:       v1alpha1.MandelboxSpec{UserID: "u", Regions: []string{"east"}, ClientCommitHash: "hash", AMIName: "stable"},
		Status: v1alpha1.MandelboxStatus{
			Phase: v1alpha1.MandelboxRunning, InstanceName: "a", Region: "east", IP: "10.0.0.1", Slot: ptr.To[int32](1), Conditions: conditions(),
			Ports: []v1alpha1.PortBinding{{Name: "http", Protocol: "TCP"}},
		},
	}
	one, other := slimmed(t, decoded(t, session)), slimmed(t, decoded(t, session))
	if diff := cmp.Diff(decoded(t, session), one); diff != "" {
		t.Errorf("a cached session differs (-want +got):\n%s", diff)
	}
	for name, of := range map[string]func(*v1alpha1.Mandelbox) string{
		"namespace":   func(m *v1alpha1.Mandelbox) string { return m.Namespace },
		"finalizer":   func(m *v1alpha1.Mandelbox) string { return m.Finalizers[0] },
		"commit hash": func(m *v1alpha1.Mandelbox) string { return m.Spec.ClientCommitHash },
		"region":      func(m *v1alpha1.Mandelbox) string { return m.Spec.Regions[0] },
		"phase":       func(m *v1alpha1.Mandelbox) string { return string(m.Status.Phase) },
		"reason":      func(m *v1alpha1.Mandelbox) string { return m.Status.Conditions[0].Reason },
		"message":     func(m *v1alpha1.Mandelbox) string { return m.Status.Conditions[1].Message },
	} {
		if unsafe.StringData(of(one)) != unsafe.StringData(of(other)) {
			t.Errorf("each session has its own copy of the %s %q", name, of(one))
		}
	}
}

func TestCachedHostsShareWhatTheyHaveInCommon(t *testing.T) {
	host := &v1alpha1.Instance{
		ObjectMeta: meta(),
		Spec:       v1alpha1.InstanceSpec{RegionName: "east", AMIName: "stable", Revision: "one", ImageID: "ami", InstanceTypes: []string{"g4dn.xlarge"}},
		Status: v1alpha1.InstanceStatus{
			Phase: v1alpha1.InstanceActive, InstanceType: "g4dn.xlarge", SubnetID: "subnet", Conditions: conditions(),
			Launch: &v1alpha1.Launch{Token: "token", UserDataHash: "data"}, Claims: []v1alpha1.Claim{{Namespace: "tenant", Name: "one"}},
		},
	}
	one, other := slimmed(t, decoded(t, host)), slimmed(t, decoded(t, host))
	if diff := cmp.Diff(decoded(t, host), one); diff != "" {
		t.Errorf("a cached host differs (-want +got):\n%s", diff)
	}
	for name, of := range map[string]func(*v1alpha1.Instance) string{
		"region":    func(i *v1alpha1.Instance) string { return i.Spec.RegionName },
		"type":      func(i *v1alpha1.Instance) string { return i.Status.InstanceType },
		"token":     func(i *v1alpha1.Instance) string { return i.Status.Launch.Token },
		"namespace": func(i *v1alpha1.Instance) string { return i.Status.Claims[0].Namespace },
		"owner":     func(i *v1alpha1.Instance) string { return i.OwnerReferences[0].Name },
	} {
		if unsafe.StringData(of(one)) != unsafe.StringData(of(other)) {
			t.Errorf("each host has its own copy of the %s %q", name, of(one))
		}
	}
}

func TestWhatIsCachedHasNoManagedFields(t *testing.T) {
	managed := &v1alpha1.AMI{ObjectMeta: metav1.ObjectMeta{Name: "stable", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "somebody"}}}}
	if slimmed(t, managed).ManagedFields != nil {
		t.Error("the managed fields are kept")
	}
	gone := cache.DeletedFinalStateUnknown{Key: "one"}
	if got, err := slim(gone); err != nil || got != any(gone) {
		t.Errorf("what is no object becomes %v, %v", got, err)
	}
}
