// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAListingIsPaced holds that pages are asked for at a rate, whatever each takes. The
// sleeps are how long pages take, by the bubble's clock: no time passes in them, and what
// passes is exact. See https://pkg.go.dev/testing/synctest.
func TestAListingIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var pages pager
		for range 4 {
			if err := pages.next(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(listPause / 5)
		}
		if took := time.Since(began) - listPause/5; took != 3*listPause {
			t.Errorf("the fourth page was asked for after %s, want %s", took, 3*listPause)
		}
		time.Sleep(2 * listPause)
		late := time.Now()
		if err := pages.next(t.Context()); err != nil || !time.Now().Equal(late) {
			t.Errorf("a page after one that took longer than the pause waits %s: %v", time.Since(late), err)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := pages.next(stopped); !errors.Is(err, context.Canceled) {
			t.Errorf("a listing that is stopped goes on: %v", err)
		}
	})
}
