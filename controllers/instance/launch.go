// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// launch asks for the host unless EC2 has it: by an intent that was written
// before, or a new one. What is observed first decides, so that a restart finds
// the hosts of calls whose answers were lost.
func (r *Reconciler) launch(ctx context.Context, s *scope) error {
	i := s.instance
	if !toBeLaunched(s) {
		return nil
	}
	observer := s.cloud.Observer()
	if catalog := observer.Catalog(); !observer.Synced() || !catalog.Ready || len(catalog.Subnets) == 0 {
		s.after(lookAgain)
		return nil
	}
	var busy bool
	if s.refusal, busy = r.Launcher.Last(i.UID); busy {
		return nil
	}
	if launch := i.Status.Launch; launch != nil {
		// The answer may have come after the host was looked for.
		if _, presence := observer.Host(launch.Token, launch.Index); presence == cloud.Present {
			return r.observe(ctx, s)
		}
	}
	plan, next := r.plan(s)
	if next > 0 {
		if s.refusal == nil || cloud.KindOf(s.refusal.err) == cloud.KindCapacity {
			s.refusal = &refusal{err: &cloud.Error{Op: "RunInstances", Kind: cloud.KindCapacity, Err: fmt.Errorf(
				"no zone of the region had any of %s to give; trying again", strings.Join(i.Spec.InstanceTypes, ", "))}}
		}
		s.after(next)
		return nil
	}
	if s.refusal != nil && s.refusal.until.After(s.now) {
		s.after(s.refusal.until.Sub(s.now))
		return nil
	}
	s.order = &order{cloud: s.cloud, plan: plan, crowd: r.crowd(s)}
	return nil
}

// youngHost is how old a host is at most that its region's last decision is taken to
// have asked for.
const youngHost = time.Minute

// crowd is how many hosts are asked for together with this one: those of its intent,
// or of the decision that made it.
func (r *Reconciler) crowd(s *scope) int {
	i := s.instance
	if i.Status.Launch != nil && !r.Launcher.Refused(i) {
		return int(i.Status.Launch.Count)
	}
	decision := s.region.Status.Decision
	if decision == nil || !metav1.IsControlledBy(i, s.region) || s.now.Sub(i.CreationTimestamp.Time) > youngHost {
		return 0
	}
	for _, launch := range decision.Launches {
		if launch.AMIName == i.Spec.AMIName && launch.Revision == i.Spec.Revision {
			return int(launch.Count)
		}
	}
	return 0
}

// toBeLaunched says whether the host isn't there yet and is to be. In a region that
// is switched off only what was asked for before is.
func toBeLaunched(s *scope) bool {
	i := s.instance
	if s.adopting || s.cloud == nil || s.region == nil || i.Leaving() || i.Status.InstanceID != "" || s.presence == cloud.Present {
		return false
	}
	return s.region.Enabled() || i.Status.Launch != nil
}

// plan chooses type and subnet, and says what is launched; or how long to wait
// until a type that was not to be had is tried again.
func (r *Reconciler) plan(s *scope) (plan, time.Duration) {
	i, region, catalog := s.instance, s.region, s.cloud.Observer().Catalog()
	pick, wait := r.Launcher.choose(i, catalog.Subnets, region.Spec.PurchaseOption == v1alpha1.PurchaseSpot, s.now)
	if wait > 0 {
		return plan{}, wait
	}
	launch := cloud.Launch{
		ImageID: i.Spec.ImageID, InstanceType: pick.instanceType, SubnetID: pick.subnet,
		SecurityGroups:           catalog.SecurityGroups,
		AssociatePublicIPAddress: region.Spec.AssociatePublicIPAddress,
		InstanceProfile:          region.Spec.InstanceProfile,
		BlockDevices:             blockDevices(region.Spec.BlockDevices),
		UserData:                 userData(s),
		Spot:                     pick.spot,
		Tags:                     r.tags(s),
	}
	if template := region.Spec.LaunchTemplate; template != nil {
		launch.LaunchTemplate, launch.LaunchTemplateVersion = template.Name, template.Version
	}
	sum := sha256.Sum256([]byte(launch.UserData))
	return plan{launch: launch, hash: hashOf(launch), userDataHash: hex.EncodeToString(sum[:])}, 0
}

// hashOf tells launches apart. Printing a struct of plain values is stable, and
// maps are printed in the order of their keys.
func hashOf(launch cloud.Launch) string {
	public := "default"
	if launch.AssociatePublicIPAddress != nil {
		public = strconv.FormatBool(*launch.AssociatePublicIPAddress)
	}
	launch.AssociatePublicIPAddress = nil
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %+v", public, launch))
	return hex.EncodeToString(sum[:])
}

// userData is what the host runs when it boots. The attributes are those that the
// ECS container instance then carries.
func userData(s *scope) string {
	gpu := v1alpha1.GPUShared
	if s.row != nil {
		gpu = s.row.GPU
	}
	return cloud.UserData(string(s.region.Spec.UserDataFormat), s.cloud.Target().ECSCluster, map[string]string{
		cloud.TagAMI:       s.instance.Spec.AMIName,
		cloud.TagRevision:  s.instance.Spec.Revision,
		cloud.AttributeGPU: string(gpu),
	}, s.region.Spec.UserData)
}

// tags are put on the host by the call that launches it; the launcher adds the token.
func (r *Reconciler) tags(s *scope) map[string]string {
	tags := map[string]string{}
	for _, tag := range s.region.Spec.Tags {
		tags[tag.Key] = ptr.Deref(tag.Value, "")
	}
	maps.Copy(tags, map[string]string{
		"Name":            "mandelbox " + s.instance.Spec.AMIName,
		cloud.TagCluster:  r.ClusterID,
		cloud.TagRegion:   s.instance.Spec.RegionName,
		cloud.TagAMI:      s.instance.Spec.AMIName,
		cloud.TagRevision: s.instance.Spec.Revision,
	})
	return tags
}

func blockDevices(devices []v1alpha1.BlockDevice) []cloud.BlockDevice {
	var out []cloud.BlockDevice
	for _, d := range devices {
		out = append(out, cloud.BlockDevice{
			DeviceName: d.DeviceName, SizeGiB: d.SizeGiB, VolumeType: d.VolumeType, IOPS: d.IOPS,
			Encrypted: ptr.Deref(d.Encrypted, true),
		})
	}
	return out
}

// compareNames orders names that end in a number by that number.
func compareNames(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
