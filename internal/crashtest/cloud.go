// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// serveAWS is the proxy before the local AWS.
func (t *trial) serveAWS(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	operation, parameters := awsOperation(r, body)
	call, counts := t.namer.cloud(operation, parameters, t.startedBy)
	if token, ok := parameters["ClientToken"].(string); ok && operation == "RunInstances" {
		t.checkIntent(token)
	}
	if t.bug.request != nil {
		body = t.bug.request(call, operation, body)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if !counts {
		a, err := t.hear(operation, r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		t.deliver(w, a)
		return
	}
	due := t.meet(call)
	for _, s := range due {
		t.trouble(s, operation)
	}
	t.strikeAll(w, call, due, func(lasting bool) (answer, error) {
		a, err := t.hear(operation, r)
		if t.bug.after != nil {
			lost := err
			if lasting {
				lost = http.ErrAbortHandler
			}
			t.bug.after(r, call, body, a, lost)
		}
		return a, err
	})
}

// checkIntent holds a launch to its intent, which must be durable before it.
func (t *trial) checkIntent(token string) {
	var hosts v1alpha1.InstanceList
	if err := t.lane.api.List(context.Background(), &hosts); err != nil {
		t.fail("looking for the intent of a launch: %v", err)
		return
	}
	for i := range hosts.Items {
		if launch := hosts.Items[i].Status.Launch; launch != nil && launch.Token == token {
			return
		}
	}
	t.fail("hosts are launched under token %s, which no Instance has for its intent", token)
}

// hear asks AWS, and is what the operator makes of the answer.
func (t *trial) hear(operation string, r *http.Request) (answer, error) {
	a, err := t.askAWS(r)
	if t.bug.hear != nil {
		a.body = t.bug.hear(operation, a.body)
		a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	return a, err
}

// askAWS has the local AWS answer. What AWS was asked for it does, whether the
// caller is still there or not.
func (t *trial) askAWS(r *http.Request) (answer, error) {
	recorder := &recorder{answer: answer{status: http.StatusOK, header: http.Header{}}}
	recorder.serve(t.aws, r)
	return recorder.answer, recorder.err
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	answer
	err error
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { r.body = append(r.body, p...); return len(p), nil }

// serve has a handler answer; one that gives up leaves an error.
func (r *recorder) serve(h http.Handler, request *http.Request) {
	defer func() {
		gaveUp := recover()
		err, ok := gaveUp.(error)
		switch {
		case ok && errors.Is(err, http.ErrAbortHandler):
			r.err = err
		case gaveUp != nil:
			panic(gaveUp)
		}
	}()
	h.ServeHTTP(r, request)
}

// startedBy tells what a task was started by.
func (t *trial) startedBy(arn string) string {
	for _, task := range t.aws.Observe().Tasks {
		if task.ARN == arn {
			return task.StartedBy
		}
	}
	return ""
}

// trouble begins what is wrong with AWS for a while.
func (t *trial) trouble(s Strike, operation string) {
	var end func()
	switch s.How {
	case Throttle, Failing:
		fault := awsemu.Fault{Operation: operation, Action: awsemu.ActionThrottle}
		if s.How == Failing {
			fault.Action = awsemu.ActionError
		}
		id, err := t.aws.AddFault(fault)
		if err != nil {
			t.fail("planning a fault: %v", err)
			return
		}
		end = func() { t.aws.RemoveFault(id) }
	case NoCapacity, Partial:
		available := 0
		if s.How == Partial {
			available = 1
		}
		scarce := awsemu.Capacity{Region: regionName, InstanceType: scarceType, Available: available}
		t.aws.SetCapacity(scarce)
		scarce.Available = -1
		end = func() { t.aws.SetCapacity(scarce) }
	case Lag:
		t.lag(s.For / 2)
		end = func() { t.lag(0) }
	default:
		return
	}
	time.AfterFunc(s.For, end)
}

func (t *trial) lag(lag time.Duration) {
	d := t.aws.Delays()
	d.VisibilityLag = lag
	t.aws.SetDelays(d)
}
