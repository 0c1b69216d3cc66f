// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// plant is a bug that an operator could have. The proxies change what the operator
// says and hears into what it would say and hear if it had the bug, so that nothing
// of it is in the product's code.
type plant struct {
	what string
	// plans are those in which it may show; the bug must be found in one of them, and
	// those after it are not played.
	plans []string
	// delays are those of a local AWS in which it shows.
	delays func(*awsemu.Delays)
	// begin makes the bug for one trial.
	begin func(t *trial) bug
}

// bug is what the proxies do differently; a nil function changes nothing.
type bug struct {
	// write is what the operator would have sent to the API server. A write that is
	// pretended is answered as if it had been done.
	write func(c Call, about target, body []byte) (changed []byte, pretend bool)
	// request is what it would have sent to AWS.
	request func(c Call, operation string, body []byte) []byte
	// hear is what it would have made of AWS's answer.
	hear func(operation string, body []byte) []byte
	// after is told of each call to AWS that was answered, or whose answer was lost.
	after func(r *http.Request, c Call, body []byte, a answer, err error)
	// see is the truth behind what is seen in AWS.
	see func(o awsemu.Observation) awsemu.Observation
}

// plants are the bugs by name.
var plants = map[string]plant{
	"token": {
		what: "the launch token is not persisted: a fresh manager uses another one",
		plans: []string{
			"lost@aws:RunInstances/1#1", "after@aws:RunInstances/1#1", "before@patch:instances/host-1/status.instanceID#1",
			"lost@aws:RunInstances/1#2",
		},
		begin: forgetTokens,
	},
	"claim": {
		what: "claims are written without a lock",
		plans: []string{
			"hold=instances,1.5s@patch:mandelboxes/s3/status.taskARN#1", "hold=instances,1s@aws:StopTask/s2#1",
			"hold=instances,2s@patch:mandelboxes/s2/status.taskARN#1", "rival=1.5s@create:instances/host-1#1",
			"hold=instances,1s@patch:mandelboxes/s3/status.finishedTime#1", "rival=4s@create:instances/host-1#1",
			"hold=instances,3s@patch:mandelboxes/s3/status.taskARN#1",
		},
		begin: func(*trial) bug {
			return bug{write: func(c Call, about target, body []byte) ([]byte, bool) {
				if about.resource == instances && strings.Contains(c.Name, "/status.claims") {
					return unlocked(body), false
				}
				return body, false
			}}
		},
	},
	"compare": {
		what: "status is patched without comparing the version",
		plans: []string{
			"rival=1.5s@create:instances/host-1#1", "rival=1.5s@patch:instances/host-1/status.launch#1",
			"rival=1s@patch:amis/stable/status.activeRevision#1", "stale=800ms@patch:instances/host-1/status.launch#1",
			"hold=instances,800ms@patch:instances/host-1/status.launch#1",
			"rival=4s@create:instances/host-1#1", "rival=4s@patch:instances/host-1/status.launch#1", "rival=4s@patch:amis/stable/status.activeRevision#1",
		},
		begin: func(*trial) bug {
			return bug{write: func(c Call, about target, body []byte) ([]byte, bool) {
				if about.subresource == "status" && !strings.HasSuffix(c.Name, ".claims") {
					return unlocked(body), false
				}
				return body, false
			}}
		},
	},
	"finalizer": {
		what:  "the finalizer is written after the call that starts the task",
		plans: []string{"undisturbed", "lost@aws:RunTask/s6#1", "after@aws:RunTask/s6#1"},
		begin: finalizerAfterCall,
	},
	"notfound": {
		what:  "a task that AWS doesn't know yet is taken for gone",
		plans: []string{"lag=800ms@aws:RunTask/s1#1", "lag=800ms@aws:RunTask/s4#1", "lag=1s@aws:RunTask/s7#1"},
		begin: notFoundIsGone,
	},
	"release": {
		what:   "a slot is released before its task is seen stopped",
		plans:  []string{"undisturbed", "after@aws:StopTask/s2#1", "lost@aws:StopTask/s6#1"},
		delays: func(d *awsemu.Delays) { d.TaskStop = 500 * time.Millisecond },
		begin: func(*trial) bug {
			return bug{hear: func(operation string, body []byte) []byte {
				if operation != "DescribeTasks" && operation != "StopTask" {
					return body
				}
				return changeTasks(body, func(task map[string]any) {
					if task["desiredStatus"] == "STOPPED" {
						stopNow(task)
					}
				})
			}}
		},
	},
	"cache": {
		what: "after a restart the cache is trusted, whatever its age",
		plans: []string{
			"stale=1.5s@patch:instances/host-1/status.launch#1~after@aws:RunInstances/1#1",
			"stale=1.5s@patch:instances/host-2/status.launch#1~lost@aws:RunInstances/1#2",
			"stale=1.5s@patch:instances/host-4/status.launch#1~after@+2",
			"stale=4s@patch:instances/host-1/status.launch#1~after@aws:RunInstances/1#1",
			"stale=4s@patch:instances/host-2/status.launch#1~lost@aws:RunInstances/1#2",
		},
		begin: func(t *trial) bug {
			return bug{write: func(_ Call, about target, body []byte) ([]byte, bool) {
				if about.ours() && t.windows.on(Stale, "") != nil {
					return unlocked(body), false
				}
				return body, false
			}}
		},
	},
	"batch": {
		what: "a launch that failed is tried again host by host",
		plans: []string{
			// Whether two hosts share the call is a matter of moments.
			"reset@aws:RunInstances/2#1", "reset@aws:RunInstances/2#1", "reset@aws:RunInstances/2#1",
		},
		begin: splitBatches,
	},
}

// Plants are the names of the bugs that can be planted.
func Plants() []string { return slices.Sorted(maps.Keys(plants)) }

func findPlant(name string) (*plant, error) {
	if name == "" {
		return nil, nil
	}
	p, known := plants[name]
	if !known {
		return nil, fmt.Errorf("there is no bug %q to plant: want one of %s", name, strings.Join(Plants(), ", "))
	}
	return &p, nil
}
