// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
)

// endings are how long the end of a soak may take, in its parts.
type endings struct {
	// silence is how long nothing may be written for a fleet to count as idle, and
	// quiet by when it must be.
	silence, quiet time.Duration
	// gone is by when everything must be gone that was deleted.
	gone time.Duration
}

var defaultEndings = endings{silence: 6 * time.Second, quiet: 2 * time.Minute, gone: 4 * time.Minute}

// awaitSilence waits until nothing was written for a while. A fleet in which
// nothing happens and that is still written to after so long isn't idle, which
// breaks a promise.
func awaitSilence(ctx context.Context, f *feed, c *checker.Checker, e endings) error {
	err := wait.PollUntilContextTimeout(ctx, lookInterval, e.quiet, false, func(context.Context) (bool, error) {
		return f.silence() >= e.silence, f.failure()
	})
	if err != nil && wait.Interrupted(err) && ctx.Err() == nil {
		c.Report(time.Now(), checker.Truth, checker.RuleIdle, "the fleet",
			fmt.Sprintf("nothing has happened for %s, and there were never %s without a write", e.quiet, e.silence))
		return nil
	}
	return err
}

// unplaceable is a session that no region takes: an idle fleet has one of them.
func (w *world) unplaceable(ctx context.Context) error {
	_, err := w.createSession(ctx, Session{
		Namespace: tenants[0], Name: "waits-for-nothing", User: "nobody", Regions: []string{"mars-north-1"}, Channel: channelNames[0],
	})
	return err
}

// deleteAll deletes everything that the soak made, as a person would, and waits
// until it is gone.
func (w *world) deleteAll(ctx context.Context, c *checker.Checker, e endings) error {
	c.Ending()
	for _, tenant := range tenants {
		if err := w.api.DeleteAllOf(ctx, &v1alpha1.Mandelbox{}, client.InNamespace(tenant)); err != nil {
			return fmt.Errorf("deleting the Mandelboxes of %s: %w", tenant, err)
		}
	}
	err := errors.Join(w.api.DeleteAllOf(ctx, &v1alpha1.AMI{}), w.api.DeleteAllOf(ctx, &v1alpha1.Region{}))
	if err != nil {
		return fmt.Errorf("deleting channels and regions: %w", err)
	}
	err = wait.PollUntilContextTimeout(ctx, 5*lookInterval, e.gone, false, func(context.Context) (bool, error) {
		return len(c.LeftBehind()) == 0, nil
	})
	if err != nil && !wait.Interrupted(err) {
		return err
	}
	if ctx.Err() == nil {
		c.Gone(time.Now())
	}
	return nil
}
