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

func TestAListingRestsBetweenPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		for page := range 4 {
			if err := rest(t.Context(), page == 0); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 3*listPause {
			t.Errorf("four pages took %s beside themselves, want %s", took, 3*listPause)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := rest(stopped, false); !errors.Is(err, context.Canceled) {
			t.Errorf("a listing that is stopped goes on: %v", err)
		}
	})
}
