// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// lookPause is the time between two looks at a host that drains.
const lookPause = time.Second

func (p *plugin) newDrainCommand() *cobra.Command {
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain INSTANCE...",
		Short: "Let no new session onto hosts; each leaves when its last session has ended",
		Long: `Let no new session onto hosts. Sessions that run go on until they end; then the
host is terminated. Nothing is taken away from anybody.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: p.instances(),
		RunE: func(cmd *cobra.Command, names []string) error {
			c, err := p.client()
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := setDrain(cmd.Context(), c, name, true, cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			if !wait {
				return nil
			}
			for _, name := range names {
				if err := awaitDrained(cmd.Context(), c, name, timeout, cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until no session is left on them")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait for each; 0 waits for as long as it takes")
	return cmd
}

func (p *plugin) newUndrainCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "undrain INSTANCE...",
		Short:             "Let sessions onto hosts again, unless they are terminating",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: p.instances(),
		RunE: func(cmd *cobra.Command, names []string) error {
			c, err := p.client()
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := setDrain(cmd.Context(), c, name, false, cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// setDrain sets spec.drain of a host, and says what comes of it.
func setDrain(ctx context.Context, c client.Client, name string, drain bool, out io.Writer) error {
	var host v1alpha1.Instance
	if err := c.Get(ctx, types.NamespacedName{Name: name}, &host); err != nil {
		return fmt.Errorf("reading Instance %s: %w", name, err)
	}
	was := host.Draining()
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"drain":%t}}`, drain))
	if err := c.Patch(ctx, &host, patch, client.FieldOwner(fieldManager)); err != nil {
		return fmt.Errorf("setting spec.drain of Instance %s: %w", name, err)
	}
	_, err := fmt.Fprintf(out, "instance.cloud.mandelbox.dev/%s %s\n", name, drainOutcome(&host, was))
	return err
}

func drainOutcome(host *v1alpha1.Instance, was bool) string {
	left := count(len(host.Status.Claims), "session")
	switch {
	case host.Draining() && was:
		return fmt.Sprintf("was draining already: %s left", left)
	case host.Draining():
		return fmt.Sprintf("draining: %s left", left)
	case was:
		return "takes sessions again, once it is Active"
	}
	return "was not draining"
}

// awaitDrained waits until no session is left on a host, or the host is gone.
func awaitDrained(ctx context.Context, c client.Reader, name string, timeout time.Duration, out io.Writer) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	left := -1
	err := wait.PollUntilContextCancel(ctx, lookPause, true, func(ctx context.Context) (bool, error) {
		var host v1alpha1.Instance
		err := c.Get(ctx, types.NamespacedName{Name: name}, &host)
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if !host.Draining() {
			return false, fmt.Errorf("somebody has taken the drain back")
		}
		if now := len(host.Status.Claims); now != left {
			left = now
			if _, err := fmt.Fprintf(out, "%s: %s left\n", name, count(left, "session")); err != nil {
				return false, err
			}
		}
		return left == 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for Instance %s to drain: %w", name, err)
	}
	return nil
}
