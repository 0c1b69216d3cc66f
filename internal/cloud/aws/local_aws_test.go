// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

const (
	image      = "ami-0123456789abcdef0"
	ecsCluster = "mandelbox"
	patience   = time.Minute
)

// localAWS is a local AWS, which holds the manager of the cluster c1 to its policy, and
// a client of one of its regions.
type localAWS struct {
	*awsemu.Server
	api     cloud.API
	target  cloud.Target
	open    func(cloud.Target) cloud.API
	metrics *prometheus.Registry
	// endpoint and credentials are for clients of the test's own, which may do anything.
	endpoint    string
	credentials awssdk.CredentialsProviderFunc
}

func newLocalAWS(t *testing.T, opts ...func(*config.LoadOptions) error) *localAWS {
	t.Helper()
	g := NewWithT(t)
	role, err := managerrole.Of("c1")
	g.Expect(err).NotTo(HaveOccurred())
	delays := awsemu.FastDelays()
	server := awsemu.New(awsemu.Options{
		Delays: &delays, Images: []awsemu.Image{{ID: image}}, IAM: role, NetworkTags: managerrole.NetworkTags(),
	})
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		listener.Close()
		if err := managerrole.Verify(role); err != nil {
			t.Error(err)
		}
	})
	if opts == nil {
		// One attempt a call, so that what a call meets can be asserted on.
		opts = append(opts, config.WithRetryer(func() awssdk.Retryer { return awssdk.NopRetryer{} }))
	}
	sdk, err := config.LoadDefaultConfig(t.Context(), append(opts,
		config.WithBaseEndpoint(listener.URL),
		config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("test", "test", "")),
	)...)
	g.Expect(err).NotTo(HaveOccurred())
	registry := prometheus.NewRegistry()
	provider, err := aws.New(t.Context(), aws.Options{Config: sdk, UserAgent: "mandelbox-operator/test", Registerer: registry})
	g.Expect(err).NotTo(HaveOccurred())
	open := func(target cloud.Target) cloud.API {
		api, err := provider.Open(t.Context(), target)
		g.Expect(err).NotTo(HaveOccurred())
		return api
	}
	target := cloud.Target{ClusterID: "c1", Region: "east", AWSRegion: "us-east-1", ECSCluster: ecsCluster}
	return &localAWS{
		Server: server, api: open(target), target: target, open: open, metrics: registry,
		endpoint: listener.URL, credentials: credentials.NewStaticCredentialsProvider(awsemu.RootAccessKey, "secret", "").Retrieve,
	}
}

// ofOurs are the tags of what the manager makes.
var ofOurs = map[string]string{cloud.TagCluster: "c1"}

// calls counts the requests of an operation so far.
func (l *localAWS) calls(operation string) int {
	return len(l.Requests(awsemu.RequestFilter{Operation: operation}))
}

// launch makes a launch of hosts that join the ECS cluster.
func (l *localAWS) launch(t *testing.T, token string, count int32) cloud.Launch {
	t.Helper()
	g := NewWithT(t)
	subnets, err := l.api.Subnets(t.Context(), cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(subnets).NotTo(BeEmpty())
	groups, err := l.api.SecurityGroups(t.Context(), cloud.Selector{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(groups).NotTo(BeEmpty())
	return cloud.Launch{
		Token: token, Count: count, ImageID: image, InstanceType: "g4dn.12xlarge",
		SubnetID: subnets[0].ID, SecurityGroups: groups,
		UserData: cloud.UserData(cloud.UserDataECS, ecsCluster, map[string]string{"mandelbox.dev/region": "east"}, "echo hello"),
		Tags:     map[string]string{cloud.TagCluster: l.target.ClusterID, cloud.TagRegion: l.target.Region, cloud.TagLaunch: token},
	}
}

// registered launches hosts and waits until they have all joined the cluster.
func (l *localAWS) registered(t *testing.T, token string, count int32) ([]cloud.Host, map[string]cloud.ContainerHost) {
	t.Helper()
	g := NewWithT(t)
	_, err := l.api.EnsureCluster(t.Context(), ofOurs)
	g.Expect(err).NotTo(HaveOccurred())
	hosts, err := l.api.LaunchHosts(t.Context(), l.launch(t, token, count))
	g.Expect(err).NotTo(HaveOccurred())
	found := map[string]cloud.ContainerHost{}
	g.Eventually(func(g Gomega) {
		containerHosts, err := l.api.FindContainerHosts(t.Context(), ids(hosts))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(containerHosts).To(HaveLen(int(count)))
		for _, ch := range containerHosts {
			found[ch.InstanceID] = ch
		}
	}).WithTimeout(patience).WithPolling(20 * time.Millisecond).Should(Succeed())
	return hosts, found
}

func ids(hosts []cloud.Host) []string {
	list := make([]string, 0, len(hosts))
	for _, h := range hosts {
		list = append(list, h.InstanceID)
	}
	return list
}

// mustKind asserts that an error is of a kind.
func mustKind(g Gomega, err error, kind cloud.Kind) {
	g.ExpectWithOffset(1, err).To(HaveOccurred())
	g.ExpectWithOffset(1, cloud.KindOf(err)).To(Equal(kind), "%v", err)
}

// atOnce calls the function n times concurrently and returns the errors.
func atOnce(ctx context.Context, n int, call func(ctx context.Context, i int) error) []error {
	results := make(chan error, n)
	for i := range n {
		go func() { results <- call(ctx, i) }()
	}
	var errs []error
	for range n {
		if err := <-results; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
