// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"strings"
	"unicode/utf8"
)

// Colours, as every terminal has them.
const (
	Green  = "\x1b[32m"
	Yellow = "\x1b[33m"
	Red    = "\x1b[31m"
	Bold   = "\x1b[1m"
	Faint  = "\x1b[2m"
	// End ends any of them.
	End = "\x1b[0m"
)

// Cell is a piece of text and its colour, if it has one.
type Cell struct{ Text, Colour string }

// String is the text, in its colour if there are colours.
func (c Cell) String(colours bool) string {
	if colours && c.Colour != "" {
		return c.Colour + c.Text + End
	}
	return c.Text
}

// Titles is the first row of a table.
func Titles(names ...string) []Cell {
	row := make([]Cell, 0, len(names))
	for _, name := range names {
		row = append(row, Cell{name, Bold})
	}
	return row
}

// Table pads every column to its widest cell. A row may have fewer cells than the first.
func Table(grid [][]Cell, colours bool) []string {
	widths := make([]int, len(grid[0]))
	for _, row := range grid {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	lines := make([]string, 0, len(grid))
	for _, row := range grid {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(c.String(colours))
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// OrDash is the text, or a dash if there is none.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
