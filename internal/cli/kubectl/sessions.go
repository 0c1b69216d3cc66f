// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

func (p *plugin) newSessionsCommand() *cobra.Command {
	var o output
	var user string
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List sessions: whose they are, what they do and where they can be reached",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.client()
			if err != nil {
				return err
			}
			namespace, err := p.scope(cmd.Context(), c, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			list, err := sessionsOf(cmd.Context(), c, namespace, user)
			if err != nil {
				return err
			}
			sessions := view.Sessions(list)
			return o.print(cmd.OutOrStdout(), sessions, func() []string { return text{time.Now(), colours(cmd)}.sessions(sessions) })
		},
	}
	o.addTo(cmd)
	cmd.Flags().StringVar(&user, "user", "", "only those of this user, as spec.userID has it")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("user", p.completed(p.users)))
	return cmd
}

// sessionsOf reads the Mandelboxes of a user, or of all if there is none.
func sessionsOf(ctx context.Context, c client.Reader, namespace, user string) ([]v1alpha1.Mandelbox, error) {
	options := []client.ListOption{client.InNamespace(namespace)}
	if user != "" {
		options = append(options, client.MatchingFields{"spec.userID": user})
	}
	var list v1alpha1.MandelboxList
	if err := c.List(ctx, &list, options...); err != nil {
		return nil, fmt.Errorf("reading Mandelboxes: %w", err)
	}
	return list.Items, nil
}

// users are those who have a session.
func (p *plugin) users(ctx context.Context, c client.Reader, _ string) ([]string, error) {
	list, err := sessionsOf(ctx, c, p.flags.namespace(), "")
	if err != nil {
		return nil, err
	}
	users := make([]string, 0, len(list))
	for i := range list {
		users = append(users, list[i].Spec.UserID)
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

func (t text) sessions(all []view.Session) []string {
	if len(all) == 0 {
		return []string{"No session."}
	}
	grid := [][]terminal.Cell{terminal.Titles("NAMESPACE", "NAME", "USER", "PHASE", "REASON", "REGION", "INSTANCE", "SLOT", "ADDRESS", "AGE")}
	for _, s := range all {
		slot := "-"
		if s.Slot != nil {
			slot = strconv.Itoa(int(*s.Slot))
		}
		grid = append(grid, []terminal.Cell{
			{Text: s.Namespace}, {Text: s.Name}, {Text: s.User}, {Text: s.Phase, Colour: sessionColour(s.Phase)}, {Text: s.Reason},
			{Text: terminal.OrDash(s.Region)}, {Text: terminal.OrDash(s.Instance)}, {Text: slot}, {Text: terminal.OrDash(s.Address)},
			{Text: t.since(s.Created)},
		})
	}
	return terminal.Table(grid, t.colours)
}

func sessionColour(phase string) string {
	switch v1alpha1.MandelboxPhase(phase) {
	case v1alpha1.MandelboxRunning:
		return terminal.Green
	case v1alpha1.MandelboxFinished:
		return terminal.Faint
	}
	return terminal.Yellow
}
