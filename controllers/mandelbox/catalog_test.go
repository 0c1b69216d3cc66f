// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// channel is the AMI of the tests in a version, with an active release and, unless
// empty, the one that it replaced.
func channel(version, active, replaced string) *v1alpha1.AMI {
	ami := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: "stable", UID: "stable", ResourceVersion: version},
		Status:     v1alpha1.AMIStatus{ActiveRevision: active},
	}
	for name, state := range map[string]v1alpha1.RevisionState{active: v1alpha1.RevisionActive, replaced: v1alpha1.RevisionRetiring} {
		if name != "" {
			ami.Status.Revisions = append(ami.Status.Revisions, v1alpha1.Revision{
				Name: name, ClientCommitHash: "hash-" + name, State: state,
				Regions: []v1alpha1.RevisionRegion{{Region: "east", ID: name}},
			})
		}
	}
	return ami
}

func eastern() *v1alpha1.Region {
	return &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: "east"},
		Spec:       v1alpha1.RegionSpec{Enabled: ptr.To(true)},
	}
}

// A release that this manager has swapped to counts at once, whatever the cache says.
func TestSessionsGoToTheReleaseThatWasJustWritten(t *testing.T) {
	a := newTestAssigner(t, "known")
	ctx := context.Background()
	behind := channel("", "r1", "")
	for _, err := range []error{a.Client.Create(ctx, eastern()), a.Client.Create(ctx, behind)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	next := host("h2", 4)
	next.Spec.Revision, next.Spec.ClientCommitHash = "r2", "hash-r2"
	a.observe(host("h1", 4))
	a.observe(next)
	a.Released(channel("1000", "r2", "r1"))
	m := session("known", "box", "1")
	m.Spec.ClientCommitHash, m.Spec.AMIName = "", "stable"
	a.Offer(m)
	expectGiven(t, a, false, map[string][]string{"h2": {"box"}})
}

func TestReleasedIsOnlyEverAhead(t *testing.T) {
	other := channel("7", "r3", "")
	other.UID = "made again"
	for _, tt := range []struct {
		name   string
		ours   []*v1alpha1.AMI
		cached []v1alpha1.AMI
		want   string // The active revision that counts; empty if there is no such AMI.
		left   int    // How many are remembered after that.
	}{
		{"nothing written", nil, []v1alpha1.AMI{*channel("3", "r1", "")}, "r1", 0},
		{"the cache is behind", []*v1alpha1.AMI{channel("5", "r2", "r1")}, []v1alpha1.AMI{*channel("3", "r1", "")}, "r2", 1},
		{"the cache has it", []*v1alpha1.AMI{channel("5", "r2", "r1")}, []v1alpha1.AMI{*channel("5", "r2", "r1")}, "r2", 0},
		{"the cache is ahead", []*v1alpha1.AMI{channel("5", "r2", "r1")}, []v1alpha1.AMI{*channel("10", "r3", "r2")}, "r3", 0},
		{"it is gone", []*v1alpha1.AMI{channel("5", "r2", "r1")}, nil, "", 0},
		{"it was made again", []*v1alpha1.AMI{channel("9", "r2", "r1")}, []v1alpha1.AMI{*other}, "r3", 0},
		{"told out of order", []*v1alpha1.AMI{channel("10", "r2", "r1"), channel("9", "r1", "")},
			[]v1alpha1.AMI{*channel("3", "r1", "")}, "r2", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAssigner()
			for _, ours := range tt.ours {
				a.Released(ours)
			}
			got := ""
			for _, ami := range a.released.newest(tt.cached) {
				got = ami.Status.ActiveRevision
			}
			if got != tt.want || len(a.released) != tt.left {
				t.Errorf("%q counts and %d are remembered, want %q and %d", got, len(a.released), tt.want, tt.left)
			}
		})
	}
}
