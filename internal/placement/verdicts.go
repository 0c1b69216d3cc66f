// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"fmt"
	"strings"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// namedRegions is how many regions a message names before it counts the rest.
const namedRegions = 5

func assigned(host string, slot int32, key Key) Verdict {
	return Verdict{
		Assigned: true,
		Host:     host,
		Slot:     slot,
		Key:      key,
		Reason:   v1alpha1.ReasonAssigned,
		Message:  fmt.Sprintf("Holds slot %d of Instance %s in %s.", slot, host, key.Region),
	}
}

func regionNotEnabled(req Request, cat Catalog) Verdict {
	found := make([]string, 0, len(req.Regions))
	for _, name := range req.Regions {
		if cat[name].Exists {
			found = append(found, name+" is disabled")
		} else {
			found = append(found, name+" does not exist")
		}
	}
	return Verdict{
		Reason: v1alpha1.ReasonRegionNotEnabled,
		Message: fmt.Sprintf("None of the requested regions is enabled: %s. Waits until one of them exists with spec.enabled true.",
			list(found)),
	}
}

func noInstanceAvailable(waitsFor Key, regions []string) Verdict {
	return Verdict{
		Reason:   v1alpha1.ReasonNoInstanceAvailable,
		WaitsFor: waitsFor,
		Message: fmt.Sprintf("No host of channel %s has room in %s. Waits for a slot in %s: "+
			"more hosts are launched there unless the Region is at spec.capacity.maxInstances.",
			waitsFor.AMI, list(regions), waitsFor.Region),
	}
}

func channelNotFound(req Request, regions []string) Verdict {
	return Verdict{
		Reason: v1alpha1.ReasonChannelNotFound,
		Message: fmt.Sprintf("AMI %s has no active release in %s. Waits until it exists, names one of these regions and is rolled out there.",
			req.AMIName, list(regions)),
	}
}

func commitHashSuperseded(req Request) Verdict {
	return Verdict{
		Terminal: true,
		Reason:   v1alpha1.ReasonCommitHashMismatch,
		Message: fmt.Sprintf("Commit hash %s was replaced by a newer release in %s. Update the client and ask again.",
			req.ClientCommitHash, list(req.Regions)),
	}
}

func commitHashMismatch(req Request, region string) Verdict {
	return Verdict{
		Reason: v1alpha1.ReasonCommitHashMismatch,
		Message: fmt.Sprintf("There is room in %s, but only on hosts of another commit hash than %s. "+
			"Waits until an AMI offers that hash; otherwise use a client of a release that is active.",
			region, req.ClientCommitHash),
	}
}

func commitHashUnknown(req Request, regions []string) Verdict {
	return Verdict{
		Reason: v1alpha1.ReasonCommitHashUnknown,
		Message: fmt.Sprintf("No AMI offers commit hash %s in %s. Waits until one does; check that the release was applied for these regions.",
			req.ClientCommitHash, list(regions)),
	}
}

// list names the first few of the names and counts the others.
func list(names []string) string {
	if len(names) <= namedRegions {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namedRegions], ", "), len(names)-namedRegions)
}
