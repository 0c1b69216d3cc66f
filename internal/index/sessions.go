// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"fmt"
	"hash/fnv"
	"strconv"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// drawers is how many there are. With 16,000 sessions each has 16.
const drawers = 1024

// Drawer is where an index files what nearly every session has another value of. An
// index keeps two sets for each value, one of a namespace and one of all, and sets of
// one element each took more memory than the sessions' names in them; those of a drawer
// are shared, and whoever looks into one picks out what it looks for.
func Drawer(value string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(value)) // It never fails.
	return strconv.FormatUint(uint64(sum.Sum32()%drawers), 36)
}

// SessionOf returns the Mandelbox with that uid, which must not be changed, or nil if
// the cache has none.
func SessionOf(ctx context.Context, cache client.Reader, uid string) (*v1alpha1.Mandelbox, error) {
	var list v1alpha1.MandelboxList
	if err := cache.List(ctx, &list, client.MatchingFields{MandelboxByUID: Drawer(uid)}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("looking for the Mandelbox with the uid %s: %w", uid, err)
	}
	for i := range list.Items {
		if string(list.Items[i].UID) == uid {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// UnfinishedOf returns the Mandelboxes of a user in a namespace that are not finished.
// They must not be changed.
func UnfinishedOf(ctx context.Context, cache client.Reader, namespace, user string) ([]*v1alpha1.Mandelbox, error) {
	var list v1alpha1.MandelboxList
	err := cache.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{MandelboxByUser: Drawer(user)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the Mandelboxes of user %q in %s: %w", user, namespace, err)
	}
	var theirs []*v1alpha1.Mandelbox
	for i := range list.Items {
		if list.Items[i].Spec.UserID == user {
			theirs = append(theirs, &list.Items[i])
		}
	}
	return theirs, nil
}
