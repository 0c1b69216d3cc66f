// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schedule says when a Region's schedules are in force. It is pure: it
// reads no clock, and the time zones that it knows are in the binary.
package schedule

import (
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // The operator's image has no time zones of its own.

	"github.com/robfig/cron/v3"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// fields are the five of crontab(5); names such as "@daily" are not among them.
var fields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Check says what is wrong with the cron expression, or the time zone, of a
// schedule; nil if it can be read. An expression that no day ever fits, such as
// the 30th of February, is wrong.
func Check(s *v1alpha1.Schedule) error {
	_, err := parse(s)
	return err
}

// Force is what the schedules of a region ask for at one moment.
type Force struct {
	// DesiredFree is the greatest number of slots that one in force asks for; 0 if
	// none is in force.
	DesiredFree int32
	// Names are those in force, in order.
	Names []string
	// Next is when this may change; zero if it never does.
	Next time.Time
}

// At returns what the schedules ask for at a time. One that can't be read asks for
// nothing; Check says why.
func At(schedules []v1alpha1.Schedule, now time.Time) Force {
	var force Force
	for i := range schedules {
		s := &schedules[i]
		times, err := parse(s)
		if err != nil {
			continue
		}
		// Next looks for a time after the one it is given, so that a peak is in force
		// from its beginning until just before its end.
		begin := times.Next(now.Add(-s.Duration.Duration))
		boundary := begin
		if !begin.IsZero() && !begin.After(now) {
			force.DesiredFree = max(force.DesiredFree, ptr.Deref(s.DesiredFreeMandelboxes, 0))
			force.Names = append(force.Names, s.Name)
			boundary = begin.Add(s.Duration.Duration)
		}
		if !boundary.IsZero() && (force.Next.IsZero() || boundary.Before(force.Next)) {
			force.Next = boundary
		}
	}
	slices.Sort(force.Names)
	return force
}

// inZone reads a cron expression in a time zone.
type inZone struct {
	times cron.Schedule
	zone  *time.Location
}

func (z inZone) Next(after time.Time) time.Time { return z.times.Next(after.In(z.zone)) }

func parse(s *v1alpha1.Schedule) (inZone, error) {
	name := s.TimeZone
	if name == "" {
		name = "UTC"
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return inZone{}, fmt.Errorf("timeZone %q is not in the IANA time zone database, e.g. \"Europe/Paris\"", s.TimeZone)
	}
	times, err := fields.Parse(s.Cron)
	if err != nil {
		return inZone{}, fmt.Errorf("cron %q is not an expression of minute, hour, day of month, month and day of week: %w", s.Cron, err)
	}
	if times.Next(time.Unix(0, 0).In(zone)).IsZero() {
		return inZone{}, fmt.Errorf("cron %q fits no day of any year", s.Cron)
	}
	return inZone{times: times, zone: zone}, nil
}
