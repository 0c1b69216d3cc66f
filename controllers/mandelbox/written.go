// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// written remembers the newest version of each session that this manager wrote and
// that its cache may not show yet. What is decided by an older version would be
// written on that, and the API server would refuse it: under load that is a write
// in vain for every second session.
type written struct {
	mu       sync.Mutex
	versions map[types.NamespacedName]writtenVersion
}

type writtenVersion struct {
	uid     types.UID
	version string
}

// note takes in a version that the API server answered a write with.
func (w *written) note(m *v1alpha1.Mandelbox) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.versions == nil {
		w.versions = map[types.NamespacedName]writtenVersion{}
	}
	if last := w.versions[keyOf(m)]; last.uid != m.UID || atLeast(m.ResourceVersion, last.version) {
		w.versions[keyOf(m)] = writtenVersion{m.UID, m.ResourceVersion}
	}
}

// ahead says whether a newer version than this one was written here. The watch then
// brings it, and with it another reconcile.
func (w *written) ahead(m *v1alpha1.Mandelbox) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.versions[keyOf(m)]; last.uid == m.UID && !atLeast(m.ResourceVersion, last.version) {
		return true
	}
	delete(w.versions, keyOf(m))
	return false
}

// forget drops a session that is gone.
func (w *written) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.versions, key)
}

// newer says whether version a of an object is at least as new as b.
func newer(a, b client.Object) bool { return atLeast(a.GetResourceVersion(), b.GetResourceVersion()) }

// atLeast says whether one resource version of an object is another or came after
// it: those of one object can be compared as numbers.
// See https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions.
func atLeast(x, y string) bool {
	if len(x) != len(y) {
		return len(x) > len(y)
	}
	return x >= y
}
