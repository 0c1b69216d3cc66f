// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
	"github.com/mandelbox/mandelbox-operator/internal/follow"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

const (
	// redrawPause is the least time between two drawings of a tree that changes.
	redrawPause = 200 * time.Millisecond
	// clearScreen puts the cursor into the first corner and erases what is below it.
	// See https://invisible-island.net/xterm/ctlseqs/ctlseqs.html.
	clearScreen = "\x1b[H\x1b[J"
)

func (p *plugin) newTreeCommand() *cobra.Command {
	var o output
	var watch bool
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Show Region → channel → Instance → Mandelbox; -w follows the changes",
		Long: `Show every Region with its channels, their hosts and the sessions in their slots.
A slot is ▓ running, ▒ starting or ending, ░ free, or · closed: free on a host that
takes no session.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				if o != "" {
					return errors.New("--watch shows text alone; leave out one of --watch and --output")
				}
				return p.watchTree(cmd)
			}
			snapshot, err := p.read(cmd)
			if err != nil {
				return err
			}
			fleet := view.Of(snapshot)
			return o.print(cmd.OutOrStdout(), fleet.Regions, func() []string { return text{snapshot.Now, colours(cmd)}.tree(fleet) })
		},
	}
	o.addTo(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show the changes")
	return cmd
}

// watchTree draws the tree anew with every change until the context ends.
func (p *plugin) watchTree(cmd *cobra.Command) error {
	ctx := cmd.Context()
	c, err := p.client()
	if err != nil {
		return err
	}
	namespace, err := p.scope(ctx, c, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	follower := follow.Start(ctx, c, namespace)
	last := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-follower.Changed():
		}
		if !follower.Synced() {
			if _, err := follower.Trouble(); err != nil {
				return err
			}
			continue
		}
		snapshot := follower.Snapshot()
		lines := text{snapshot.Now, colours(cmd)}.tree(view.Of(snapshot))
		if since, err := follower.Trouble(); err != nil {
			lines = append(lines, fmt.Sprintf("! Behind since %s: %v", since.Format(time.TimeOnly), err))
		}
		if drawn := strings.Join(lines, "\n"); drawn != last {
			last = drawn
			if err := draw(cmd.OutOrStdout(), lines); err != nil {
				return err
			}
		}
		pause(ctx, redrawPause)
	}
}

// draw fills a terminal with lines; anywhere else it adds them, and an empty one.
func draw(out io.Writer, lines []string) error {
	file := terminal.Of(out)
	if file == nil {
		return printLines(out, append(lines, ""))
	}
	width, height := terminal.Size(file)
	if _, err := io.WriteString(out, clearScreen); err != nil {
		return err
	}
	return printLines(out, terminal.Fit(lines, width, height))
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// tree draws the fleet.
func (t text) tree(f *view.Fleet) []string {
	var lines []string
	for _, r := range f.Regions {
		head := fmt.Sprintf("%s  %s  %s", t.in(terminal.Bold, r.Name), t.state(r.State).String(t.colours), regionTotals(r))
		if r.State != view.StateReady {
			head += "  " + terminal.OrDash(r.Reason)
		}
		lines = append(lines, head)
		for i, c := range r.Channels {
			lines = append(lines, branch(i, len(r.Channels), t.channelTree(c))...)
		}
	}
	if len(lines) == 0 {
		return []string{"There is no Region yet."}
	}
	return lines
}

func regionTotals(r view.Region) string {
	if r.Missing {
		return "there is no Region of this name"
	}
	disabled := ""
	if !r.Enabled {
		disabled = ", disabled"
	}
	return fmt.Sprintf("%d of %s taken, %d waiting%s", r.Totals.Claimed, count(r.Totals.Slots, "slot"), r.Totals.Waiting, disabled)
}

func (t text) channelTree(c view.RegionChannel) []string {
	lines := []string{fmt.Sprintf("%s  %s", c.Name, terminal.OrDash(c.CommitHash))}
	for i, h := range c.Hosts {
		lines = append(lines, branch(i, len(c.Hosts), t.hostTree(h))...)
	}
	return lines
}

func (t text) hostTree(h view.Host) []string {
	parts := []string{h.Name, t.phase(h)}
	if h.Type != "" {
		parts = append(parts, h.Type)
	}
	parts = append(parts, t.slots(h.Slots))
	if h.Release != view.ReleaseActive {
		parts = append(parts, "release "+string(h.Release))
	}
	if h.State != view.StateReady && h.Reason != h.Phase {
		parts = append(parts, h.Reason)
	}
	lines := []string{strings.Join(parts, "  ")}
	var taken []view.Slot
	for _, s := range h.Slots {
		if s.Session != "" {
			taken = append(taken, s)
		}
	}
	for i, s := range taken {
		line := fmt.Sprintf("slot %d  %s  %s", s.Number, s.Session, s.State)
		if s.Since != nil {
			line += " for " + t.since(*s.Since)
		}
		lines = append(lines, branch(i, len(taken), []string{line})...)
	}
	return lines
}

// branch hangs the i-th of n subtrees below what is above it.
func branch(i, n int, lines []string) []string {
	first, rest := "├─ ", "│  "
	if i == n-1 {
		first, rest = "└─ ", "   "
	}
	hung := make([]string, 0, len(lines))
	for j, line := range lines {
		if j == 0 {
			hung = append(hung, first+line)
		} else {
			hung = append(hung, rest+line)
		}
	}
	return hung
}

func (t text) phase(h view.Host) string {
	switch {
	case h.State == view.StateStalled:
		return t.in(terminal.Red, h.Phase)
	case h.Open:
		return t.in(terminal.Green, h.Phase)
	}
	return t.in(terminal.Yellow, h.Phase)
}

// slotMarks draw a slot, each of its own shape.
var slotMarks = map[view.SlotState]terminal.Cell{
	view.SlotFree:     {Text: "░"},
	view.SlotClosed:   {Text: "·", Colour: terminal.Faint},
	view.SlotReserved: {Text: "▒", Colour: terminal.Yellow},
	view.SlotStarting: {Text: "▒", Colour: terminal.Yellow},
	view.SlotEnding:   {Text: "▒", Colour: terminal.Faint},
	view.SlotRunning:  {Text: "▓", Colour: terminal.Green},
	view.SlotTaken:    {Text: "▓"},
}

func (t text) slots(slots []view.Slot) string {
	if len(slots) == 0 {
		return "no slots yet"
	}
	var b strings.Builder
	taken := 0
	for _, s := range slots {
		b.WriteString(slotMarks[s.State].String(t.colours))
		if s.State != view.SlotFree && s.State != view.SlotClosed {
			taken++
		}
	}
	return fmt.Sprintf("%s %d/%d", &b, taken, len(slots))
}
