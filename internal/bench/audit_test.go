// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// auditLine is a write of the manager, as the API server notes it, to an object of a name.
func auditLine(name string) string {
	return `{"stage":"ResponseComplete","verb":"patch","user":{"username":"` + userManager + `"},` +
		`"objectRef":{"resource":"mandelboxes","name":"` + name + `"},"responseStatus":{"code":200},` +
		`"requestReceivedTimestamp":"2026-11-25T18:00:00.123456Z"}` + "\n"
}

// A mark taken while the API server writes a line is where that line starts, however
// little of the line, and however much, was there: it is read whole later, once.
func TestMarkInALineThatIsBeingWritten(t *testing.T) {
	long := auditLine(strings.Repeat("n", 200<<10))
	for _, tt := range []struct {
		name  string
		there string // What is whole when the mark is taken.
		line  string // What is being written then.
		cut   int
	}{
		{"nothing yet", "", auditLine("b"), 0},
		{"the first line", "", auditLine("b"), 40},
		{"between lines", auditLine("a"), auditLine("b"), 0},
		{"in a time", auditLine("a"), auditLine("b"), len(auditLine("b")) - 12},
		{"all but its end", auditLine("a"), auditLine("b"), len(auditLine("b")) - 1},
		{"a line of many blocks", auditLine("a"), long, len(long) - 5},
		{"after a line of many blocks", long, auditLine("b"), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &auditLog{path: filepath.Join(t.TempDir(), "audit.log")}
			if err := os.WriteFile(log.path, []byte(tt.there+tt.line[:tt.cut]), 0o600); err != nil {
				t.Fatal(err)
			}
			mark, err := log.mark()
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(len(tt.there)); mark != want {
				t.Errorf("the mark is at %d, want %d", mark, want)
			}
			if err := os.WriteFile(log.path, []byte(tt.there+tt.line), 0o600); err != nil {
				t.Fatal(err)
			}
			writes, err := log.since(mark)
			if err != nil {
				t.Fatal(err)
			}
			if len(writes) != 1 {
				t.Errorf("%d writes since, want the one that was being written", len(writes))
			}
		})
	}
}

func TestMarkWithoutALog(t *testing.T) {
	log := &auditLog{path: filepath.Join(t.TempDir(), "audit.log")}
	if mark, err := log.mark(); mark != 0 || err != nil {
		t.Errorf("the mark is %d, %v; want 0", mark, err)
	}
}
