// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

var now = time.Unix(10_000, 0)

func spec(changes ...func(*v1alpha1.AMISpec)) *v1alpha1.AMISpec {
	s := &v1alpha1.AMISpec{
		ClientCommitHash: "abcdef0",
		Images:           []v1alpha1.RegionImage{{Region: "east", ImageID: "ami-1"}, {Region: "west", ImageID: "ami-2"}},
		Task:             v1alpha1.TaskTemplate{Image: "box:1", CPU: 1024, MemoryMiB: 2048, GPU: v1alpha1.GPUShared},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func named(t *testing.T, s *v1alpha1.AMISpec) v1alpha1.Revision {
	t.Helper()
	revision, err := revisionOf(s)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestRevisionNames(t *testing.T) {
	base := named(t, spec())
	for name, test := range map[string]struct {
		change func(*v1alpha1.AMISpec)
		// east and west say whether the rows keep their ids.
		revision, east, west bool
	}{
		"nothing":             {func(*v1alpha1.AMISpec) {}, true, true, true},
		"the order of images": {func(s *v1alpha1.AMISpec) { s.Images[0], s.Images[1] = s.Images[1], s.Images[0] }, true, true, true},
		"how much is kept free": {
			func(s *v1alpha1.AMISpec) { s.Images[0].DesiredFreeMandelboxes = ptr.To[int32](1) }, true, true, true,
		},
		"how it rolls out": {func(s *v1alpha1.AMISpec) { s.Rollout.BufferTimeout = &metav1.Duration{Duration: 1} }, true, true, true},
		"one image":        {func(s *v1alpha1.AMISpec) { s.Images[0].ImageID = "ami-3" }, false, false, true},
		"one container image": {
			func(s *v1alpha1.AMISpec) { s.Images[1].ContainerImage = "west/box:1" }, false, true, false,
		},
		"the commit hash": {func(s *v1alpha1.AMISpec) { s.ClientCommitHash = "abcdef1" }, false, false, false},
		"the task":        {func(s *v1alpha1.AMISpec) { s.Task.MemoryMiB++ }, false, false, false},
		"a region less":   {func(s *v1alpha1.AMISpec) { s.Images = s.Images[:1] }, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			changed := named(t, spec(test.change))
			if got := changed.Name == base.Name; got != test.revision {
				t.Errorf("the revision is the same: %t", got)
			}
			for region, same := range map[string]bool{"east": test.east, "west": test.west} {
				row := changed.Row(region)
				if got := row != nil && row.ID == base.Row(region).ID; got != same {
					t.Errorf("the row in %s is the same: %t", region, got)
				}
			}
		})
	}
	// A name that changes with the operator's version would roll out everything.
	if base.Name != "5a39f603aa" || base.Regions[0].ID != "7aad7ca964" {
		t.Errorf("the names of unchanged content changed: %s, %s", base.Name, base.Regions[0].ID)
	}
}

func TestTaskDefinition(t *testing.T) {
	r := &Reconciler{ClusterID: "c1"}
	ami := &v1alpha1.AMI{ObjectMeta: metav1.ObjectMeta{Name: "stable.v2"}, Spec: *spec(func(s *v1alpha1.AMISpec) {
		s.Images[0].ContainerImage = "east/box:1"
		s.Task.GPU = v1alpha1.GPUExclusive
		s.Task.Ports = []v1alpha1.TaskPort{{Name: "web", ContainerPort: 80, Protocol: v1alpha1.ProtocolTCP}}
		s.Task.Env = []v1alpha1.EnvVar{{Name: "A", Value: ptr.To("b")}, {Name: "EMPTY"}}
		s.Task.HealthCheck = &v1alpha1.TaskHealthCheck{Command: []string{"true"}, IntervalSeconds: 30, TimeoutSeconds: 5, Retries: 3}
		s.Task.Logging = &v1alpha1.TaskLogging{Driver: "awslogs", Options: []v1alpha1.LogOption{{Name: "awslogs-group", Value: "g"}}}
	})}
	region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: v1alpha1.RegionSpec{
		Tags: []v1alpha1.Tag{{Key: "team", Value: ptr.To("boxes")}},
	}}
	row := named(t, &ami.Spec).Regions[0]
	got := r.taskDefinition(ami, &row, effectiveTask(&ami.Spec, &ami.Spec.Images[0]), region)
	want := cloud.TaskDefinition{
		Family: "mandelbox-stable_v2-" + row.ID, ContainerName: "mandelbox", Image: "east/box:1",
		Resources:   cloud.Resources{CPU: 1024, MemoryMiB: 2048, GPUs: 1},
		Ports:       []cloud.Port{{ContainerPort: 80, Protocol: "tcp"}},
		Env:         map[string]string{"A": "b", "EMPTY": ""},
		HealthCheck: &cloud.HealthCheck{Command: []string{"true"}, Interval: 30, Timeout: 5, Retries: 3},
		LogDriver:   "awslogs", LogOptions: map[string]string{"awslogs-group": "g"},
		Tags: map[string]string{
			"team": "boxes", cloud.TagCluster: "c1", cloud.TagRegion: "east", cloud.TagAMI: "stable.v2", cloud.TagRevision: row.ID,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ptr.Deref(row.Resources.GPUs, 0) != 1 || !ptr.Deref(row.HealthCheck, false) {
		t.Errorf("the row says %+v", row)
	}
}

// revision makes one in east whose row has the same id as its name.
func revision(name string, state v1alpha1.RevisionState, age time.Duration) v1alpha1.Revision {
	return v1alpha1.Revision{
		Name: name, ClientCommitHash: "abcdef0", State: state, Time: metav1.NewTime(now.Add(-age)),
		Regions: []v1alpha1.RevisionRegion{{Region: "east", ID: name, ImageID: "ami-1", TaskDefinition: "arn"}},
	}
}

// world is the scope of a channel in one region, with hosts by their revision.
func world(active string, hosts map[string]census.Count, revisions ...v1alpha1.Revision) *scope {
	ami := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: "stable", Generation: 2},
		Spec:       *spec(func(s *v1alpha1.AMISpec) { s.Images = s.Images[:1] }),
		Status:     v1alpha1.AMIStatus{ObservedGeneration: ptr.To[int64](2), ActiveRevision: active, Revisions: revisions},
	}
	s := &scope{
		before: ami.DeepCopy(), ami: ami, now: now,
		counts:  map[census.Release]census.Count{},
		waiting: map[string]string{},
		regions: map[string]place{"east": {region: &v1alpha1.Region{
			ObjectMeta: metav1.ObjectMeta{Name: "east"},
			Spec:       v1alpha1.RegionSpec{Capacity: v1alpha1.Capacity{DesiredFreeMandelboxes: ptr.To[int32](8)}},
		}}},
	}
	for id, count := range hosts {
		s.counts[census.Release{Region: "east", AMI: "stable", Revision: id}] = count
	}
	return s
}

func states(s *scope) map[string]v1alpha1.RevisionState {
	states := map[string]v1alpha1.RevisionState{}
	for _, r := range s.ami.Status.Revisions {
		states[r.Name] = r.State
	}
	return states
}

func TestPlanRevisions(t *testing.T) {
	wanted := named(t, spec(func(s *v1alpha1.AMISpec) { s.Images = s.Images[:1] })).Name
	const (
		active, warming  = v1alpha1.RevisionActive, v1alpha1.RevisionWarming
		failed, retiring = v1alpha1.RevisionFailed, v1alpha1.RevisionRetiring
	)
	busy := map[string]census.Count{"b": {Existing: 1}}
	for name, test := range map[string]struct {
		of   *scope
		want map[string]v1alpha1.RevisionState
	}{
		"the first":       {world("", nil), map[string]v1alpha1.RevisionState{wanted: warming}},
		"nothing changed": {world(wanted, nil, revision(wanted, active, 0)), map[string]v1alpha1.RevisionState{wanted: active}},
		"another": {
			world("a", nil, revision("a", active, 0)), map[string]v1alpha1.RevisionState{"a": active, wanted: warming},
		},
		"another before the last was warm": {
			world("a", nil, revision("a", active, 0), revision("b", warming, 0)),
			map[string]v1alpha1.RevisionState{"a": active, "b": retiring, wanted: warming},
		},
		"back to the active one": {
			world(wanted, nil, revision(wanted, active, 0), revision("b", warming, 0), revision("c", failed, 0)),
			map[string]v1alpha1.RevisionState{wanted: active, "b": retiring, "c": retiring},
		},
		"back to a replaced one": {
			world("a", nil, revision(wanted, retiring, time.Hour), revision("a", active, 0)),
			map[string]v1alpha1.RevisionState{wanted: warming, "a": active},
		},
		"what failed stays so": {
			world("a", nil, revision("a", active, 0), revision(wanted, failed, 0)),
			map[string]v1alpha1.RevisionState{"a": active, wanted: failed},
		},
		"a fourth drops the oldest": {
			world("a", nil, revision("b", retiring, 2*time.Hour), revision("c", retiring, time.Hour), revision("a", active, 9*time.Hour)),
			map[string]v1alpha1.RevisionState{"c": retiring, "a": active, wanted: warming},
		},
		"a fourth drops one without hosts first": {
			world("a", busy, revision("b", retiring, 2*time.Hour), revision("c", retiring, time.Hour), revision("a", active, 0)),
			map[string]v1alpha1.RevisionState{"b": retiring, "a": active, wanted: warming},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (&Reconciler{}).planRevisions(t.Context(), test.of); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, states(test.of)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestActivate(t *testing.T) {
	active, warming := v1alpha1.RevisionActive, v1alpha1.RevisionWarming
	old := revision("a", active, time.Hour)
	for name, test := range map[string]struct {
		of      *scope
		change  func(*scope)
		want    string
		state   v1alpha1.RevisionState
		waits   bool
		lookIn  time.Duration
		retired bool
	}{
		"the first at once": {of: world("", nil, revision("b", warming, 0)), want: "b", state: active},
		"the first not before it is registered": {
			of: world("", nil, revision("b", warming, time.Hour)), change: func(s *scope) { s.waiting["east"] = "no region" },
			state: warming, waits: true,
		},
		"no buffer yet": {
			of:   world("a", map[string]census.Count{"b": {Free: 7}}, old, revision("b", warming, 5*time.Minute)),
			want: "a", state: warming, waits: true, lookIn: 10 * time.Minute,
		},
		"a buffer": {
			of:   world("a", map[string]census.Count{"b": {Free: 8}}, old, revision("b", warming, time.Minute)),
			want: "b", state: active, retired: true,
		},
		"a smaller one than before": {
			of:   world("a", map[string]census.Count{"a": {Free: 10}, "b": {Free: 8}}, old, revision("b", warming, 5*time.Minute)),
			want: "a", state: warming, waits: true, lookIn: 10 * time.Minute,
		},
		"too late": {
			of:   world("a", nil, old, revision("b", warming, 15*time.Minute)),
			want: "a", state: v1alpha1.RevisionFailed, waits: true,
		},
		"a region that is switched off": {
			of:     world("a", nil, old, revision("b", warming, 0)),
			change: func(s *scope) { s.regions["east"].region.Spec.Enabled = ptr.To(false) },
			want:   "b", state: active, retired: true,
		},
		"a region that the release doesn't change": {
			of:     world("a", nil, old, revision("b", warming, 0)),
			change: func(s *scope) { s.ami.Revision("b").Regions[0].ID = "a" },
			want:   "b", state: active, retired: true,
		},
		"suspended": {
			of:     world("a", map[string]census.Count{"b": {Free: 8}}, old, revision("b", warming, time.Hour)),
			change: func(s *scope) { s.ami.Spec.Suspend = ptr.To(true) },
			want:   "a", state: warming,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.of
			s.wanted = "b"
			if test.change != nil {
				test.change(s)
			}
			if err := (&Reconciler{}).activate(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if got := s.ami.Status.ActiveRevision; got != test.want {
				t.Errorf("active is %q, want %q", got, test.want)
			}
			if got := s.ami.Revision("b").State; got != test.state {
				t.Errorf("its state is %s, want %s", got, test.state)
			}
			if retired := states(s)["a"] == v1alpha1.RevisionRetiring; retired != test.retired {
				t.Errorf("the one before retired: %t", retired)
			}
			if (len(s.waiting) > 0) != test.waits || s.lookAgain != test.lookIn {
				t.Errorf("waits for %v, looks again in %s", s.waiting, s.lookAgain)
			}
		})
	}
}

func TestComputeStatus(t *testing.T) {
	active, warming := v1alpha1.RevisionActive, v1alpha1.RevisionWarming
	open := map[string]census.Count{"a": {Open: 1, Free: 8}}
	for name, test := range map[string]struct {
		of                      *scope
		wanted                  string
		verdict                 trouble.Verdict
		suspended               bool
		ready, rolledOut, extra string
		isReady, isRolledOut    bool
	}{
		"nothing yet":          {of: world("", nil), ready: "RollingOut", rolledOut: "RollingOut", extra: "Reconciling"},
		"active without hosts": {of: world("a", nil, revision("a", active, 0)), wanted: "a", ready: "Progressing", rolledOut: "RolledOut", isRolledOut: true, extra: "Reconciling"},
		"active":               {of: world("a", open, revision("a", active, 0)), wanted: "a", ready: "Ready", rolledOut: "RolledOut", isReady: true, isRolledOut: true},
		"rolling out": {
			of:     world("a", open, revision("a", active, 0), revision("b", warming, 0)),
			wanted: "b", ready: "Ready", isReady: true, rolledOut: "RollingOut", extra: "Reconciling",
		},
		"failed": {
			of:     world("a", open, revision("a", active, 0), revision("b", v1alpha1.RevisionFailed, 0)),
			wanted: "b", ready: "Ready", isReady: true, rolledOut: "BufferTimeout", extra: "Stalled",
		},
		"suspended": {
			of: world("a", open, revision("a", active, 0)), suspended: true,
			wanted: "b", ready: "Suspended", isReady: true, rolledOut: "Suspended",
		},
		"suspended before the first": {
			of: world("", nil), suspended: true,
			wanted: "b", ready: "Suspended", rolledOut: "Suspended", extra: "Reconciling",
		},
		"its hash is taken": {
			of: world("", nil), verdict: trouble.Verdict{Stalled: true, Reason: "CommitHashTaken"},
			ready: "CommitHashTaken", rolledOut: "CommitHashTaken", extra: "Stalled",
		},
		"throttled while it serves": {
			of: world("a", open, revision("a", active, 0)), wanted: "a", verdict: trouble.Verdict{Reason: "Throttled"},
			ready: "Ready", isReady: true, rolledOut: "Throttled", isRolledOut: true, extra: "Reconciling",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.of.wanted = test.wanted
			test.of.ami.Spec.Suspend = ptr.To(test.suspended)
			test.of.computeStatus(test.verdict)
			conditions := test.of.ami.Status.Conditions
			for conditionType, want := range map[string]metav1.Condition{
				"Ready": {Reason: test.ready, Status: conditionStatus(test.isReady)}, "RolledOut": {Reason: test.rolledOut, Status: conditionStatus(test.isRolledOut)},
			} {
				got := meta.FindStatusCondition(conditions, conditionType)
				if got == nil || got.Reason != want.Reason || got.Status != want.Status {
					t.Errorf("%s is %+v, want %s, %s", conditionType, got, want.Status, want.Reason)
				}
			}
			for _, extra := range []string{"Reconciling", "Stalled"} {
				if got := meta.IsStatusConditionTrue(conditions, extra); got != (extra == test.extra) {
					t.Errorf("%s is %t", extra, got)
				}
			}
		})
	}
}

func conditionStatus(is bool) metav1.ConditionStatus {
	if is {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

func TestOwnCommitHash(t *testing.T) {
	channel := func(name string, created int64, regions ...string) v1alpha1.AMI {
		ami := v1alpha1.AMI{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(created, 0))},
			Spec:       v1alpha1.AMISpec{ClientCommitHash: "abcdef0"},
		}
		for _, region := range regions {
			ami.Spec.Images = append(ami.Spec.Images, v1alpha1.RegionImage{Region: region})
		}
		return ami
	}
	moved := channel("moved", 1, "east")
	moved.Spec.ClientCommitHash = "abcdef1"
	moved.Status.Revisions = []v1alpha1.Revision{revision("a", v1alpha1.RevisionActive, 0)}
	gone := moved
	gone.Status.Revisions = []v1alpha1.Revision{revision("a", v1alpha1.RevisionRetiring, 0)}
	deleted := channel("deleted", 1, "east")
	deleted.DeletionTimestamp = &metav1.Time{Time: now}
	for name, test := range map[string]struct {
		other v1alpha1.AMI
		taken bool
	}{
		"an older one":                       {channel("z", 1, "west", "east"), true},
		"a younger one":                      {channel("a", 3, "east"), false},
		"one as old, before it by name":      {channel("a", 2, "east"), true},
		"one as old, after it by name":       {channel("z", 2, "east"), false},
		"an older one elsewhere":             {channel("a", 1, "west"), false},
		"an older one that still serves it":  {moved, true},
		"an older one that has moved on":     {gone, false},
		"an older one that is being deleted": {deleted, false},
	} {
		t.Run(name, func(t *testing.T) {
			ami := channel("m", 2, "east")
			err := (&Reconciler{}).ownCommitHash(t.Context(), &scope{ami: &ami, others: []v1alpha1.AMI{test.other}})
			if (err != nil) != test.taken {
				t.Errorf("got %v", err)
			}
		})
	}
}
