// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	// idLength is how many hexadecimal digits of a hash name a revision.
	idLength = 10
	// maxRevisions is how many revisions the status has room for.
	maxRevisions = 3
	// containerName is the container of an inline task.
	containerName = "mandelbox"
)

// revisionOf is the revision that a spec asks for, with nothing registered yet.
func revisionOf(spec *v1alpha1.AMISpec) (v1alpha1.Revision, error) {
	revision := v1alpha1.Revision{ClientCommitHash: spec.ClientCommitHash}
	images := slices.SortedFunc(slices.Values(spec.Images), func(a, b v1alpha1.RegionImage) int {
		return strings.Compare(a.Region, b.Region)
	})
	parts := []any{spec.ClientCommitHash}
	for i := range images {
		task := effectiveTask(spec, &images[i])
		id, err := hash(spec.ClientCommitHash, images[i].ImageID, task)
		if err != nil {
			return revision, fmt.Errorf("naming the revision in %s: %w", images[i].Region, err)
		}
		parts = append(parts, images[i].Region, id)
		revision.Regions = append(revision.Regions, newRow(images[i], id, task))
	}
	name, err := hash(parts...)
	if err != nil {
		return revision, fmt.Errorf("naming the revision: %w", err)
	}
	revision.Name = name
	return revision, nil
}

// effectiveTask is the task with the container image that a region asks for.
func effectiveTask(spec *v1alpha1.AMISpec, image *v1alpha1.RegionImage) *v1alpha1.TaskTemplate {
	task := spec.Task.DeepCopy()
	if image.ContainerImage != "" && task.FamilyRevision == "" {
		task.Image = image.ContainerImage
	}
	return task
}

// newRow is a row of which only the task definition, and what an existing one
// says of itself, isn't known yet.
func newRow(image v1alpha1.RegionImage, id string, task *v1alpha1.TaskTemplate) v1alpha1.RevisionRegion {
	row := v1alpha1.RevisionRegion{Region: image.Region, ID: id, ImageID: image.ImageID, GPU: gpuMode(task)}
	if task.FamilyRevision != "" {
		return row
	}
	row.ContainerName = containerName
	row.Resources = v1alpha1.TaskResources{
		CPU: ptr.To(task.CPU), MemoryMiB: ptr.To(task.MemoryMiB), GPUs: ptr.To(pinnedGPUs(task)),
	}
	row.HealthCheck = ptr.To(task.HealthCheck != nil)
	row.Ports = task.Ports
	return row
}

func gpuMode(task *v1alpha1.TaskTemplate) v1alpha1.GPUMode {
	if task.GPU == "" {
		return v1alpha1.GPUShared
	}
	return task.GPU
}

// pinnedGPUs is how many GPUs ECS pins to a task: it pins whole ones to one
// container, so that sharing needs none pinned.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-gpu.html.
func pinnedGPUs(task *v1alpha1.TaskTemplate) int32 {
	if task.GPU == v1alpha1.GPUExclusive {
		return 1
	}
	return 0
}

// hash names content. Fields that are not set are left out of the encoding, so
// that a field which a later version adds changes no name.
func hash(content ...any) (string, error) {
	encoded, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])[:idLength], nil
}

// planRevisions has the status hold the revision that the spec asks for: the
// active one as it is, any other as Warming unless it has failed since the spec
// was last changed. Other revisions that were warming are retired: the spec has
// moved on from them.
func (r *Reconciler) planRevisions(_ context.Context, s *scope) error {
	revision, err := revisionOf(&s.ami.Spec)
	if err != nil {
		return err
	}
	s.wanted = revision.Name
	if s.ami.Suspended() && s.ami.Status.ActiveRevision != s.wanted {
		return nil
	}
	if s.ami.Revision(s.wanted) == nil && !s.hasRoom() {
		s.wanted, s.behind = s.newest().Name, true
	}
	for i := range s.ami.Status.Revisions {
		other := &s.ami.Status.Revisions[i]
		moved := other.State == v1alpha1.RevisionWarming || other.State == v1alpha1.RevisionFailed
		if other.Name == s.wanted || !moved {
			continue
		}
		if other.Name == s.ami.Status.ActiveRevision {
			// It was to take back the regions that had swapped, and still serves the others.
			s.become(other, v1alpha1.RevisionActive)
			continue
		}
		s.become(other, v1alpha1.RevisionRetiring)
	}
	known := s.ami.Revision(s.wanted)
	if known == nil {
		s.adopt(&revision)
		s.ami.Status.Revisions = append(s.room(), revision)
		return nil
	}
	s.resume(known)
	return nil
}

