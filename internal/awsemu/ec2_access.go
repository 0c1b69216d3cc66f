// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu/iam"
)

// ec2ARN names a resource of EC2 in this region. Images and snapshots have no account.
func (r *region) ec2ARN(kind, id string) string {
	account := r.account
	if kind == "image" || kind == "snapshot" {
		account = ""
	}
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", r.name, account, kind, id)
}

// accessInstances is what it takes to do something to the instances named. One that
// isn't there has no tags, so that a policy that asks for some doesn't allow it: EC2
// then says UnauthorizedOperation, and not that there is no such instance. See
// https://github.com/aws/karpenter-provider-aws/issues/2100
func accessInstances(c *call) ([]access, error) {
	var needs []access
	for _, id := range c.list("InstanceId") {
		var tags map[string]string
		if i := c.region.ec2.instances[id]; i != nil {
			tags = i.tags
		}
		needs = append(needs, access{
			action: "ec2:" + c.operation.name, resource: c.region.ec2ARN("instance", id), context: resourceTags(iam.Context{}, tags),
		})
	}
	return needs, nil
}

// ec2Kinds are the kinds of resources by what their ids begin with.
var ec2Kinds = map[string]string{
	"i": "instance", "subnet": "subnet", "sg": "security-group", "ami": "image", "sir": "spot-instances-request", "lt": "launch-template",
}

// accessTags is what it takes to tag resources that are there.
func accessTags(c *call) ([]access, error) {
	tags, err := c.params().tags("Tag")
	if err != nil {
		return nil, err
	}
	var needs []access
	for _, id := range c.list("ResourceId") {
		prefix, _, _ := strings.Cut(id, "-")
		have, _ := c.region.tagsOf(id) // What isn't there has no tags.
		needs = append(needs, access{
			action: "ec2:" + c.operation.name, resource: c.region.ec2ARN(ec2Kinds[prefix], id),
			context: requestTags(resourceTags(iam.Context{}, have), tags),
		})
	}
	return needs, nil
}

// accessLaunch is what RunInstances takes: it on everything that is made and used, the
// tags of what is made, the role of the hosts and that of spot requests. See
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html#iam-example-runinstances
func accessLaunch(c *call) ([]access, error) {
	p, err := c.readLaunch()
	if err != nil {
		return nil, err
	}
	needs := append(c.accessUsed(p), c.accessMade(p)...)
	if p.profile != "" {
		role, err := c.roleOf(p.profile)
		if err != nil {
			return nil, err
		}
		needs = append(needs, passRole(role, "ec2.amazonaws.com"))
	}
	if p.spot {
		needs = append(needs, c.linkedRole("spot.amazonaws.com", "AWSServiceRoleForEC2Spot", &apiError{
			Code: "AuthFailure.ServiceLinkedRoleCreationNotPermitted", Status: http.StatusForbidden,
			Message: "The provided credentials do not have permission to create the service-linked role for EC2 Spot Instances.",
		})...)
	}
	return needs, nil
}

// accessUsed is to launch from what is there.
func (c *call) accessUsed(p *launchParameters) []access {
	var needs []access
	use := func(kind, id string, tags map[string]string) {
		needs = append(needs, access{
			action: "ec2:RunInstances", resource: c.region.ec2ARN(kind, id), context: resourceTags(iam.Context{}, tags),
		})
	}
	use("image", p.image.id, p.image.tags)
	for _, sn := range p.subnets {
		use("subnet", sn.id, sn.tags)
	}
	for _, g := range p.groups {
		use("security-group", g.id, g.tags)
	}
	if p.template != nil {
		use("launch-template", p.template.id, p.template.tags)
	}
	if p.keyName != "" {
		use("key-pair", p.keyName, nil)
	}
	for _, d := range p.devices {
		if d.snapshotID != "" && d.asked {
			use("snapshot", d.snapshotID, nil)
		}
	}
	return needs
}

// accessMade is to make what a launch makes, and to tag it.
func (c *call) accessMade(p *launchParameters) []access {
	instance := iam.Context{
		"ec2:InstanceType": {p.typ.name}, "ec2:MetadataHttpTokens": {p.metadata.tokens}, "ec2:InstanceMarketType": {"on-demand"},
	}
	if p.spot {
		instance["ec2:InstanceMarketType"] = []string{"spot"}
	}
	if p.profile != "" {
		instance["ec2:InstanceProfile"] = []string{p.profile}
	}
	made := map[string]iam.Context{"instance": instance, "network-interface": {}}
	if len(p.devices) > 0 {
		made["volume"] = iam.Context{}
	}
	if p.spot {
		made["spot-instances-request"] = iam.Context{}
	}
	var needs []access
	for _, kind := range slices.Sorted(maps.Keys(made)) {
		tags := p.tagsOf[kind]
		needs = append(needs, access{
			action: "ec2:RunInstances", resource: c.region.ec2ARN(kind, "*"), context: requestTags(made[kind], tags),
		})
		if len(tags) > 0 {
			needs = append(needs, access{
				action: "ec2:CreateTags", resource: c.region.ec2ARN(kind, "*"),
				context: requestTags(iam.Context{"ec2:CreateAction": {"RunInstances"}}, tags),
			})
		}
	}
	return needs
}

// roleOf is the role in an instance profile.
func (c *call) roleOf(profile string) (string, error) {
	_, name, _ := strings.Cut(profile, ":instance-profile/")
	role := name
	if profiles := c.region.srv.iam.principal.InstanceProfiles; len(profiles) > 0 {
		var known bool
		if role, known = profiles[name]; !known {
			return "", refuse("InvalidParameterValue",
				"Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", name)
		}
	}
	return "arn:aws:iam::" + c.region.account + ":role/" + role, nil
}
