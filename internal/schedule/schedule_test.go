// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/schedule"
)

func peak(name, cron, zone string, lasts time.Duration, free int32) v1alpha1.Schedule {
	return v1alpha1.Schedule{
		Name: name, Cron: cron, TimeZone: zone, Duration: metav1.Duration{Duration: lasts}, DesiredFreeMandelboxes: ptr.To(free),
	}
}

func at(value string) time.Time {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		panic(err)
	}
	return t
}

func TestAt(t *testing.T) {
	morning := peak("morning", "0 9 * * MON-FRI", "", 2*time.Hour, 50)
	noon := peak("noon", "30 10 * * *", "", time.Hour, 30)
	paris := peak("paris", "0 9 * * *", "Europe/Paris", time.Hour, 10)
	often := peak("often", "*/10 * * * *", "", time.Hour, 5)
	night := peak("night", "0 23 * * *", "", 3*time.Hour, 7)
	for name, test := range map[string]struct {
		schedules []v1alpha1.Schedule
		now       string
		want      schedule.Force
	}{
		"none": {now: "2026-11-23T09:00:00Z"},
		"a moment before it begins": {[]v1alpha1.Schedule{morning}, "2026-11-23T08:59:59Z",
			schedule.Force{Next: at("2026-11-23T09:00:00Z")}},
		"as it begins": {[]v1alpha1.Schedule{morning}, "2026-11-23T09:00:00Z",
			schedule.Force{DesiredFree: 50, Names: []string{"morning"}, Next: at("2026-11-23T11:00:00Z")}},
		"a moment before it ends": {[]v1alpha1.Schedule{morning}, "2026-11-23T10:59:59Z",
			schedule.Force{DesiredFree: 50, Names: []string{"morning"}, Next: at("2026-11-23T11:00:00Z")}},
		"as it ends": {[]v1alpha1.Schedule{morning}, "2026-11-23T11:00:00Z",
			schedule.Force{Next: at("2026-11-24T09:00:00Z")}},
		"over the weekend": {[]v1alpha1.Schedule{morning}, "2026-11-27T11:00:00Z",
			schedule.Force{Next: at("2026-11-30T09:00:00Z")}},
		"the greatest of two, until the first ends": {[]v1alpha1.Schedule{noon, morning}, "2026-11-23T10:45:00Z",
			schedule.Force{DesiredFree: 50, Names: []string{"morning", "noon"}, Next: at("2026-11-23T11:00:00Z")}},
		"the end of one before the beginning of another": {[]v1alpha1.Schedule{morning, paris}, "2026-11-23T08:30:00Z",
			schedule.Force{DesiredFree: 10, Names: []string{"paris"}, Next: at("2026-11-23T09:00:00Z")}},
		"by the clock of its place, in summer": {[]v1alpha1.Schedule{paris}, "2026-07-01T07:00:00Z",
			schedule.Force{DesiredFree: 10, Names: []string{"paris"}, Next: at("2026-07-01T08:00:00Z")}},
		"beginning again before it ends": {[]v1alpha1.Schedule{often}, "2026-11-23T09:05:00Z",
			schedule.Force{DesiredFree: 5, Names: []string{"often"}, Next: at("2026-11-23T09:10:00Z")}},
		"over midnight": {[]v1alpha1.Schedule{night}, "2026-11-24T01:00:00Z",
			schedule.Force{DesiredFree: 7, Names: []string{"night"}, Next: at("2026-11-24T02:00:00Z")}},
		"one that can't be read asks for nothing": {[]v1alpha1.Schedule{peak("bad", "61 * * * *", "", time.Hour, 99)}, "2026-11-23T09:00:00Z",
			schedule.Force{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := schedule.At(test.schedules, at(test.now))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		cron, zone string
		wrong      string // Empty if nothing is.
	}{
		"every field":                {"0-30/10 7,8 1 JAN MON", "America/New_York", ""},
		"UTC by default":             {"0 9 * * *", "", ""},
		"a minute too many":          {"60 9 * * *", "", "60"},
		"a field too few":            {"0 9 * *", "", "0 9 * *"},
		"a name for a day":           {"@daily", "", "@daily"},
		"a day that never comes":     {"0 9 30 2 *", "", "fits no day"},
		"a zone that isn't one":      {"0 9 * * *", "Europe/Atlantis", "Europe/Atlantis"},
		"the zone of the machine":    {"0 9 * * *", "Local", "Local"},
		"a zone in front of another": {"TZ=UTC 9 * * *", "", "TZ=UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			s := peak("peak", test.cron, test.zone, time.Hour, 1)
			err := schedule.Check(&s)
			if (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("got %v, want an error with %q", err, test.wrong)
			}
		})
	}
}
