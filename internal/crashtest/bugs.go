// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// unlocked is a patch that is carried out on whatever version there is.
func unlocked(body []byte) []byte {
	var patch map[string]any
	if json.Unmarshal(body, &patch) != nil {
		return body
	}
	metadata, ok := patch["metadata"].(map[string]any)
	if !ok || metadata["resourceVersion"] == nil {
		return body
	}
	delete(metadata, "resourceVersion")
	changed, err := json.Marshal(patch)
	if err != nil {
		return body
	}
	return changed
}

// forgetTokens gives each token of a launch another one that is good for one
// process: the next would make a new one, and finds nothing under the old.
func forgetTokens(t *trial) bug {
	var mu sync.Mutex
	own := map[int]map[string]string{} // by process and the operator's token
	real := map[string]string{}        // the operator's by the one in AWS
	replace := func(text []byte, back bool) []byte {
		for known, ours := range own[t.process()] {
			if back {
				known, ours = ours, known
			}
			text = bytes.ReplaceAll(text, []byte(known), []byte(ours))
		}
		return text
	}
	return bug{
		request: func(_ Call, operation string, body []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			if operation == "RunInstances" {
				process := t.process()
				form, err := url.ParseQuery(string(body))
				token := form.Get("ClientToken")
				if err == nil && own[process][token] == "" {
					if own[process] == nil {
						own[process] = map[string]string{}
					}
					own[process][token] = uuid.NewString()
					real[own[process][token]] = token
				}
			}
			return replace(body, false)
		},
		hear: func(_ string, body []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			return replace(body, true)
		},
		see: func(o awsemu.Observation) awsemu.Observation {
			mu.Lock()
			defer mu.Unlock()
			for i := range o.Hosts {
				if token := real[o.Hosts[i].ClientToken]; token != "" {
					o.Hosts[i].ClientToken = token
				}
			}
			return o
		},
	}
}

// finalizerAfterCall only pretends to write a session's finalizer, and writes it a
// while after the task was started; if the manager lives so long.
func finalizerAfterCall(t *trial) bug {
	type pending struct {
		name    string
		patch   []byte
		process int
	}
	var mu sync.Mutex
	waiting := map[string]pending{}
	return bug{
		write: func(c Call, about target, body []byte) ([]byte, bool) {
			holds := c.Name == "patch:mandelboxes/"+about.name && bytes.Contains(body, []byte(v1alpha1.MandelboxFinalizer))
			if !holds {
				return body, false
			}
			mu.Lock()
			defer mu.Unlock()
			waiting["aws:RunTask/"+about.name] = pending{about.name, unlocked(body), t.process()}
			return body, true
		},
		after: func(_ *http.Request, c Call, _ []byte, _ answer, _ error) {
			mu.Lock()
			defer mu.Unlock()
			p, ok := waiting[c.Name]
			if !ok {
				return
			}
			delete(waiting, c.Name)
			time.AfterFunc(150*time.Millisecond, func() {
				if t.process() != p.process {
					return
				}
				m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: p.name}}
				err := t.lane.api.Patch(context.Background(), m, client.RawPatch("application/merge-patch+json", p.patch))
				if client.IgnoreNotFound(err) != nil {
					t.fail("writing a finalizer late: %v", err)
				}
			})
		},
	}
}

// changeTasks changes the tasks in an answer of ECS.
func changeTasks(body []byte, change func(task map[string]any)) []byte {
	var content map[string]any
	if json.Unmarshal(body, &content) != nil {
		return body
	}
	tasks, _ := content["tasks"].([]any)
	for _, task := range append(tasks, content["task"]) {
		if task, ok := task.(map[string]any); ok {
			change(task)
		}
	}
	changed, err := json.Marshal(content)
	if err != nil {
		return body
	}
	return changed
}

// stopNow has a task look stopped.
func stopNow(task map[string]any) {
	if task["lastStatus"] != "STOPPED" {
		task["lastStatus"], task["desiredStatus"] = "STOPPED", "STOPPED"
		task["stoppedAt"] = float64(time.Now().UnixMilli()) / 1000
	}
}

// notFoundIsGone takes a task that is missing from an answer for one that stopped.
func notFoundIsGone(*trial) bug {
	var mu sync.Mutex
	started := map[string]map[string]any{}
	return bug{hear: func(operation string, body []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		switch operation {
		case "RunTask":
			changeTasks(body, func(task map[string]any) {
				if arn, ok := task["taskArn"].(string); ok {
					started[arn] = task
				}
			})
		case "DescribeTasks":
			return addGone(body, started)
		}
		return body
	}}
}

// addGone adds what is missing from an answer as stopped.
func addGone(body []byte, started map[string]map[string]any) []byte {
	var content map[string]any
	if json.Unmarshal(body, &content) != nil {
		return body
	}
	tasks, _ := content["tasks"].([]any)
	failures, _ := content["failures"].([]any)
	for _, failure := range failures {
		missing, _ := failure.(map[string]any)
		arn, _ := missing["arn"].(string)
		if task := started[arn]; task != nil {
			stopNow(task)
			tasks = append(tasks, task)
		}
	}
	content["tasks"] = tasks
	changed, err := json.Marshal(content)
	if err != nil {
		return body
	}
	return changed
}

// step is the pace of an API server that answers the writes of hosts in step, so
// that hosts of one decision are launched by one call.
const step = 150 * time.Millisecond

// inStep slows the writes down by which hosts get ready for their launch.
func inStep(c Call, about target, body []byte) ([]byte, bool) {
	if about.resource == instances && c.Ordinal == 1 && (about.subresource == "" || strings.HasSuffix(c.Name, "/status.phase")) {
		time.Sleep(step - time.Duration(time.Now().UnixNano())%step)
	}
	return body, false
}

// splitBatches launches the hosts of a call that failed one by one.
func splitBatches(t *trial) bug {
	return bug{write: inStep, after: func(r *http.Request, c Call, body []byte, a answer, err error) {
		form, unreadable := url.ParseQuery(string(body))
		if unreadable != nil || !strings.HasPrefix(c.Name, "aws:RunInstances") {
			return
		}
		count, unreadable := strconv.Atoi(form.Get("MaxCount"))
		if unreadable != nil || count < 2 || err == nil && a.status == http.StatusOK {
			return
		}
		for range count {
			form.Set("MinCount", "1")
			form.Set("MaxCount", "1")
			form.Set("ClientToken", uuid.NewString())
			t.checkIntent(form.Get("ClientToken"))
			single := r.Clone(context.Background())
			single.Body = io.NopCloser(strings.NewReader(form.Encode()))
			if _, err := t.askAWS(single); err != nil {
				t.fail("launching a single host: %v", err)
			}
		}
	}}
}
