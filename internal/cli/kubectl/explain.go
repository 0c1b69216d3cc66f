// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

func (p *plugin) newExplainCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "explain MANDELBOX",
		Short: "Say why a session waits: every host, and what speaks against it",
		Long: `Say why a session waits: what the operator says of it, what its own placement
decides of the objects as they are now, and what it has against each host. The
session is named as NAME, in the namespace of -n or of your kubeconfig, or as
NAMESPACE/NAME.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.mandelboxes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			namespace, name, err := p.named(args[0])
			if err != nil {
				return err
			}
			// The queue is that of all namespaces, as far as one may see it.
			p.flags.overrides.Context.Namespace = ""
			snapshot, err := p.read(cmd)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(snapshot.Mandelboxes, func(m v1alpha1.Mandelbox) bool { return m.Namespace == namespace && m.Name == name })
			if at < 0 {
				return fmt.Errorf("there is no Mandelbox %s in namespace %s", name, namespace)
			}
			e := view.Explain(snapshot, &snapshot.Mandelboxes[at])
			return o.print(cmd.OutOrStdout(), e, func() []string { return text{snapshot.Now, colours(cmd)}.explanation(e) })
		},
	}
	o.addTo(cmd)
	return cmd
}

// named takes NAME or NAMESPACE/NAME apart.
func (p *plugin) named(arg string) (namespace, name string, err error) {
	if namespace, name, both := strings.Cut(arg, "/"); both {
		return namespace, name, nil
	}
	namespace, err = p.namespace()
	return namespace, arg, err
}

func (t text) explanation(e *view.Explanation) []string {
	lines := []string{fmt.Sprintf("%s  %s for %s  user %s, who holds %s beside it  wants %s",
		t.in(terminal.Bold, e.Namespace+"/"+e.Name), e.Phase, t.since(e.Since), e.User, count(e.Holds, "session"), e.Wants)}
	lines = append(lines, t.verdict("The operator says", &e.Told))
	if e.Found == nil {
		return append(lines, "It does not wait for a slot.")
	}
	lines = append(lines, t.verdict("By the objects now", e.Found), fmt.Sprintf("Place %d of %d in the queue.", e.Place, e.Queued), "")

	grid := [][]terminal.Cell{terminal.Titles("REGION", "WHAT IT HAS")}
	for _, r := range e.Regions {
		name := r.Name
		if r.Fallback {
			name += " (fallback)"
		}
		grid = append(grid, []terminal.Cell{{Text: name}, {Text: r.Says}})
	}
	lines = append(append(lines, terminal.Table(grid, t.colours)...), "")
	if len(e.Hosts) == 0 {
		return append(lines, "There is no host.")
	}
	grid = [][]terminal.Cell{terminal.Titles("HOST", "REGION", "AGAINST IT")}
	for _, h := range e.Hosts {
		against := terminal.Cell{Text: h.Against}
		if h.Objection == "" {
			against.Colour = terminal.Green
		}
		grid = append(grid, []terminal.Cell{{Text: h.Name}, {Text: h.Region}, against})
	}
	return append(lines, terminal.Table(grid, t.colours)...)
}

func (t text) verdict(who string, v *view.Verdict) string {
	return fmt.Sprintf("%-20s%s: %s", who, t.in(terminal.Yellow, v.Reason), v.Message)
}
