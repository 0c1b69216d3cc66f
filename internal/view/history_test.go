// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

func TestHistoryIsInTheOrderOfTime(t *testing.T) {
	ada := on("h", 0, v1alpha1.MandelboxRunning, "ada")
	ada.Status.Conditions[0].LastTransitionTime = ago(40 * time.Second)
	h := host("h", "east", 1, ada)
	h.Status.LaunchedTime, h.Status.ActiveTime = ptr.To(ago(9*time.Minute)), ptr.To(ago(8*time.Minute))
	h.Status.Conditions = nil
	about := func(kind, namespace, name string) corev1.ObjectReference {
		return corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name}
	}
	events := []corev1.Event{
		{InvolvedObject: about("Mandelbox", "team", "ada"), Type: "Normal", Reason: "NoInstanceAvailable", Message: "no room", EventTime: metav1.NewMicroTime(now.Add(-55 * time.Second))},
		{InvolvedObject: about("Instance", "", "h"), Type: "Warning", Reason: "Throttled", Count: 3, LastTimestamp: ago(8*time.Minute + 30*time.Second)},
		{InvolvedObject: about("Instance", "", "h"), Type: "Warning", Reason: "Unresponsive", EventTime: metav1.NewMicroTime(now.Add(-time.Hour)),
			Series: &corev1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(now.Add(-time.Second))}},
	}
	var got []string
	for _, e := range History([]metav1.Object{ada, &h}, events) {
		got = append(got, fmt.Sprintf("%v %s %s %s x%d", now.Sub(e.Time), e.Object, e.Source, e.Reason, e.Count))
	}
	want := []string{
		"10m0s Instance h Status Created x1",
		"9m0s Instance h Status Launched x1",
		"8m30s Instance h Warning Throttled x3",
		"8m0s Instance h Status Active x1",
		"1m0s Mandelbox team/ada Status Created x1",
		"55s Mandelbox team/ada Normal NoInstanceAvailable x1",
		"50s Mandelbox team/ada Status Assigned x1",
		"40s Mandelbox team/ada Status Finished=False x1",
		"40s Mandelbox team/ada Status Running x1",
		"1s Instance h Warning Unresponsive x2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestSessionsAreShownWithTheirAddress(t *testing.T) {
	running := on("h", 2, v1alpha1.MandelboxRunning, "ada")
	running.Status.IP, running.Status.Region = "3.18.0.2", "east"
	running.Status.Ports = []v1alpha1.PortBinding{{Name: "webrtc", HostPort: 32768}}
	got := Sessions(mandelboxes(waiting("zoe", time.Minute, "east"), running))
	want := []Session{
		{Namespace: "team", Name: "ada", User: "ada", SessionID: "ada", Wants: "stable", Phase: "Running", Reason: "Running", Message: "the session is running",
			Region: "east", Instance: "h", Slot: ptr.To[int32](2), Address: "3.18.0.2:32768", Created: now.Add(-time.Minute)},
		{Namespace: "team", Name: "zoe", User: "zoe", SessionID: "zoe", Wants: "stable", Phase: "Pending", Reason: v1alpha1.ReasonNoInstanceAvailable,
			Message: "no room", Created: now.Add(-time.Minute)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
}
