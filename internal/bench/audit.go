// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// auditPolicy has the API server note every write of the manager and of the bare
// clients, with its body, once it is answered.
// See https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
  users: ["` + userManager + `", "` + userBare + `"]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

// auditLog reads what the API server noted.
type auditLog struct{ path string }

// auditWrite is a write as the audit log has it.
type auditWrite struct {
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Status struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Body json.RawMessage `json:"requestObject"`
	// Received and Answered are when the API server got the request and had its answer.
	Received time.Time `json:"requestReceivedTimestamp"`
	Answered time.Time `json:"stageTimestamp"`
}

// done says whether the write was carried out.
func (w auditWrite) done() bool { return w.Status.Code >= 200 && w.Status.Code < 300 }

// assigns says whether it is the write that gives a session its slot.
func (w auditWrite) assigns() bool {
	return w.Object.Resource == "mandelboxes" && bytes.Contains(w.Body, []byte(`"instanceName":"`))
}

// kind names what sort of write it is, e.g. "patch mandelboxes/status".
func (w auditWrite) kind() string {
	resource := w.Object.Resource
	if w.Object.Subresource != "" {
		resource += "/" + w.Object.Subresource
	}
	return w.Verb + " " + resource
}

// mark is a place in the log: what is noted later comes after it. A line that is
// being written counts as later, for its end isn't there yet; so a mark is always
// where a line starts.
func (l *auditLog) mark() (_ int64, err error) {
	file, err := os.Open(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking at the audit log: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("looking at the audit log: %w", err)
	}
	const step = 64 << 10
	for end > 0 {
		part := make([]byte, min(step, end))
		start := end - int64(len(part))
		if _, err := file.ReadAt(part, start); err != nil {
			return 0, fmt.Errorf("looking at the audit log: %w", err)
		}
		if newline := bytes.LastIndexByte(part, '\n'); newline >= 0 {
			return start + int64(newline) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// since returns the manager's writes after a mark, in the order of their answers.
// Its lease is left out: it is renewed whatever there is to do.
func (l *auditLog) since(mark int64) (writes []auditWrite, err error) {
	file, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Seek(mark, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	raw, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	for line := range bytes.Lines(raw) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // It is being written.
		}
		var w auditWrite
		if err := json.Unmarshal(line, &w); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if w.User.Username == userManager && w.Stage == "ResponseComplete" && w.Object.Resource != "leases" {
			writes = append(writes, w)
		}
	}
	return writes, nil
}

// mix counts writes by kind.
func mix(writes []auditWrite) map[string]int {
	counts := map[string]int{}
	for _, w := range writes {
		counts[w.kind()]++
	}
	return counts
}

// describe says in a line how many writes there are of each kind.
func describe(counts map[string]int) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	return strings.Join(parts, ", ")
}

// bodySize is the mean size of the bodies.
func bodySize(writes []auditWrite) int {
	total := 0
	for _, w := range writes {
		total += len(w.Body)
	}
	return int(ratio(float64(total), float64(len(writes))))
}
