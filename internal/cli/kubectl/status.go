// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

const (
	// shownNames is how many objects of one trouble are named.
	shownNames = 3
	// shownWaiting is how many waiting sessions are shown.
	shownWaiting = 10
)

func (p *plugin) newStatusCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the fleet in one screen: what is wrong, regions, channels, rollouts, the queue",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			snapshot, err := p.read(cmd)
			if err != nil {
				return err
			}
			fleet := view.Of(snapshot)
			return o.print(cmd.OutOrStdout(), fleet, func() []string { return text{snapshot.Now, colours(cmd)}.status(fleet) })
		},
	}
	o.addTo(cmd)
	return cmd
}

// text writes a fleet for people, at a moment.
type text struct {
	now     time.Time
	colours bool
}

func (t text) status(f *view.Fleet) []string {
	lines := []string{summary(f.Totals), ""}
	lines = append(lines, t.troubles(f.Troubles)...)
	lines = append(append(lines, ""), t.regions(f.Regions)...)
	lines = append(append(lines, ""), t.channels(f.Channels)...)
	if rollouts := t.rollouts(f.Channels); len(rollouts) > 0 {
		lines = append(append(lines, ""), rollouts...)
	}
	if len(f.Queue) > 0 {
		lines = append(append(lines, ""), t.queue(f.Queue)...)
	}
	return lines
}

func summary(t view.Totals) string {
	return fmt.Sprintf("%d of %s active, %d of %s taken, %d free; %s running, %d waiting",
		t.ActiveHosts, count(t.Hosts, "host"), t.Claimed, count(t.Slots, "slot"), t.Free, count(t.Running, "session"), t.Waiting)
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (t text) troubles(all []view.Trouble) []string {
	if len(all) == 0 {
		return []string{t.in(terminal.Green, "✓ Nothing is wrong.")}
	}
	lines := []string{t.in(terminal.Bold, "WHAT IS WRONG")}
	for _, trouble := range all {
		mark, colour := "!", terminal.Yellow
		if trouble.Severity == view.SeverityBroken {
			mark, colour = "✗", terminal.Red
		}
		lines = append(lines,
			fmt.Sprintf("%s %s  %s", t.in(colour, mark+" "+trouble.Reason), named(trouble), t.in(terminal.Faint, "for "+t.since(trouble.Since))),
			"    "+trouble.Message,
			t.in(terminal.Faint, "    → "+trouble.Next()))
	}
	return lines
}

// named names the objects of a trouble, as far as there is room.
func named(trouble view.Trouble) string {
	names := strings.Join(trouble.Names[:min(shownNames, len(trouble.Names))], ", ")
	if more := len(trouble.Names) - shownNames; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return trouble.Kind + " " + names
}

func (t text) regions(all []view.Region) []string {
	grid := [][]terminal.Cell{terminal.Titles("REGION", "STATE", "FREE", "TAKEN", "SLOTS", "WAITING", "HOSTS", "ACTIVE", "MAX", "REASON")}
	for _, r := range all {
		reason := r.Reason
		if !r.Enabled && !r.Missing {
			reason = "Disabled"
		}
		grid = append(grid, []terminal.Cell{
			{Text: r.Name}, t.state(r.State), number(r.Totals.Free), number(r.Totals.Claimed), number(r.Totals.Slots),
			number(r.Totals.Waiting), number(r.Totals.Hosts), number(r.Totals.ActiveHosts), number(r.MaxHosts), {Text: terminal.OrDash(reason)},
		})
	}
	return terminal.Table(grid, t.colours)
}

func (t text) channels(all []view.Channel) []string {
	grid := [][]terminal.Cell{terminal.Titles("CHANNEL", "STATE", "ACTIVE", "WANTED", "ROLLOUT", "PROGRESS")}
	for _, c := range all {
		grid = append(grid, []terminal.Cell{
			{Text: c.Name}, t.state(c.State), {Text: terminal.OrDash(c.CommitHash)}, {Text: c.Wanted},
			{Text: cmp.Or(c.Reason, "-")}, {Text: terminal.OrDash(c.Progress)},
		})
	}
	return terminal.Table(grid, t.colours)
}

// rollouts shows, region by region, the channels whose release isn't out yet.
func (t text) rollouts(all []view.Channel) []string {
	grid := [][]terminal.Cell{terminal.Titles("ROLLOUT", "REGION", "SERVES", "WARM", "OLD HOSTS", "SINCE", "")}
	for _, c := range all {
		if c.RolledOut {
			continue
		}
		for _, step := range c.Steps {
			serves := "old"
			if step.Swapped {
				serves = "new"
			}
			since := "-"
			if c.Since != nil {
				since = t.since(*c.Since)
			}
			grid = append(grid, []terminal.Cell{
				{Text: c.Name + " " + c.Wanted}, {Text: step.Region}, {Text: serves}, {Text: fmt.Sprintf("%d/%d", step.Warm, step.Hosts)},
				number(step.Old), {Text: since}, {Text: step.Message},
			})
		}
	}
	if len(grid) == 1 {
		return nil
	}
	return terminal.Table(grid, t.colours)
}

func (t text) queue(all []view.Waiting) []string {
	grid := [][]terminal.Cell{terminal.Titles("WAITING", "USER", "WANTS", "REGIONS", "FOR", "REASON")}
	for _, w := range all[:min(shownWaiting, len(all))] {
		grid = append(grid, []terminal.Cell{
			{Text: w.Namespace + "/" + w.Name}, {Text: w.User}, {Text: w.Wants}, {Text: strings.Join(w.Regions, ",")},
			{Text: t.since(w.Since)}, {Text: w.Reason, Colour: terminal.Yellow},
		})
	}
	lines := terminal.Table(grid, t.colours)
	if more := len(all) - shownWaiting; more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more: kubectl mandelbox sessions", more))
	}
	return lines
}

func number(n int) terminal.Cell { return terminal.Cell{Text: strconv.Itoa(n)} }

func (t text) state(s view.State) terminal.Cell {
	colour := terminal.Yellow
	switch s {
	case view.StateReady:
		colour = terminal.Green
	case view.StateStalled:
		colour = terminal.Red
	}
	return terminal.Cell{Text: string(s), Colour: colour}
}

// in is a piece of text in a colour, where there are colours.
func (t text) in(colour, s string) string {
	return terminal.Cell{Text: s, Colour: colour}.String(t.colours)
}

// since is how long ago something was, as kubectl writes it.
func (t text) since(at time.Time) string { return duration.HumanDuration(t.now.Sub(at)) }
