// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// start is when the journeys of these tests begin.
var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// received is a collector that keeps the spans it gets.
type received struct {
	mu    sync.Mutex
	spans []*otlp.Span
	from  map[string]string
}

func (r *received) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	export := &collector.ExportTraceServiceRequest{}
	if err == nil {
		err = proto.Unmarshal(body, export)
	}
	if err != nil || request.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range export.GetResourceSpans() {
		for _, attribute := range resource.GetResource().GetAttributes() {
			r.from[attribute.GetKey()] = attribute.GetValue().GetStringValue()
		}
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// told is a span as these tests compare it: its name, its parent's, why it failed, and
// from when to when it was, in seconds from the start.
type told struct {
	name, parent, failed string
	from, to             float64
}

// tell has a test's sessions and hosts told to a collector, and returns what arrived.
func tell(t *testing.T, clk clock.PassiveClock, play func(*sessions, *hosts)) ([]told, *received) {
	t.Helper()
	g := NewWithT(t)
	got := &received{from: map[string]string{}}
	server := httptest.NewServer(got)
	defer server.Close()
	t.Setenv(endpointVariable, server.URL)
	provider, err := NewProvider(t.Context(), "v1.2.3")
	g.Expect(err).NotTo(HaveOccurred())
	tracer := provider.Tracer("test")
	play(newSessions(tracer, clk), newHosts(tracer, clk))
	g.Expect(provider.Shutdown(t.Context())).To(Succeed())

	names := map[string]string{}
	for _, span := range got.spans {
		names[string(span.GetSpanId())] = span.GetName()
	}
	seconds := func(nanos uint64) float64 { return time.Unix(0, int64(nanos)).Sub(start).Seconds() }
	var list []told
	for _, span := range got.spans {
		list = append(list, told{
			name: span.GetName(), parent: names[string(span.GetParentSpanId())], failed: span.GetStatus().GetMessage(),
			from: seconds(span.GetStartTimeUnixNano()), to: seconds(span.GetEndTimeUnixNano()),
		})
	}
	return list, got
}

// session is a Mandelbox with a status.
func session(change func(*v1alpha1.MandelboxStatus)) *v1alpha1.Mandelbox {
	m := &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: "one", UID: "uid", CreationTimestamp: metav1.NewTime(start)}}
	if change != nil {
		change(&m.Status)
	}
	return m
}

func assigned(s *v1alpha1.MandelboxStatus) {
	s.Phase, s.InstanceName, s.Slot, s.Attempt, s.Region = v1alpha1.MandelboxAllocated, "host", ptr.To[int32](0), 1, "us-east-1"
	s.AssignedTime = ptr.To(metav1.NewTime(start.Add(2 * time.Second)))
}

func TestASessionsStartIsOneTrace(t *testing.T) {
	clk := testingclock.NewFakePassiveClock(start)
	got, from := tell(t, clk, func(s *sessions, _ *hosts) {
		waiting, placed := session(nil), session(assigned)
		s.added(waiting, false)
		clk.SetTime(start.Add(2 * time.Second))
		s.changed(waiting, placed)
		clk.SetTime(start.Add(5 * time.Second))
		s.changed(placed, session(func(st *v1alpha1.MandelboxStatus) {
			assigned(st)
			st.RunningTime = ptr.To(metav1.NewTime(start.Add(5 * time.Second)))
		}))
	})
	g := NewWithT(t)
	g.Expect(got).To(ConsistOf(
		told{name: "start session", from: 0, to: 5},
		told{name: "assign", parent: "start session", from: 0, to: 2},
		told{name: "start task", parent: "start session", from: 2, to: 5},
	))
	g.Expect(from.from).To(And(HaveKeyWithValue("service.name", "mandelbox-operator"), HaveKeyWithValue("service.version", "v1.2.3")))
}

func TestASessionThatNeverRanSaysWhy(t *testing.T) {
	clk := testingclock.NewFakePassiveClock(start.Add(9 * time.Second))
	got, _ := tell(t, clk, func(s *sessions, _ *hosts) {
		waiting := session(nil)
		s.added(waiting, true)
		finished := session(func(st *v1alpha1.MandelboxStatus) {
			st.Phase = v1alpha1.MandelboxFinished
			st.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFinished, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNoInstanceAvailable}}
		})
		s.changed(waiting, finished)
		s.changed(finished, finished)
	})
	NewWithT(t).Expect(got).To(ConsistOf(
		told{name: "start session", failed: v1alpha1.ReasonNoInstanceAvailable, to: 9},
		told{name: "assign", parent: "start session", failed: v1alpha1.ReasonNoInstanceAvailable, to: 9},
	))
}

func TestAHostsLaunchIsOneTrace(t *testing.T) {
	clk := testingclock.NewFakePassiveClock(start)
	got, _ := tell(t, clk, func(_ *sessions, h *hosts) {
		host := func(change func(*v1alpha1.InstanceStatus)) *v1alpha1.Instance {
			i := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: "host", UID: "uid"}}
			change(&i.Status)
			return i
		}
		asked := host(func(*v1alpha1.InstanceStatus) {})
		h.added(asked, false)
		launch := func(s *v1alpha1.InstanceStatus) { s.LaunchedTime = ptr.To(metav1.NewTime(start)) }
		register := func(s *v1alpha1.InstanceStatus) {
			launch(s)
			s.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionRegistered, Status: metav1.ConditionTrue}}
		}
		clk.SetTime(start.Add(time.Second))
		h.changed(asked, host(launch))
		clk.SetTime(start.Add(30 * time.Second))
		h.changed(host(launch), host(register))
		clk.SetTime(start.Add(40 * time.Second))
		h.changed(host(register), host(func(s *v1alpha1.InstanceStatus) {
			register(s)
			s.ActiveTime = ptr.To(metav1.NewTime(start))
		}))
	})
	NewWithT(t).Expect(got).To(ConsistOf(
		told{name: "launch host", to: 40},
		told{name: "launch", parent: "launch host", to: 1},
		told{name: "register", parent: "launch host", from: 1, to: 30},
		told{name: "warm up", parent: "launch host", from: 30, to: 40},
	))
}

func TestThereAreNoTracesUnlessAnEndpointIsGiven(t *testing.T) {
	t.Setenv(endpointVariable, "")
	t.Setenv(tracesEndpointVariable, "")
	provider, err := NewProvider(t.Context(), "v1.2.3")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(provider).To(BeNil())
}
