// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// canary is a part of every secret of the spec below; what follows it says which.
const canary = "canary-7d1f"

// sentToAWS notes all requests that AWS gets, and in which of their parameters a canary is.
type sentToAWS struct {
	mu    sync.Mutex
	found map[string]bool
	wrong []string
}

// wrap notes what goes to the next handler.
func (s *sentToAWS) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mu.Lock()
		s.note(r.Header.Get("X-Amz-Target"), body)
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (s *sentToAWS) note(target string, body []byte) {
	var fields any
	if target != "" && json.Unmarshal(body, &fields) == nil {
		s.walk(target, fields)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		s.wrong = append(s.wrong, err.Error())
		return
	}
	for key, values := range form {
		for _, value := range values {
			if decoded, err := base64.StdEncoding.DecodeString(value); err == nil && key == "UserData" {
				value = string(decoded)
			}
			s.leaf(form.Get("Action")+" "+key, value)
		}
	}
}

// walk goes through JSON, the names of whose fields become the path.
func (s *sentToAWS) walk(path string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, field := range v {
			s.walk(path+" "+name, field)
		}
	case []any:
		for _, item := range v {
			s.walk(path, item)
		}
	default:
		s.leaf(path, fmt.Sprint(v))
	}
}

func (s *sentToAWS) leaf(path, value string) {
	if strings.Contains(value, canary) {
		s.found[path] = true
	}
}

// places are the parameters that had a canary, the services' versions left out.
func (s *sentToAWS) places() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) > 0 {
		return nil, fmt.Errorf("requests that can't be read: %v", s.wrong)
	}
	return slices.Sorted(maps.Keys(s.found)), nil
}

// lockedBuffer takes what loggers of several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

// everythingTold is what the operator says to whoever may read the fleet, and not
// the specs: by where it says it.
func (w *world) everythingTold(ctx context.Context, logs *lockedBuffer, spans *tracetest.InMemoryExporter) map[string]string {
	GinkgoHelper()
	told := map[string]string{"logs": logs.text()}
	var metrics bytes.Buffer
	for _, gatherer := range []prometheus.Gatherer{w.metrics, ctrlmetrics.Registry} {
		families, err := gatherer.Gather()
		Expect(err).NotTo(HaveOccurred())
		for _, family := range families {
			_, err := expfmt.MetricFamilyToText(&metrics, family)
			Expect(err).NotTo(HaveOccurred())
		}
	}
	told["metrics"] = metrics.String()
	for _, span := range spans.GetSpans() {
		told["traces"] += fmt.Sprintf("%s %v %v %v\n", span.Name, span.Attributes, span.Events, span.Status)
	}
	for name, list := range map[string]client.ObjectList{"events": &eventsv1.EventList{}, "core events": &corev1.EventList{}} {
		Expect(w.List(ctx, list)).To(Succeed())
		text, err := json.Marshal(list)
		Expect(err).NotTo(HaveOccurred())
		told[name] = string(text)
	}
	for _, list := range []client.ObjectList{&v1alpha1.MandelboxList{}, &v1alpha1.InstanceList{}, &v1alpha1.AMIList{}, &v1alpha1.RegionList{}} {
		Expect(w.List(ctx, list)).To(Succeed())
		for _, o := range itemsOf(list) {
			text, err := json.Marshal(o)
			Expect(err).NotTo(HaveOccurred())
			var fields map[string]any
			Expect(json.Unmarshal(text, &fields)).To(Succeed())
			if _, ours := o.(*v1alpha1.Instance); !ours {
				delete(fields, "spec") // A person wrote it. The operator writes those of Instances itself.
				delete(fields["metadata"].(map[string]any), "managedFields")
			}
			text, err = json.Marshal(fields)
			Expect(err).NotTo(HaveOccurred())
			told[fmt.Sprintf("%T", o)] += string(text)
		}
	}
	return told
}

var _ = Describe("A secret in an environment or in user data", func() {
	It("goes to the host and the container, and into no log, event, status, metric, trace or tag", func(ctx context.Context) {
		logs, spans, sent := &lockedBuffer{}, tracetest.NewInMemoryExporter(), &sentToAWS{found: map[string]bool{}}
		w := newWorld(func(w *world) {
			w.front = sent.wrap
			w.traces = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
			w.configure = func(o *controllers.Options) {
				// The most that --verbosity takes.
				o.Log = zap.New(zap.WriteTo(logs), zap.Level(zapcore.Level(-7)))
				o.Observer.Log = o.Log
			}
		})
		By("having AWS refuse a launch and a start first, so that both are told of")
		w.fault(awsemu.Fault{Operation: "RunInstances", Phase: awsemu.PhaseBefore, Action: awsemu.ActionError,
			Code: "InsufficientInstanceCapacity", Message: "There is no capacity.", Status: 500, Count: 1})
		w.fault(awsemu.Fault{Operation: "RunTask", Phase: awsemu.PhaseBefore, Action: awsemu.ActionError,
			Code: "AccessDeniedException", Message: "You are not authorized.", Status: 400, Count: 1})
		w.region(ctx, home, func(r *v1alpha1.Region) { r.Spec.UserData = "#!/bin/sh\nexport TOKEN=" + canary + "-user-data\n" })
		w.channel(ctx, "stable", []string{home}, func(a *v1alpha1.AMI) {
			a.Spec.Task.Env = []v1alpha1.EnvVar{env("CHANNEL_TOKEN", canary+"-channel")}
		})
		secret := func(m *v1alpha1.Mandelbox) { m.Spec.Env = []v1alpha1.EnvVar{env("SESSION_TOKEN", canary+"-session")} }
		crashes := w.session(ctx, "crashes", []string{home}, secret)
		w.runs(ctx, crashes)
		w.exit(home, crashes, 1)
		w.ends(ctx, crashes, v1alpha1.ReasonCrashed)
		w.runs(ctx, w.session(ctx, "runs", []string{home}, secret))

		By("finding them where they have to be")
		Expect(sent.places()).To(ConsistOf(
			"RunInstances UserData",
			HaveSuffix("RegisterTaskDefinition containerDefinitions environment value"),
			HaveSuffix("RunTask overrides containerOverrides environment value"),
		))
		By("finding them nowhere else")
		Eventually(w.told(ctx, crashes)).Should(ContainElement(v1alpha1.ReasonCrashed))
		told := w.everythingTold(ctx, logs, spans)
		Expect(slices.Sorted(maps.Keys(told))).To(Equal([]string{
			"*v1alpha1.AMI", "*v1alpha1.Instance", "*v1alpha1.Mandelbox", "*v1alpha1.Region", "core events", "events", "logs", "metrics", "traces",
		}))
		for where, text := range told {
			for line := range strings.Lines(text) {
				if strings.Contains(line, canary) {
					Fail(fmt.Sprintf("the %s have a secret: %s", where, line))
				}
			}
		}
		Expect(told["logs"]).To(ContainSubstring("crashes"))
		Expect(told["events"]).To(ContainSubstring(v1alpha1.ReasonCrashed))
		Expect(told["metrics"]).To(ContainSubstring("mandelbox_sessions_finished_total"))
		Expect(told["traces"]).To(ContainSubstring("start session"))
	})
})
