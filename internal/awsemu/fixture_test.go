// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	. "github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"
)

const testRegion = "eu-central-1"

// ec2Fixture is a server on a fake clock and the real SDK client that talks to it
// over HTTP, as the test's own Gomega.
type ec2Fixture struct {
	*WithT
	ctx      context.Context
	clock    *testingclock.FakeClock
	server   *Server
	endpoint string
	ec2      *ec2.Client
}

func newEC2Fixture(t *testing.T, change ...func(*Options)) *ec2Fixture {
	t.Helper()
	clk := testingclock.NewFakeClock(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	opts := Options{Clock: clk, Seed: 1}
	for _, f := range change {
		f(&opts)
	}
	server := New(opts)
	listener := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		listener.Close()
	})
	f := &ec2Fixture{WithT: NewWithT(t), ctx: t.Context(), clock: clk, server: server, endpoint: listener.URL}
	f.ec2 = f.client("test", testRegion)
	return f
}

// client is an EC2 client that never retries, for an access key and region.
func (f *ec2Fixture) client(accessKey, region string) *ec2.Client {
	return ec2.New(ec2.Options{
		Region: region, BaseEndpoint: aws.String(f.endpoint), Retryer: aws.NopRetryer{}, HTTPClient: steadyClient{},
		Credentials: credentialsOf(accessKey),
	})
}

// launchInput asks for between one and n hosts under a token.
func launchInput(n int32, token string, change ...func(*ec2.RunInstancesInput)) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ImageId: aws.String(DefaultImageID), InstanceType: types.InstanceTypeG4dnXlarge,
		MinCount: aws.Int32(1), MaxCount: &n, ClientToken: &token,
	}
	for _, f := range change {
		f(in)
	}
	return in
}

// launch launches hosts and returns them as RunInstances does.
func (f *ec2Fixture) launch(n int32, token string, change ...func(*ec2.RunInstancesInput)) []types.Instance {
	out, err := f.ec2.RunInstances(f.ctx, launchInput(n, token, change...))
	f.Expect(err).NotTo(HaveOccurred())
	return out.Instances
}

// describe returns the hosts that the filters pick ("name=value").
func (f *ec2Fixture) describe(filters ...types.Filter) []types.Instance {
	out, err := f.ec2.DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{Filters: filters})
	f.Expect(err).NotTo(HaveOccurred())
	var all []types.Instance
	for _, r := range out.Reservations {
		all = append(all, r.Instances...)
	}
	return all
}

// one returns a host by id.
func (f *ec2Fixture) one(id string) types.Instance {
	found := f.describe(by("instance-id", id))
	f.Expect(found).To(HaveLen(1))
	return found[0]
}

func by(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}

func idsOf(instances []types.Instance) []string {
	ids := make([]string, 0, len(instances))
	for _, i := range instances {
		ids = append(ids, *i.InstanceId)
	}
	return ids
}

// refusal is the code of AWS's error, or what else the error says.
func refusal(err error) string {
	var e smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.ErrorCode()
	default:
		return err.Error()
	}
}

// httpStatus is the status AWS answered an error with; 0 if it didn't answer.
func httpStatus(err error) int {
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// credentialsOf has credentials with this access key.
func credentialsOf(accessKey string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: "secret"}, nil
	})
}

// steadyClient sends requests whose body has no WriteTo. The SDK closes a
// request's body as soon as the response begins, and its WriteTo then fails with
// EOF instead of succeeding: a transport that hasn't looked for the end of the
// body yet takes that for a failed request and closes the connection while the
// response is being read. On a local endpoint that happens every now and then; the
// SDK's standard retryer repeats the request, and these tests use none. See
// https://github.com/aws/aws-sdk-go-v2/issues/2737
type steadyClient struct{}

// Do sends the request with the default client.
func (steadyClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return http.DefaultClient.Do(r)
}
