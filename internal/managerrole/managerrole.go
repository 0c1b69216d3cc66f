// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package managerrole has a local AWS hold the manager to the policy that its role has
// in a real one, wherever one is started: for tests, the demo, soaks and crash tests.
// What these do on their own behalf they do with awsemu.RootAccessKey.
package managerrole

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mandelbox/mandelbox-operator/config/aws"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// HostProfile is an instance profile that exists wherever a manager is held to its
// policy, with a role that it may give to hosts.
const HostProfile = "hosts"

// Of returns the role of the manager of a cluster, under config/aws/iam-policy.json.
// Of the profiles it may give each to hosts, too.
func Of(clusterID string, profiles ...string) (*awsemu.IAM, error) {
	return of(aws.Policy, clusterID, profiles...)
}

// anyCluster puts the names of any ECS cluster in place of mandelbox.
var anyCluster = strings.NewReplacer(
	":cluster/mandelbox", ":cluster/*",
	":container-instance/mandelbox/", ":container-instance/*/",
	":task/mandelbox/", ":task/*/",
)

// InAnyCluster is Of for a manager whose Regions have ECS clusters of several names,
// which its policy then has, too.
func InAnyCluster(clusterID string) (*awsemu.IAM, error) {
	return of([]byte(anyCluster.Replace(string(aws.Policy))), clusterID)
}

func of(policy []byte, clusterID string, profiles ...string) (*awsemu.IAM, error) {
	principal := Principal(clusterID)
	for _, profile := range profiles {
		principal.InstanceProfiles[profile] = aws.HostRolePath[1:] + profile
	}
	role, err := awsemu.NewIAM(policy, principal)
	if err != nil {
		return nil, fmt.Errorf("reading the policy of the manager's role: %w", err)
	}
	return role, nil
}

// Principal is who the manager of a cluster is: a role that is tagged as
// config/aws/cloudformation.yaml tags it.
func Principal(clusterID string) awsemu.IAMPrincipal {
	return awsemu.IAMPrincipal{
		Tags:             map[string]string{cloud.TagCluster: clusterID},
		InstanceProfiles: map[string]string{HostProfile: aws.HostRolePath[1:] + HostProfile},
	}
}

// NetworkTags are those of the network that hosts may be launched into.
func NetworkTags() map[string]string {
	return map[string]string{aws.NetworkTag: aws.NetworkValue}
}

// Verify returns an error that names every call that the policy did not allow.
func Verify(role *awsemu.IAM) error {
	var errs []error
	for _, denial := range role.Denials() {
		errs = append(errs, fmt.Errorf("the policy of the manager's role does not allow %s", denial))
	}
	return errors.Join(errs...)
}
