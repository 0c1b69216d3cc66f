// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
)

// Control sequences of terminals.
// See https://invisible-island.net/xterm/ctlseqs/ctlseqs.html.
const (
	cursorUp   = "\x1b[%dA\r"
	eraseBelow = "\x1b[J"
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
)

// screen shows lines that stay and, on a terminal, a frame below them that is
// redrawn in place. Its methods may be called concurrently.
type screen struct {
	mu  sync.Mutex
	out io.Writer
	// size is the terminal's; nil when out is none.
	size func() (width, height int)
	// activity is what is being done, since when.
	activity string
	since    time.Time
	frame    []string
	// frozen says that the fleet's frame has become lines that stay.
	frozen bool
	hidden bool
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if file := terminal.Of(out); file != nil {
		s.size = func() (width, height int) { return terminal.Size(file) }
	}
	return s
}

// live says whether there is a frame that is redrawn.
func (s *screen) live() bool { return s.size != nil }

// colours says whether to use them. See https://no-color.org.
func (s *screen) colours() bool { return s.live() && os.Getenv("NO_COLOR") == "" }

// say writes lines that stay, above the frame.
func (s *screen) say(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frame := s.frame
	s.write(s.erased() + joined(lines))
	s.show(frame)
}

// doing says what is being done, in the frame; nothing if it is empty.
func (s *screen) doing(activity string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.activity, s.since = activity, since
}

// draw shows the frame, if it has changed.
func (s *screen) draw(content func() []string) {
	if !s.live() {
		return
	}
	lines := content()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		lines = nil
	}
	if s.activity != "" {
		lines = append(lines, fmt.Sprintf("%s … %s", s.activity, seconds(time.Since(s.since))))
	}
	width, height := s.size()
	lines = terminal.Fit(lines, width, height)
	if slices.Equal(lines, s.frame) {
		return
	}
	if !s.hidden {
		s.hidden = true
		s.write(hideCursor)
	}
	s.write(s.erased())
	s.show(lines)
}

// release leaves the last frame where it is, so that what follows is below it.
func (s *screen) release(last []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live() || s.frozen {
		return
	}
	s.frozen = true
	s.write(s.erased() + joined(last))
}

// restore gives the terminal back as it was, without the frame.
func (s *screen) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(s.erased())
	if s.hidden {
		s.hidden = false
		s.write(showCursor)
	}
}

// erased forgets the frame and returns what takes it from the terminal.
func (s *screen) erased() string {
	if len(s.frame) == 0 {
		return ""
	}
	up := len(s.frame)
	s.frame = nil
	return fmt.Sprintf(cursorUp, up) + eraseBelow
}

func (s *screen) show(frame []string) {
	s.frame = frame
	s.write(joined(frame))
}

func (s *screen) write(text string) {
	if text != "" {
		// There is no other place to tell that the screen can't be written.
		_, _ = io.WriteString(s.out, text)
	}
}

func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// seconds writes a duration as people read it: tenths of a second, then minutes.
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// stamped puts the time in front of a line.
func stamped(at time.Duration, line string) string {
	return fmt.Sprintf("%7s  %s", seconds(at), line)
}
