// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// twoRegions is the scope of a channel in east and west, which rolls out region by
// region; swapped says which regions have left the active revision on their own.
func twoRegions(active string, swapped map[string]string, revisions ...v1alpha1.Revision) *scope {
	for i := range revisions {
		west := revisions[i].Regions[0]
		west.Region = "west"
		revisions[i].Regions = append(revisions[i].Regions, west)
	}
	s := world(active, nil, revisions...)
	s.ami.Spec = *spec(func(s *v1alpha1.AMISpec) { s.Rollout.Strategy = v1alpha1.RolloutPerRegion })
	s.regions["west"] = s.regions["east"]
	for _, region := range []string{"east", "west"} {
		s.ami.Status.Regions = append(s.ami.Status.Regions, v1alpha1.AMIRegionStatus{Region: region, ActiveRevision: swapped[region]})
	}
	s.before = s.ami.DeepCopy()
	return s
}

// has gives a release so many free slots in a region.
func (s *scope) has(region, id string, free int32) *scope {
	s.counts[census.Release{Region: region, AMI: s.ami.Name, Revision: id}] = census.Count{Free: free, Open: 1}
	return s
}

func TestActivateRegionByRegion(t *testing.T) {
	active, warming, retiring := v1alpha1.RevisionActive, v1alpha1.RevisionWarming, v1alpha1.RevisionRetiring
	old, next := revision("a", active, time.Hour), revision("b", warming, time.Minute)
	type result struct {
		Active  string
		Swapped map[string]string
		States  map[string]v1alpha1.RevisionState
	}
	for name, test := range map[string]struct {
		of     *scope
		wanted string
		want   result
	}{
		"none has its buffer": {twoRegions("a", nil, *old.DeepCopy(), *next.DeepCopy()), "b",
			result{"a", nil, map[string]v1alpha1.RevisionState{"a": active, "b": warming}}},
		"one has: it swaps alone": {twoRegions("a", nil, *old.DeepCopy(), *next.DeepCopy()).has("east", "b", 8), "b",
			result{"a", map[string]string{"east": "b"}, map[string]v1alpha1.RevisionState{"a": active, "b": warming}}},
		"one that has swapped stays so, whatever it has free": {
			twoRegions("a", map[string]string{"east": "b"}, *old.DeepCopy(), *next.DeepCopy()).has("east", "b", 0), "b",
			result{"a", map[string]string{"east": "b"}, map[string]v1alpha1.RevisionState{"a": active, "b": warming}}},
		"the last one: the channel swaps": {
			twoRegions("a", map[string]string{"east": "b"}, *old.DeepCopy(), *next.DeepCopy()).has("west", "b", 8), "b",
			result{"b", nil, map[string]v1alpha1.RevisionState{"a": retiring, "b": active}}},
		"too late: those that swapped stay": {
			twoRegions("a", map[string]string{"east": "b"}, *old.DeepCopy(), revision("b", warming, time.Hour)), "b",
			result{"a", map[string]string{"east": "b"}, map[string]v1alpha1.RevisionState{"a": active, "b": v1alpha1.RevisionFailed}}},
		"the way back has its buffer": {
			twoRegions("a", map[string]string{"east": "b"}, revision("a", warming, time.Minute), revision("b", retiring, 0)).has("east", "a", 8), "a",
			result{"a", nil, map[string]v1alpha1.RevisionState{"a": active, "b": retiring}}},
		"the way back is never given up": {
			twoRegions("a", map[string]string{"east": "b"}, revision("a", warming, time.Hour), revision("b", retiring, 0)), "a",
			result{"a", map[string]string{"east": "b"}, map[string]v1alpha1.RevisionState{"a": warming, "b": retiring}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.of
			s.wanted = test.wanted
			if err := (&Reconciler{}).activate(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			got := result{s.ami.Status.ActiveRevision, s.ami.Swapped(), states(s)}
			if test.want.Swapped == nil {
				test.want.Swapped = map[string]string{}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanRevisionsOfSwappedRegions(t *testing.T) {
	active, warming := v1alpha1.RevisionActive, v1alpha1.RevisionWarming
	failed, retiring := v1alpha1.RevisionFailed, v1alpha1.RevisionRetiring
	wanted := named(t, spec()).Name
	inEast := map[string]string{"east": "b"}
	for name, test := range map[string]struct {
		of     *scope
		want   map[string]v1alpha1.RevisionState
		behind bool
	}{
		"reverted to the active one, which takes its regions back": {
			of:   twoRegions(wanted, inEast, revision(wanted, active, 0), revision("b", warming, 0)),
			want: map[string]v1alpha1.RevisionState{wanted: warming, "b": retiring},
		},
		"on to a third while the active one took its regions back": {
			of:   twoRegions("a", inEast, revision("a", warming, 0), revision("b", retiring, 0)),
			want: map[string]v1alpha1.RevisionState{"a": active, "b": retiring, wanted: warming},
		},
		"a release that serves somewhere is not dropped for a fourth": {
			of: twoRegions("a", inEast, revision("a", active, 0), revision("b", retiring, time.Hour), revision("c", warming, 0)),
			want: map[string]v1alpha1.RevisionState{
				"a": active, "b": retiring, wanted: warming,
			},
		},
		"a fourth waits where three serve": {
			of: twoRegions("a", map[string]string{"east": "b", "west": "c"},
				revision("a", active, time.Hour), revision("b", retiring, time.Minute), revision("c", warming, 0)),
			want:   map[string]v1alpha1.RevisionState{"a": active, "b": retiring, "c": warming},
			behind: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (&Reconciler{}).planRevisions(t.Context(), test.of); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, states(test.of)); diff != "" || test.of.behind != test.behind {
				t.Errorf("behind: %t (-want +got):\n%s", test.of.behind, diff)
			}
		})
	}

	t.Run("a failure is tried again once the spec was changed", func(t *testing.T) {
		s := world("a", nil, revision("a", active, 0), revision(named(t, spec(func(s *v1alpha1.AMISpec) { s.Images = s.Images[:1] })).Name, failed, 0))
		s.before.Status.ObservedGeneration = ptr.To[int64](1)
		if err := (&Reconciler{}).planRevisions(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := s.ami.Revision(s.wanted).State; got != warming {
			t.Errorf("its state is %s", got)
		}
	})
}

func TestLacks(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*scope)
		lacks  string // Empty for nothing.
	}{
		"nothing with eight free": {func(*scope) {}, ""},
		"room for those that wait for the old release": {func(s *scope) {
			place := s.regions["east"]
			place.pending = map[placement.Key]int32{{Region: "east", AMI: s.ami.Name, Revision: "a"}: 9}
			s.regions["east"] = place
		}, "8 of 9 slots"},
		"the room that a schedule asks for": {func(s *scope) {
			s.regions["east"].region.Spec.Capacity.Schedules = []v1alpha1.Schedule{{
				Cron: "* * * * *", Duration: metav1.Duration{Duration: time.Minute}, DesiredFreeMandelboxes: ptr.To[int32](10),
			}}
		}, "8 of 10 slots"},
		"certainty that hosts which were let go a moment ago are held": {func(s *scope) {
			s.ami.Revision("b").Time = metav1.NewTime(s.now)
			s.hosts = []v1alpha1.Instance{hostSince("east", "b", s.now.Add(-time.Minute))}
		}, "counted once more"},
		"no such certainty of hosts that were made for it": {func(s *scope) {
			s.ami.Revision("b").Time = metav1.NewTime(s.now)
			s.hosts = []v1alpha1.Instance{hostSince("east", "b", s.now), hostSince("west", "b", s.now.Add(-time.Minute)), hostSince("east", "a", s.now.Add(-time.Minute))}
		}, ""},
		"hosts that become active": {func(s *scope) { s.regions["east"].region.Status.Launches = neverActive("b") }, "4 of its last 4 hosts never became Active"},
	} {
		t.Run(name, func(t *testing.T) {
			s := world("a", nil, revision("a", v1alpha1.RevisionActive, 0), revision("b", v1alpha1.RevisionWarming, time.Minute)).has("east", "b", 8)
			test.change(s)
			got := s.lacks(s.ami.Revision("b"), &s.ami.Revision("b").Regions[0])
			if (got == "") != (test.lacks == "") || !strings.Contains(got, test.lacks) {
				t.Errorf("lacks %q, want %q", got, test.lacks)
			}
		})
	}
}

// hostSince is a host of a revision that was made at a time.
func hostSince(region, revision string, created time.Time) v1alpha1.Instance {
	return v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)},
		Spec:       v1alpha1.InstanceSpec{RegionName: region, AMIName: "stable", Revision: revision},
	}
}

