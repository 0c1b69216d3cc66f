// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package index_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/index"
)

// indexer has a fake client have the indexes.
type indexer struct{ *fake.ClientBuilder }

func (i indexer) IndexField(_ context.Context, of client.Object, field string, value client.IndexerFunc) error {
	i.WithIndex(of, field, value)
	return nil
}

// sameDrawer returns another value that is filed where the first is.
func sameDrawer(value string, another func(n int) string) string {
	for n := 0; ; n++ {
		if other := another(n); other != value && index.Drawer(other) == index.Drawer(value) {
			return other
		}
	}
}

func TestSessions(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	if err := index.Register(t.Context(), indexer{builder}); err != nil {
		t.Fatal(err)
	}
	session := func(namespace, name, user, uid string, phase v1alpha1.MandelboxPhase) *v1alpha1.Mandelbox {
		return &v1alpha1.Mandelbox{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)},
			Spec:       v1alpha1.MandelboxSpec{UserID: user}, Status: v1alpha1.MandelboxStatus{Phase: phase},
		}
	}
	uid := uuid.NewString()
	neighbour := sameDrawer(uid, func(int) string { return uuid.NewString() })
	grace, ada := "grace", sameDrawer("grace", func(n int) string { return fmt.Sprint("ada", n) })
	cache := builder.WithObjects(
		session("a", "graces", grace, uid, v1alpha1.MandelboxRunning), session("a", "adas", ada, neighbour, v1alpha1.MandelboxRunning),
		session("a", "over", grace, uuid.NewString(), v1alpha1.MandelboxFinished), session("b", "elsewhere", grace, uuid.NewString(), v1alpha1.MandelboxRunning),
	).Build()

	for sought, want := range map[string]string{uid: "graces", neighbour: "adas", sameDrawer(uid, func(int) string { return uuid.NewString() }): ""} {
		found, err := index.SessionOf(t.Context(), cache, sought)
		if err != nil {
			t.Fatal(err)
		}
		if name := nameOf(found); name != want {
			t.Errorf("the session with the uid %s is %q, want %q", sought, name, want)
		}
	}
	for user, want := range map[string]string{grace: "graces", ada: "adas"} {
		found, err := index.UnfinishedOf(t.Context(), cache, "a", user)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Name != want {
			t.Errorf("the unfinished sessions of %s in a are %v, want %s alone", user, found, want)
		}
	}
}

func nameOf(m *v1alpha1.Mandelbox) string {
	if m == nil {
		return ""
	}
	return m.Name
}
