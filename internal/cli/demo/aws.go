// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

const (
	// preferredAddress is where the local AWS is, if nobody else is there.
	preferredAddress = "127.0.0.1:4566"
	anyAddress       = "127.0.0.1:0"
	// credential is the access key and the secret of whoever watches, who may do
	// everything; the manager may do what its policy says.
	credential        = awsemu.RootAccessKey
	managerCredential = "manager"
)

// localAWS is a local AWS that is being served.
type localAWS struct {
	url string
	// role is the manager's.
	role *awsemu.IAM
}

// startAWS serves a local AWS that has what the samples take for granted.
func (d *demo) startAWS(ctx context.Context) error {
	var err error
	if d.samples, err = readSamples(); err != nil {
		return err
	}
	var profiles []string
	for _, region := range d.samples.regions {
		if profile := region.Spec.InstanceProfile; profile != "" {
			profiles = append(profiles, profile)
		}
	}
	role, err := managerrole.Of(string(d.plane.ClusterUID()), profiles...)
	if err != nil {
		return err
	}
	listener, err := listenAWS(ctx, d.AWSListen)
	if err != nil {
		return err
	}
	emulator := awsemu.New(awsemu.Options{Seed: time.Now().UnixNano(), Delays: d.Delays, Images: d.samples.images(), IAM: role})
	server := &http.Server{Handler: emulator, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	d.stops = append(d.stops, stop{"the local AWS", func() error {
		emulator.Close()
		err := server.Close()
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(served, err)
		}
		return err
	}})
	d.aws = &localAWS{url: "http://" + listener.Addr().String(), role: role}
	for _, region := range d.samples.regions {
		if err := d.aws.tagNetwork(ctx, region); err != nil {
			return fmt.Errorf("tagging the network of %s: %w", region.Name, err)
		}
	}
	return nil
}

// listenAWS takes the address that was asked for, or else the usual one, or else any.
func listenAWS(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", cmp.Or(address, preferredAddress))
	if err != nil && address == "" {
		listener, err = config.Listen(ctx, "tcp", anyAddress)
	}
	if err != nil {
		return nil, fmt.Errorf("listening for the local AWS: %w", err)
	}
	return listener, nil
}

// images are the machine images that the samples name.
func (s *samples) images() []awsemu.Image {
	var images []awsemu.Image
	for _, channel := range s.channels {
		for _, image := range channel.Spec.Images {
			region := image.Region
			for _, r := range s.regions {
				if r.Name == image.Region {
					region = r.AWSRegion()
				}
			}
			images = append(images, awsemu.Image{Region: region, ID: image.ImageID, Name: channel.Name})
		}
	}
	return images
}

// config is how the AWS SDK reaches the local AWS; the environment of the user,
// who may have a real account, plays no part in it.
func (a *localAWS) config() awssdk.Config { return a.configOf(credential) }

func (a *localAWS) configOf(accessKey string) awssdk.Config {
	return awssdk.Config{
		BaseEndpoint: awssdk.String(a.url),
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, accessKey, ""),
	}
}

func (a *localAWS) ec2(region *v1alpha1.Region) *ec2.Client {
	config := a.config()
	config.Region = region.AWSRegion()
	return ec2.NewFromConfig(config)
}

func (a *localAWS) ecs(region *v1alpha1.Region) *ecs.Client {
	config := a.config()
	config.Region = region.AWSRegion()
	return ecs.NewFromConfig(config)
}

// tagNetwork does what a person does once in an account of their own: it tags the
// subnets and security groups that the sample selects by tags.
func (a *localAWS) tagNetwork(ctx context.Context, region *v1alpha1.Region) error {
	client := a.ec2(region)
	subnets, err := client.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return fmt.Errorf("describing subnets: %w", err)
	}
	groups, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return fmt.Errorf("describing security groups: %w", err)
	}
	var subnetIDs, groupIDs []string
	for _, subnet := range subnets.Subnets {
		subnetIDs = append(subnetIDs, awssdk.ToString(subnet.SubnetId))
	}
	for _, group := range groups.SecurityGroups {
		groupIDs = append(groupIDs, awssdk.ToString(group.GroupId))
	}
	return errors.Join(
		tag(ctx, client, subnetIDs, region.Spec.Subnets),
		tag(ctx, client, groupIDs, region.Spec.SecurityGroups),
	)
}

func tag(ctx context.Context, client *ec2.Client, ids []string, selector v1alpha1.ResourceSelector) error {
	if len(selector.Tags) == 0 || len(ids) == 0 {
		return nil
	}
	var tags []types.Tag
	for _, t := range selector.Tags {
		tags = append(tags, types.Tag{Key: awssdk.String(t.Key), Value: awssdk.String(ptr.Deref(t.Value, ""))})
	}
	if _, err := client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: tags}); err != nil {
		return fmt.Errorf("tagging %v: %w", ids, err)
	}
	return nil
}
