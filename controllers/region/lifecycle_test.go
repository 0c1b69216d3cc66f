// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package region

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAfterDeletion holds that a listing of the second in which a Region was deleted
// says nothing of what was launched just before.
func TestAfterDeletion(t *testing.T) {
	deletion := time.Date(2026, 11, 25, 12, 0, 0, int(900*time.Millisecond), time.UTC)
	written := metav1.NewTime(deletion).Rfc3339Copy().Time
	for name, test := range map[string]struct {
		listed time.Duration
		want   bool
	}{
		"before it, in the same second": {listed: -600 * time.Millisecond},
		"at it":                         {},
		"after it, in the next second":  {listed: 200 * time.Millisecond, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := after(deletion.Add(test.listed), written); got != test.want {
				t.Errorf("after is %t, want %t", got, test.want)
			}
		})
	}
}
