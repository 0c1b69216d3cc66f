// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func TestCallsToTheAPIServer(t *testing.T) {
	const api = "/apis/cloud.mandelbox.dev/v1alpha1"
	n := newNamer()
	for _, test := range []struct{ method, path, body, want string }{
		{http.MethodGet, api + "/instances/a", "", ""},
		{http.MethodPost, "/apis/events.k8s.io/v1/namespaces/default/events", `{"metadata":{"name":"e"}}`, ""},
		{http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/system/leases/leader", `{}`, ""},
		{http.MethodPost, api + "/instances", `{"metadata":{"name":"b"}}`, "create:instances/host-1#1"},
		{http.MethodPost, api + "/instances", `{"metadata":{"name":"a"}}`, "create:instances/host-2#1"},
		{http.MethodPost, api + "/instances", `{"metadata":{"name":"b"}}`, "create:instances/host-1#2"},
		{http.MethodPatch, api + "/instances/b", `{"metadata":{"finalizers":["x"],"resourceVersion":"7"}}`, "patch:instances/host-1#1 locked"},
		{http.MethodPatch, api + "/instances/b/status", `{"metadata":{"resourceVersion":"7"},"status":{"claims":[],"claimed":0}}`, "patch:instances/host-1/status.claims#1 locked"},
		{http.MethodPatch, api + "/instances/b/status", `{"status":{"conditions":[]}}`, "patch:instances/host-1/status#1"},
		{http.MethodDelete, api + "/instances/b", `{"preconditions":{"uid":"u","resourceVersion":"8"}}`, "delete:instances/host-1#1 locked"},
		{http.MethodPatch, api + "/namespaces/tenant/mandelboxes/s1/status", `{"status":{"taskARN":"t","phase":"Running"}}`, "patch:mandelboxes/s1/status.taskARN#1"},
		{http.MethodPatch, api + "/regions/us-east-1/status", `{"status":{"decision":{}}}`, "patch:regions/us-east-1/status.decision#1"},
		{http.MethodPut, "/api/v1/namespaces/system/secrets/s", `{}`, "update:secrets/s#1"},
	} {
		u, err := url.Parse(test.path)
		if err != nil {
			t.Fatal(err)
		}
		about, _ := targetOf(u)
		c, ok := n.kube(test.method, about, []byte(test.body))
		got := ""
		if ok {
			got = c.String()
		}
		if c.locked {
			got += " locked"
		}
		if got != test.want {
			t.Errorf("%s %s %s is called %q, not %q", test.method, test.path, test.body, got, test.want)
		}
	}
}

func TestCallsToAWS(t *testing.T) {
	n := newNamer()
	const uid = "6f1f7a3e-0c4e-4d3b-9d57-1b8f3b7f2f11"
	n.know(uid, "s1")
	starter := func(arn string) string {
		if arn == "arn:task" {
			return cloud.StartedBy(uid, 1)
		}
		return ""
	}
	for _, test := range []struct{ target, body, want string }{
		{"", "Action=DescribeInstances", ""},
		{"", "Action=RunInstances&MaxCount=2&ClientToken=x", "aws:RunInstances/2#1"},
		{"", "Action=TerminateInstances&InstanceId.1=i-1", "aws:TerminateInstances#1"},
		{"ECS.ListTasks", "{}", ""},
		{"ECS.RunTask", `{"startedBy":"` + cloud.StartedBy(uid, 1) + `"}`, "aws:RunTask/s1#1"},
		{"ECS.StopTask", `{"task":"arn:task"}`, "aws:StopTask/s1#1"},
		{"ECS.StopTask", `{"task":"arn:other"}`, "aws:StopTask#1"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.body))
		if test.target != "" {
			r.Header.Set("X-Amz-Target", test.target)
		}
		operation, parameters := awsOperation(r, []byte(test.body))
		c, ok := n.cloud(operation, parameters, starter)
		got := ""
		if ok {
			got = c.String()
		}
		if got != test.want {
			t.Errorf("%s %s is called %q, not %q", test.target, test.body, got, test.want)
		}
	}
}

func TestLastOfEachEvent(t *testing.T) {
	event := func(kind, uid, version string) []byte {
		return []byte(`{"type":"` + kind + `","object":{"metadata":{"uid":"` + uid + `","resourceVersion":"` + version + `"}}}` + "\n")
	}
	bookmark := []byte(`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"5"}}}` + "\n")
	got := lastOfEach([][]byte{event("ADDED", "a", "1"), event("ADDED", "b", "2"), event("MODIFIED", "a", "3"), bookmark, event("DELETED", "a", "6")})
	want := [][]byte{event("ADDED", "b", "2"), bookmark, event("DELETED", "a", "6")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnlocked(t *testing.T) {
	for _, test := range [][2]string{
		{`{"metadata":{"resourceVersion":"7"},"status":{"phase":"Active"}}`, `{"metadata":{},"status":{"phase":"Active"}}`},
		{`{"status":{"phase":"Active"}}`, `{"status":{"phase":"Active"}}`},
		{`no JSON`, `no JSON`},
	} {
		if got := string(unlocked([]byte(test[0]))); got != test[1] {
			t.Errorf("%s becomes %s", test[0], got)
		}
	}
}
