// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// answer is a whole answer to a call.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send writes the answer out, so that the caller has it when send returns.
func (a answer) send(w http.ResponseWriter) error {
	copyHeader(w.Header(), a.header)
	w.WriteHeader(a.status)
	if _, err := w.Write(a.body); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

func copyHeader(to, from http.Header) {
	for key, values := range from {
		to[key] = values
	}
}

// serveKube is the proxy before the API server.
func (t *trial) serveKube(w http.ResponseWriter, r *http.Request) {
	about, ok := targetOf(r.URL)
	switch {
	case r.Method != http.MethodGet:
		t.changeKube(w, r, about)
	case ok && about.watch:
		t.watchKube(w, r, about)
	default:
		t.readKube(w, r, about)
	}
}

// changeKube takes a call that may change something.
func (t *trial) changeKube(w http.ResponseWriter, r *http.Request, about target) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // The manager was killed while it spoke.
	}
	call, counts := t.namer.kube(r.Method, about, body)
	if !counts {
		t.touch()
		t.pass(w, r, body)
		return
	}
	query := r.URL.Query()
	if t.bug.write != nil {
		var pretend bool
		if body, pretend = t.bug.write(call, about, body); pretend {
			query.Set("dryRun", metav1.DryRunAll)
		}
	}
	t.strikeAll(w, call, t.meet(call), func(lasting bool) (answer, error) {
		ctx := r.Context()
		if lasting {
			ctx = context.WithoutCancel(ctx)
		}
		return t.ask(ctx, r, query, r.URL.Path, body)
	})
}

// pass forwards a request that nothing happens to.
func (t *trial) pass(w http.ResponseWriter, r *http.Request, body []byte) {
	a, err := t.forward(r.Context(), r, body)
	if err != nil || a.send(w) != nil {
		panic(http.ErrAbortHandler) // As the API server itself would when it goes.
	}
}

// upstream begins a request to the API server itself.
func (t *trial) upstream(ctx context.Context, r *http.Request, query url.Values, path string, body []byte) (*http.Response, error) {
	target := *t.lane.server
	target.Path, target.RawQuery = path, query.Encode()
	request, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("passing a request on: %w", err)
	}
	request.Header = r.Header.Clone()
	// Else the transport asks for compression of its own.
	request.Header.Set("Accept-Encoding", "identity")
	response, err := t.lane.transport.RoundTrip(request)
	if err != nil {
		return nil, fmt.Errorf("passing a request on: %w", err)
	}
	return response, nil
}

// forward has the API server answer a request.
func (t *trial) forward(ctx context.Context, r *http.Request, body []byte) (a answer, err error) {
	return t.ask(ctx, r, r.URL.Query(), r.URL.Path, body)
}

func (t *trial) ask(ctx context.Context, r *http.Request, query url.Values, path string, body []byte) (a answer, err error) {
	response, err := t.upstream(ctx, r, query, path, body)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if a.body, err = io.ReadAll(response.Body); err != nil {
		return a, fmt.Errorf("reading the API server's answer: %w", err)
	}
	a.status, a.header = response.StatusCode, response.Header
	return a, nil
}

// readKube answers reads; while they are to be stale, as they were at a version.
func (t *trial) readKube(w http.ResponseWriter, r *http.Request, about target) {
	win := t.windows.on(Stale, "")
	if win == nil || !about.ours() {
		t.pass(w, r, nil)
		return
	}
	a, err := t.readAt(r, about, win.version)
	if err != nil || a.send(w) != nil {
		panic(http.ErrAbortHandler)
	}
}

// readAt reads what the API server had at a version: it keeps those of some minutes.
// See https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions.
func (t *trial) readAt(r *http.Request, about target, version string) (answer, error) {
	query, path := r.URL.Query(), r.URL.Path
	query.Set("resourceVersion", version)
	query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchExact))
	if about.name == "" {
		query.Del("continue")
		return t.ask(r.Context(), r, query, path, nil)
	}
	query.Set("fieldSelector", "metadata.name="+about.name)
	a, err := t.ask(r.Context(), r, query, path[:len(path)-len("/"+about.name)], nil)
	if err != nil || a.status != http.StatusOK {
		return a, err
	}
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		return a, fmt.Errorf("reading a list of version %s: %w", version, err)
	}
	if len(list.Items) == 0 {
		return refusal(http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("%s %q not found", about.resource, about.name)), nil
	}
	return answer{status: http.StatusOK, header: jsonHeader(), body: list.Items[0]}, nil
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// refusal is an answer of the API server that says no.
func refusal(code int32, reason metav1.StatusReason, message string) answer {
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Message: message, Reason: reason, Code: code,
	})
	if err != nil {
		panic(err) // Of a struct of strings.
	}
	return answer{status: int(code), header: jsonHeader(), body: body}
}

// refusalOf is the answer of the API server that happens to a call; ok is false if
// something else does.
func refusalOf(how How) (a answer, ok bool) {
	switch how {
	case Conflict:
		return refusal(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified; please apply your changes to the latest version and try again"), true
	case Busy:
		a := refusal(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "the server has received too many requests and has asked us to try again later")
		a.header.Set("Retry-After", "1")
		return a, true
	case Broken:
		return refusal(http.StatusInternalServerError, metav1.StatusReasonInternalError, "Internal error occurred: etcdserver: leader changed"), true
	case Timeout:
		return refusal(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "Timeout: request did not complete within the allotted timeout"), true
	}
	return a, false
}

// strikeAll has everything happen to a call that is to; forward passes it on, if
// lasting also when the caller has gone.
func (t *trial) strikeAll(w http.ResponseWriter, c Call, due []Strike, forward func(lasting bool) (answer, error)) {
	how := map[How]bool{}
	for _, s := range due {
		how[s.How] = true
	}
	if how[KillBefore] {
		t.crash(c)
		panic(http.ErrAbortHandler)
	}
	for _, before := range []How{Conflict, Busy, Broken} {
		if a, ok := refusalOf(before); ok && how[before] {
			t.deliver(w, a)
			return
		}
	}
	a, err := forward(how[KillLost] || how[KillAfter] || how[Timeout] || how[Reset])
	switch {
	case how[KillLost]:
		t.crash(c)
		panic(http.ErrAbortHandler)
	case how[Reset], err != nil:
		panic(http.ErrAbortHandler)
	case how[Timeout]:
		a, _ = refusalOf(Timeout)
	}
	t.deliver(w, a)
	if how[KillAfter] {
		t.crash(c)
	}
}

// deliver answers a caller, who may be gone.
func (t *trial) deliver(w http.ResponseWriter, a answer) {
	if a.send(w) != nil {
		panic(http.ErrAbortHandler)
	}
}
