// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// The path segments of the kinds' plurals.
const (
	instances   = "instances"
	mandelboxes = "mandelboxes"
)

// target is what a request to the API server is about.
type target struct {
	group, resource, namespace, name, subresource string
	watch                                         bool
}

// targetOf reads a request's path: /api/v1/… or /apis/group/version/…, then
// namespaces/x/ perhaps, then resource, name and subresource.
func targetOf(u *url.URL) (target, bool) {
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	t := target{watch: u.Query().Get("watch") == "true" || u.Query().Get("watch") == "1"}
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		t.group, parts = parts[1], parts[3:]
	default:
		return t, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		t.namespace, parts = parts[1], parts[2:]
	}
	for i, into := range []*string{&t.resource, &t.name, &t.subresource} {
		if i < len(parts) {
			*into = parts[i]
		}
	}
	return t, true
}

// ours says whether it is one of the four kinds.
func (t target) ours() bool { return t.group == v1alpha1.GroupVersion.Group }

// Call is a mutating call of the operator.
type Call struct {
	// Name says what is called on what; it is the same in each run of the story.
	Name string
	// Ordinal counts the calls of this name, from 1.
	Ordinal int
	// Process counts the manager's processes, from 1.
	Process int
	// At is when it was made, since the story began.
	At time.Duration
	// Fields are what it writes, for people.
	Fields string
	// aws says that it goes to AWS; locked, that it is refused on any other version
	// of the object than the one that was read.
	aws, locked bool
}

// String is the call's name and ordinal.
func (c Call) String() string { return fmt.Sprintf("%s#%d", c.Name, c.Ordinal) }

// namer gives calls their names. An object is called by its role in the story:
// Instances, whose names depend on decisions, by the order in which they were made.
type namer struct {
	mu       sync.Mutex
	hosts    map[string]string // role by name
	sessions map[string]string // name by uid
	ordinals map[string]int
}

func newNamer() *namer {
	return &namer{hosts: map[string]string{}, sessions: map[string]string{}, ordinals: map[string]int{}}
}

// verbs are the mutating methods by what they are called here.
var verbs = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}

// kube names a call to the API server; ok is false if it isn't one of those that
// count: reads, Events and Leases.
func (n *namer) kube(method string, t target, body []byte) (c Call, ok bool) {
	verb := verbs[method]
	if verb == "" || t.resource == "events" || t.resource == "leases" {
		return c, false
	}
	var content struct {
		Metadata struct {
			Name            string `json:"name"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Preconditions struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"preconditions"`
		Spec, Status map[string]json.RawMessage
	}
	about := ""
	if json.Unmarshal(body, &content) == nil {
		c.locked = content.Metadata.ResourceVersion != "" || content.Preconditions.ResourceVersion != ""
		c.Fields = strings.Join(sortedKeys(content.Status), ",")
		about = topic(content.Status)
	}
	name := t.name
	if name == "" {
		name = content.Metadata.Name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.resource == instances && t.ours() {
		name = n.host(name)
	}
	c.Name = verb + ":" + t.resource + "/" + name
	if t.subresource != "" {
		c.Name += "/" + t.subresource + about
	}
	n.count(&c)
	return c, true
}

// topics are the fields by which a write of status is called; the first that it
// has counts.
var topics = []string{"claims", "launch", "instanceID", "decision", "activeRevision", "instanceName", "taskARN", "finishedTime", "phase"}

// topic is what a write of status is called by.
func topic(status map[string]json.RawMessage) string {
	for _, field := range topics {
		if _, written := status[field]; written {
			return "." + field
		}
	}
	return ""
}

// host is the role of an Instance; mu is held.
func (n *namer) host(name string) string {
	if n.hosts[name] == "" {
		n.hosts[name] = fmt.Sprintf("host-%d", len(n.hosts)+1)
	}
	return n.hosts[name]
}

// count numbers a call; mu is held.
func (n *namer) count(c *Call) {
	n.ordinals[c.Name]++
	c.Ordinal = n.ordinals[c.Name]
}

// know tells the uid of a session, by which its tasks are started.
func (n *namer) know(uid, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions[uid] = name
}

// awsOperation is the operation that a request asks for, and what it is started by.
func awsOperation(r *http.Request, body []byte) (operation string, parameters map[string]any) {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_, operation, _ = strings.Cut(target, ".")
		if json.Unmarshal(body, &parameters) != nil {
			parameters = nil // The local AWS says what is wrong with it.
		}
		return operation, parameters
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil
	}
	parameters = map[string]any{}
	for key := range form {
		parameters[key] = form.Get(key)
	}
	return form.Get("Action"), parameters
}

// cloud names a call to AWS; ok is false if it only reads. starter tells by a
// task's ARN what it was started by.
func (n *namer) cloud(operation string, parameters map[string]any, starter func(arn string) string) (c Call, ok bool) {
	for _, reading := range []string{"Describe", "List", "Get", "Assume"} {
		if operation == "" || strings.HasPrefix(operation, reading) {
			return c, false
		}
	}
	startedBy, _ := parameters["startedBy"].(string)
	if arn, isTask := parameters["task"].(string); isTask {
		startedBy = starter(arn)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c = Call{Name: "aws:" + operation, aws: true}
	if uid, _, ours := cloud.ParseStartedBy(startedBy); ours {
		c.Name += "/" + n.sessions[uid]
	}
	if count, many := parameters["MaxCount"].(string); many {
		c.Name += "/" + count
	}
	n.count(&c)
	return c, true
}
