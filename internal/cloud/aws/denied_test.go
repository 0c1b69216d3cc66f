// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"context"
	"net/http/httptest"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

// TestADenialIsTheSameTextEachTime has EC2 deny twice, with a message of which a part is
// encoded anew each time: in a status it would be written each time.
func TestADenialIsTheSameTextEachTime(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	api := openAs(t, "manager", "c1", newHeldAWS(t))
	first, again := api.TerminateHost(t.Context(), "i-0123456789abcdef0"), api.TerminateHost(t.Context(), "i-0123456789abcdef0")
	mustKind(g, first, cloud.KindUnauthorized)
	g.Expect(first.Error()).To(HaveSuffix("because no identity-based policy allows the ec2:TerminateInstances action."))
	g.Expect(again).To(MatchError(first.Error()))
}

// TestAHostThatMayNotBeTerminatedKeepsNoOther terminates hosts at once of which one is
// another's: EC2 denies the whole call, and names that one.
func TestAHostThatMayNotBeTerminatedKeepsNoOther(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	endpoint := newHeldAWS(t)
	ours, theirs := openAs(t, "manager", "c1", endpoint), openAs(t, awsemu.RootAccessKey, "c2", endpoint)
	hosts := launched(t, ours, "c1", "ours", 2)
	hosts = append(hosts, launched(t, theirs, "c2", "theirs", 1)...)
	errs := atOnce(t.Context(), len(hosts), func(ctx context.Context, i int) error { return ours.TerminateHost(ctx, hosts[i].InstanceID) })
	g.Expect(errs).To(HaveLen(1))
	mustKind(g, errs[0], cloud.KindUnauthorized)
	g.Expect(errs[0]).To(MatchError(ContainSubstring("instance/" + hosts[2].InstanceID)))
	for _, h := range hosts {
		seen, err := ours.DescribeHosts(t.Context(), []string{h.InstanceID})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(seen[0].State.Gone()).To(Equal(h.InstanceID != hosts[2].InstanceID), h.InstanceID)
	}
}

// newHeldAWS is a local AWS that holds the manager of the cluster c1 to its policy.
func newHeldAWS(t *testing.T) (endpoint string) {
	t.Helper()
	role, err := managerrole.Of("c1")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	delays := awsemu.FastDelays()
	server := awsemu.New(awsemu.Options{
		Delays: &delays, Images: []awsemu.Image{{ID: image}}, IAM: role, NetworkTags: managerrole.NetworkTags(),
	})
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		listener.Close()
	})
	return listener.URL
}

// openAs is what the manager of a cluster has of us-east-1, with an access key.
func openAs(t *testing.T, accessKey, clusterID, endpoint string) cloud.API {
	t.Helper()
	return openTarget(t, accessKey, endpoint, cloud.Target{ClusterID: clusterID, Region: "east", AWSRegion: "us-east-1", ECSCluster: ecsCluster})
}

// openTarget is what a manager has of a target, with an access key.
func openTarget(t *testing.T, accessKey, endpoint string, target cloud.Target) cloud.API {
	t.Helper()
	g := NewWithT(t)
	provider, err := aws.New(t.Context(), aws.Options{Config: awssdk.Config{
		BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
	}})
	g.Expect(err).NotTo(HaveOccurred())
	api, err := provider.Open(t.Context(), target)
	g.Expect(err).NotTo(HaveOccurred())
	return api
}

// launched launches hosts with the tag of a cluster.
func launched(t *testing.T, api cloud.API, clusterID, token string, count int32) []cloud.Host {
	t.Helper()
	g := NewWithT(t)
	subnets, err := api.Subnets(t.Context(), cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	groups, err := api.SecurityGroups(t.Context(), cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	hosts, err := api.LaunchHosts(t.Context(), cloud.Launch{
		Token: token, Count: count, ImageID: image, InstanceType: "g4dn.12xlarge", SubnetID: subnets[0].ID, SecurityGroups: groups,
		Tags: map[string]string{cloud.TagCluster: clusterID, cloud.TagRegion: "east"},
	})
	g.Expect(err).NotTo(HaveOccurred())
	return hosts
}
