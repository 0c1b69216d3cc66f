// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// nameQuota adds to EC2's refusal which quota of the account is used up, since EC2
// doesn't say. Other errors stay as they are.
func nameQuota(err error, launch cloud.Launch) error {
	refused, ok := errors.AsType[*cloud.Error](err)
	if !ok || refused.Code != "VcpuLimitExceeded" && refused.Code != "MaxSpotInstanceCountExceeded" {
		return err
	}
	named := *refused
	named.Err = fmt.Errorf("%w; raise the quota %q in Service Quotas, or name other instance types",
		refused.Err, quotaOf(launch.InstanceType, launch.Spot))
	return &named
}

// quotaOf is the name of the quota, in vCPUs, that running hosts of a type count
// against. See https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
// and https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-limits.html.
func quotaOf(instanceType string, spot bool) string {
	families, p5 := quotaFamilies(instanceType)
	switch {
	case !spot:
		return "Running On-Demand " + families + " instances"
	case families == "P" && !p5:
		return "All P4, P3 and P2 Spot Instance Requests"
	case families == "P":
		return "All P5 Spot Instance Requests"
	}
	return "All " + families + " Spot Instance Requests"
}

// quotaFamilies are the families that share a quota with an instance type, which
// begins with the letters of its own and the number of its generation.
func quotaFamilies(instanceType string) (families string, fifthGeneration bool) {
	digit := max(0, strings.IndexAny(instanceType, "0123456789-."))
	fifthGeneration = strings.HasPrefix(instanceType[digit:], "5")
	switch family := instanceType[:digit]; family {
	case "g", "gr", "vt":
		return "G and VT", fifthGeneration
	case "f", "p", "x", "dl", "hpc":
		return strings.ToUpper(family), fifthGeneration
	case "inf", "trn":
		return strings.ToUpper(family[:1]) + family[1:], fifthGeneration
	case "u":
		return "High Memory", fifthGeneration
	}
	return "Standard (A, C, D, H, I, M, R, T, Z)", fifthGeneration
}
