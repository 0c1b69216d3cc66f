// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Revision returns the revision of that name, or nil.
func (a *AMI) Revision(name string) *Revision {
	for i := range a.Status.Revisions {
		if a.Status.Revisions[i].Name == name {
			return &a.Status.Revisions[i]
		}
	}
	return nil
}

// ActiveRevisionIn returns the revision that new Mandelboxes of the channel get in
// a region, or nil. A region that a rollout has swapped on its own goes before the
// channel as a whole.
func (a *AMI) ActiveRevisionIn(region string) *Revision {
	for i := range a.Status.Regions {
		if own := &a.Status.Regions[i]; own.Region == region && own.ActiveRevision != "" {
			return a.Revision(own.ActiveRevision)
		}
	}
	return a.Revision(a.Status.ActiveRevision)
}

// ActiveRow returns what new Mandelboxes of the channel get in a region: the row
// of the active revision, or nil if the channel isn't offered there (yet).
func (a *AMI) ActiveRow(region string) *RevisionRegion {
	active := a.ActiveRevisionIn(region)
	if active == nil {
		return nil
	}
	return active.Row(region)
}

// Swapped returns the revisions that regions have swapped to on their own, by region.
func (a *AMI) Swapped() map[string]string {
	swapped := map[string]string{}
	for i := range a.Status.Regions {
		if own := &a.Status.Regions[i]; own.ActiveRevision != "" {
			swapped[own.Region] = own.ActiveRevision
		}
	}
	return swapped
}

// Superseded says whether a revision has served in a region, and another does so now.
func (a *AMI) Superseded(revision *Revision, region string) bool {
	active := a.ActiveRevisionIn(region)
	if active != nil && active.Name == revision.Name {
		return false
	}
	return revision.State == RevisionRetiring || revision.State == RevisionActive
}

// RowByID returns the row with that id in a region, of whichever revision, or nil.
func (a *AMI) RowByID(region, id string) *RevisionRegion {
	for i := range a.Status.Revisions {
		if row := a.Status.Revisions[i].Row(region); row != nil && row.ID == id {
			return row
		}
	}
	return nil
}

// Row returns the revision's row in a region, or nil.
func (r *Revision) Row(region string) *RevisionRegion {
	for i := range r.Regions {
		if r.Regions[i].Region == region {
			return &r.Regions[i]
		}
	}
	return nil
}

// Image returns the spec's image in a region, or nil.
func (a *AMI) Image(region string) *RegionImage {
	for i := range a.Spec.Images {
		if a.Spec.Images[i].Region == region {
			return &a.Spec.Images[i]
		}
	}
	return nil
}

// Suspended says whether a rollout of the channel must stand still.
func (a *AMI) Suspended() bool { return a.Spec.Suspend != nil && *a.Spec.Suspend }
