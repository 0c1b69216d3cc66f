// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"encoding/base64"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// findTries and findPause bound how long the hosts of a launch that happened
	// are looked for: they may not be visible for a few seconds.
	findTries = 5
	findPause = 500 * time.Millisecond
	// metadataHops lets a container on the bridge network reach the instance
	// metadata service.
	// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-IMDS-new-instances.html.
	metadataHops = 2
)

// LaunchHosts launches hosts in one call. EC2 answers the same token and
// parameters with the same hosts. The same token with other parameters proves
// that the launch happened: its hosts are found by the token and returned.
// See https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html.
func (c *client) LaunchHosts(ctx context.Context, launch cloud.Launch) ([]cloud.Host, error) {
	const op = "RunInstances"
	out, err := c.ec2.RunInstances(ctx, runInstancesInput(launch))
	if err != nil {
		err = wrap(op, err)
		if cloud.KindOf(err) == cloud.KindConflict {
			return c.findLaunch(ctx, launch.Token, err)
		}
		return nil, err
	}
	hosts := make([]cloud.Host, 0, len(out.Instances))
	for i := range out.Instances {
		h := host(&out.Instances[i])
		if len(h.Tags) == 0 {
			h.Tags = maps.Clone(launch.Tags)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// findLaunch looks for the hosts of a launch that happened, and returns the given
// error if they don't show.
func (c *client) findLaunch(ctx context.Context, token string, mismatch error) ([]cloud.Host, error) {
	pause := findPause
	for range findTries {
		hosts, err := c.HostsOfLaunch(ctx, token)
		if err != nil {
			return nil, err
		}
		if len(hosts) > 0 {
			return hosts, nil
		}
		select {
		case <-ctx.Done():
			return nil, mismatch
		case <-time.After(pause/2 + rand.N(pause)):
			pause *= 2
		}
	}
	return nil, mismatch
}

func runInstancesInput(l cloud.Launch) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ClientToken: awssdk.String(l.Token),
		// One is better than none: what is missing is launched under another token.
		MinCount:     awssdk.Int32(1),
		MaxCount:     awssdk.Int32(l.Count),
		ImageId:      optional(l.ImageID),
		InstanceType: types.InstanceType(l.InstanceType),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpEndpoint:            types.InstanceMetadataEndpointStateEnabled,
			HttpTokens:              types.HttpTokensStateRequired,
			HttpPutResponseHopLimit: awssdk.Int32(metadataHops),
		},
		// A host that shuts itself down is not to be paid for any longer.
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		BlockDeviceMappings:               blockDevices(l.BlockDevices),
	}
	if l.UserData != "" {
		in.UserData = awssdk.String(base64.StdEncoding.EncodeToString([]byte(l.UserData)))
	}
	if l.InstanceProfile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: awssdk.String(l.InstanceProfile)}
	}
	if l.LaunchTemplate != "" {
		in.LaunchTemplate = &types.LaunchTemplateSpecification{
			LaunchTemplateName: awssdk.String(l.LaunchTemplate),
			Version:            optional(l.LaunchTemplateVersion),
		}
	}
	if l.Spot {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{
			MarketType: types.MarketTypeSpot,
			SpotOptions: &types.SpotMarketOptions{
				SpotInstanceType:             types.SpotInstanceTypeOneTime,
				InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
			},
		}
	}
	setNetwork(in, l)
	in.TagSpecifications = tagSpecifications(l)
	return in
}

// setNetwork puts subnet and groups where EC2 wants them: into the interface if
// there is one, beside it if not; both at once are refused.
func setNetwork(in *ec2.RunInstancesInput, l cloud.Launch) {
	groups := slices.Sorted(slices.Values(l.SecurityGroups))
	if l.AssociatePublicIPAddress == nil {
		in.SubnetId = optional(l.SubnetID)
		in.SecurityGroupIds = groups
		return
	}
	in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{
		DeviceIndex:              awssdk.Int32(0),
		AssociatePublicIpAddress: l.AssociatePublicIPAddress,
		DeleteOnTermination:      awssdk.Bool(true),
		SubnetId:                 optional(l.SubnetID),
		Groups:                   groups,
	}}
}

// tagSpecifications tag what the call makes, in the call itself: what is made is
// never without its tags.
func tagSpecifications(l cloud.Launch) []types.TagSpecification {
	if len(l.Tags) == 0 {
		return nil
	}
	// In the order of their keys, since the list is a parameter of the client token.
	tags := make([]types.Tag, 0, len(l.Tags))
	for _, key := range slices.Sorted(maps.Keys(l.Tags)) {
		tags = append(tags, types.Tag{Key: awssdk.String(key), Value: awssdk.String(l.Tags[key])})
	}
	made := []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume, types.ResourceTypeNetworkInterface}
	if l.Spot {
		made = append(made, types.ResourceTypeSpotInstancesRequest)
	}
	specs := make([]types.TagSpecification, 0, len(made))
	for _, sort := range made {
		specs = append(specs, types.TagSpecification{ResourceType: sort, Tags: tags})
	}
	return specs
}

func blockDevices(devices []cloud.BlockDevice) []types.BlockDeviceMapping {
	mappings := make([]types.BlockDeviceMapping, 0, len(devices))
	for _, d := range devices {
		ebs := &types.EbsBlockDevice{
			DeleteOnTermination: awssdk.Bool(true),
			VolumeSize:          awssdk.Int32(d.SizeGiB),
			VolumeType:          types.VolumeType(d.VolumeType),
		}
		if d.Encrypted {
			ebs.Encrypted = awssdk.Bool(true)
		}
		if d.IOPS > 0 {
			ebs.Iops = awssdk.Int32(d.IOPS)
		}
		mappings = append(mappings, types.BlockDeviceMapping{DeviceName: awssdk.String(d.DeviceName), Ebs: ebs})
	}
	return mappings
}

// optional leaves an empty string out of a request.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