// neverActive is the record of a release of which no host ever became Active.
func neverActive(id string) []v1alpha1.LaunchRecord {
	record := v1alpha1.LaunchRecord{AMIName: "stable", Revision: id}
	for _, name := range []string{"w", "x", "y", "z"} {
		record.Outcomes = append(record.Outcomes, v1alpha1.LaunchOutcome{Instance: name, Active: ptr.To(false)})
	}
	return []v1alpha1.LaunchRecord{record}
}

func TestReleaseThatNeverBecomesActiveFails(t *testing.T) {
	s := world("a", nil, revision("a", v1alpha1.RevisionActive, 0), revision("b", v1alpha1.RevisionWarming, 0))
	s.wanted = "b"
	s.regions["east"].region.Status.Launches = neverActive("b")
	if err := (&Reconciler{}).activate(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	reason, message := s.failure()
	if s.ami.Revision("b").State != v1alpha1.RevisionFailed || reason != v1alpha1.ReasonRolloutFailed || !strings.Contains(message, "in east 4 of its last 4") {
		t.Errorf("it is %s: %s: %s", s.ami.Revision("b").State, reason, message)
	}
}

func TestProgressLine(t *testing.T) {
	old, next := revision("a", v1alpha1.RevisionActive, 0), revision("b", v1alpha1.RevisionWarming, 0)
	for name, test := range map[string]struct {
		of     *scope
		wanted string
		want   string
	}{
		"done":        {twoRegions("a", nil, *old.DeepCopy()), "a", "east done, west done"},
		"on its way":  {twoRegions("a", nil, *old.DeepCopy(), *next.DeepCopy()).has("east", "b", 3), "b", "east 3/8 warm, west 0/8 warm"},
		"one swapped": {twoRegions("a", map[string]string{"east": "b"}, *old.DeepCopy(), *next.DeepCopy()), "b", "east done, west 0/8 warm"},
		"failed":      {twoRegions("a", nil, *old.DeepCopy(), revision("b", v1alpha1.RevisionFailed, 0)), "b", "east failed, west failed"},
		"unknown":     {twoRegions("a", nil, *old.DeepCopy()), "", "east waiting, west waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			test.of.wanted = test.wanted
			if got := test.of.progressLine(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
