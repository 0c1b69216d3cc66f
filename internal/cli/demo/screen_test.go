// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// written is what a screen wrote since the last look.
type written struct{ strings.Builder }

func (w *written) take() string {
	defer w.Reset()
	return w.String()
}

func frame(lines ...string) func() []string { return func() []string { return lines } }

func TestScreenRedrawsInPlace(t *testing.T) {
	var out written
	s := &screen{out: &out, size: func() (int, int) { return 80, 24 }}
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"the first frame", func() { s.draw(frame("one", "two")) }, hideCursor + "one\ntwo\n"},
		{"the same frame", func() { s.draw(frame("one", "two")) }, ""},
		{"another frame", func() { s.draw(frame("three")) }, "\x1b[2A\r" + eraseBelow + "three\n"},
		{"a line that stays", func() { s.say("news") }, "\x1b[1A\r" + eraseBelow + "news\nthree\n"},
		{"the last frame", func() { s.release([]string{"last"}) }, "\x1b[1A\r" + eraseBelow + "last\n"},
		{"a frame after the last", func() { s.draw(frame("more")) }, ""},
		{"a line after the last", func() { s.say("stopped") }, "stopped\n"},
		{"the end", s.restore, showCursor},
	} {
		step.do()
		if diff := cmp.Diff(step.want, out.take()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestScreenWithoutTerminal(t *testing.T) {
	var out written
	s := newScreen(&out)
	s.draw(frame("a frame"))
	s.say("a line")
	s.release([]string{"a frame"})
	s.restore()
	if diff := cmp.Diff("a line\n", out.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