// resume has a known revision warm again where it must: one that was replaced, one
// that failed before the spec was changed, and the active one if regions have left
// it on their own.
func (s *scope) resume(known *v1alpha1.Revision) {
	changed := ptr.Deref(s.before.Status.ObservedGeneration, -1) != s.ami.Generation
	switch {
	case known.State == v1alpha1.RevisionRetiring,
		known.State == v1alpha1.RevisionFailed && changed,
		known.State == v1alpha1.RevisionActive && len(s.ami.Swapped()) > 0:
		s.become(known, v1alpha1.RevisionWarming)
	case known.State == v1alpha1.RevisionWarming && wasSuspended(s.before):
		// The time that it stood still doesn't count against its timeout.
		known.Time = metav1.NewTime(s.now)
	}
}

// become puts a revision into a state.
func (s *scope) become(revision *v1alpha1.Revision, state v1alpha1.RevisionState) {
	revision.State = state
	revision.Time = metav1.NewTime(s.now)
}

// adopt starts a new revision, with the rows of a known one where they are the same.
func (s *scope) adopt(revision *v1alpha1.Revision) {
	s.become(revision, v1alpha1.RevisionWarming)
	for i := range revision.Regions {
		row := &revision.Regions[i]
		if known := s.ami.RowByID(row.Region, row.ID); known != nil {
			*row = *known.DeepCopy()
		}
	}
}

// serves says whether a revision is the active one, somewhere or everywhere.
func (s *scope) serves(revision *v1alpha1.Revision) bool {
	return revision.Name == s.ami.Status.ActiveRevision ||
		slices.Contains(slices.Collect(maps.Values(s.ami.Swapped())), revision.Name)
}

// hasRoom says whether the status has, or can make, room for one more revision.
func (s *scope) hasRoom() bool {
	serving := 0
	for i := range s.ami.Status.Revisions {
		if s.serves(&s.ami.Status.Revisions[i]) {
			serving++
		}
	}
	return serving < maxRevisions
}

// newest is the last revision that began to roll out.
func (s *scope) newest() *v1alpha1.Revision {
	var newest *v1alpha1.Revision
	for i := range s.ami.Status.Revisions {
		revision := &s.ami.Status.Revisions[i]
		if revision.Name != s.ami.Status.ActiveRevision && (newest == nil || newest.Time.Before(&revision.Time)) {
			newest = revision
		}
	}
	return newest
}

// room returns the revisions with room for one more: if it must, it drops one
// that serves nowhere, rather one without hosts, rather an older. There must be
// one to drop.
func (s *scope) room() []v1alpha1.Revision {
	revisions := s.ami.Status.Revisions
	for len(revisions) >= maxRevisions {
		drop := -1
		for i := range revisions {
			if !s.serves(&revisions[i]) && (drop < 0 || s.goesFirst(&revisions[i], &revisions[drop])) {
				drop = i
			}
		}
		revisions = slices.Delete(slices.Clone(revisions), drop, drop+1)
	}
	return revisions
}

func (s *scope) goesFirst(a, b *v1alpha1.Revision) bool {
	if busyA, busyB := s.hostsOf(a) > 0, s.hostsOf(b) > 0; busyA != busyB {
		return busyB
	}
	return a.Time.Before(&b.Time)
}
