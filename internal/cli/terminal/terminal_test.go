// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestColoursAreForTerminals(t *testing.T) {
	if Colours(&bytes.Buffer{}) || Of(&bytes.Buffer{}) != nil {
		t.Error("a buffer is taken for a terminal")
	}
}

func TestFit(t *testing.T) {
	for name, tc := range map[string]struct {
		lines         []string
		width, height int
		want          []string
	}{
		"room for all":   {[]string{"ab", "cd"}, 80, 24, []string{"ab", "cd"}},
		"too long":       {[]string{"▓▓▓░░░"}, 6, 24, []string{"▓▓▓░░"}},
		"colours closed": {[]string{Green + "Running" + End + " x"}, 5, 24, []string{Green + "Runn" + End}},
		"colours apart":  {[]string{Green + "Run" + End + " xyz"}, 6, 24, []string{Green + "Run" + End + " x"}},
		"too many": {[]string{"1", "2", "3", "4", "5"}, 80, 6,
			[]string{"1", "2", "3", "… 2 more lines than this window has"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Fit(tc.lines, tc.width, tc.height)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
