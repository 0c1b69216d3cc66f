// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// shortageMemory is how long a type that a zone didn't have isn't asked for there.
const shortageMemory = 3 * time.Minute

// launch asks for the host unless EC2 has it: by an intent that was written
// before, or a new one. What is observed first decides, so that a restart finds
// the hosts of calls whose answers were lost.
func (r *Reconciler) launch(_ context.Context, s *scope) error {
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
	s.order = &order{cloud: s.cloud, plan: plan}
	return nil
}

// toBeLaunched says whether the host isn't there yet and is to be. In a region that
// is switched off only what was asked for before is.
func toBeLaunched(s *scope) bool {
	i := s.instance
	if s.cloud == nil || s.region == nil || i.Leaving() || i.Status.InstanceID != "" || s.presence == cloud.Present {
		return false
	}
	return s.region.Enabled() || i.Status.Launch != nil
}

// plan chooses type and subnet, and says what is launched; or how long to wait
// until a type that was not to be had is tried again.
func (r *Reconciler) plan(s *scope) (plan, time.Duration) {
	i, region, catalog := s.instance, s.region, s.cloud.Observer().Catalog()
	instanceType, subnet, wait := r.Launcher.choose(i, catalog.Subnets, s.now)
	if wait > 0 {
		return plan{}, wait
	}
	launch := cloud.Launch{
		ImageID: i.Spec.ImageID, InstanceType: instanceType, SubnetID: subnet,
		SecurityGroups:           catalog.SecurityGroups,
		AssociatePublicIPAddress: region.Spec.AssociatePublicIPAddress,
		InstanceProfile:          region.Spec.InstanceProfile,
		BlockDevices:             blockDevices(region.Spec.BlockDevices),
		UserData:                 userData(s),
		Spot:                     region.Spec.PurchaseOption == v1alpha1.PurchaseSpot,
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

// shortage remembers which type was not to be had where, and since when.
type shortage map[shortagePlace]time.Time

type shortagePlace struct{ instanceType, subnet string }

func (s shortage) note(launch cloud.Launch, now time.Time) {
	s[shortagePlace{launch.InstanceType, launch.SubnetID}] = now
}

// choose takes the first type, in order of preference, that some subnet has; hosts
// are spread over the subnets by the number in their names. A type and subnet that
// an intent was written for stay as they are until they are refused.
func (l *Launcher) choose(i *v1alpha1.Instance, subnets []cloud.Subnet, now time.Time) (instanceType, subnet string, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i.Status.Launch != nil && !l.refused(i) {
		return i.Status.InstanceType, i.Status.SubnetID, 0
	}
	subnets = slices.SortedFunc(slices.Values(subnets), func(a, b cloud.Subnet) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ID, b.ID))
	})
	start := spread(i.Name) % len(subnets)
	for _, instanceType := range i.Spec.InstanceTypes {
		for n := range subnets {
			at := shortagePlace{instanceType, subnets[(start+n)%len(subnets)].ID}
			left := l.shortage[at].Add(shortageMemory).Sub(now)
			if left <= 0 {
				return at.instanceType, at.subnet, 0
			}
			if wait == 0 || left < wait {
				wait = left
			}
		}
	}
	return "", "", wait
}

// spread is the number that an Instance's name ends in, or a hash of a name that
// ends in none.
func spread(name string) int {
	digits := name[strings.LastIndexByte(name, '-')+1:]
	if n, err := strconv.Atoi(digits); err == nil && n >= 0 {
		return n
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // A hash never fails to be written to.
	return int(h.Sum32() & 0x7fffffff)
}

// compareNames orders names that end in a number by that number.
func compareNames(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
