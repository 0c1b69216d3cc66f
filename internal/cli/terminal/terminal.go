// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package terminal is what the subcommands know of terminals: whether there is one,
// its colours and its size, and how a table is laid out. It knows nothing of what
// is shown.
package terminal

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// defaultWidth and defaultHeight are for a terminal that doesn't tell its size.
const defaultWidth, defaultHeight = 120, 40

// Of is the terminal that out leads to; nil if it leads to none.
func Of(out io.Writer) *os.File {
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// Colours says whether to use colours on out. See https://no-color.org.
func Colours(out io.Writer) bool {
	return Of(out) != nil && os.Getenv("NO_COLOR") == ""
}

// Size is the size of a terminal.
func Size(terminal *os.File) (width, height int) {
	width, height, err := term.GetSize(int(terminal.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return defaultWidth, defaultHeight
	}
	return width, height
}

// Fit cuts what the terminal has no room for: a line that wrapped or scrolled
// away could not be erased.
func Fit(lines []string, width, height int) []string {
	if room := height - 2; len(lines) > room && room > 0 {
		more := len(lines) - room + 1
		lines = append(slices.Clone(lines[:room-1]), fmt.Sprintf("… %d more lines than this window has", more))
	}
	fitted := make([]string, 0, len(lines))
	for _, line := range lines {
		fitted = append(fitted, clipped(line, width-1))
	}
	return fitted
}

// clipped cuts a line after so many characters, not counting its colours.
func clipped(line string, width int) string {
	var b strings.Builder
	shown, coloured := 0, false
	for i := 0; i < len(line); {
		if line[i] == '\x1b' {
			end := i + strings.IndexByte(line[i:], 'm') + 1
			coloured = line[i:end] != End
			b.WriteString(line[i:end])
			i = end
			continue
		}
		_, size := utf8.DecodeRuneInString(line[i:])
		if shown++; shown > width {
			if coloured {
				b.WriteString(End)
			}
			break
		}
		b.WriteString(line[i : i+size])
		i += size
	}
	return b.String()
}
