// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bytes"
	"io"
	"sync"
)

// tailBytes of output are kept to explain a failed start.
const tailBytes = 8 << 10

// output passes on what both processes print, one write at a time, and keeps the
// end of it.
type output struct {
	mu   sync.Mutex
	next io.Writer
	last []byte
}

func newOutput(next io.Writer) *output {
	if next == nil {
		next = io.Discard
	}
	return &output{next: next}
}

// Write keeps and passes on p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = append(o.last, p...)
	if surplus := len(o.last) - tailBytes; surplus > 0 {
		o.last = append(o.last[:0], o.last[surplus:]...)
	}
	return o.next.Write(p)
}

// tail returns the end of what was written, from the start of a line on.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.last) < tailBytes {
		return string(o.last)
	}
	_, whole, _ := bytes.Cut(o.last, []byte("\n"))
	return string(whole)
}
