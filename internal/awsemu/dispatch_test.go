// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	. "github.com/onsi/gomega"
)

func (f *ec2Fixture) ecsClient() *ecs.Client {
	return ecs.New(ecs.Options{
		Region: testRegion, BaseEndpoint: &f.endpoint, Retryer: aws.NopRetryer{}, HTTPClient: steadyClient{},
		Credentials: credentialsOf("test"),
	})
}

func TestUnknownOperationsGetAWSsOwnError(t *testing.T) {
	f := newEC2Fixture(t)
	_, err := f.ec2.DescribeVpnGateways(f.ctx, &ec2.DescribeVpnGatewaysInput{})
	f.Expect(refusal(err)).To(Equal("InvalidAction"))
	f.Expect(httpStatus(err)).To(Equal(400))

	_, err = f.ecsClient().ListAccountSettings(f.ctx, &ecs.ListAccountSettingsInput{})
	f.Expect(refusal(err)).To(Equal("UnknownOperationException"))
	f.Expect(httpStatus(err)).To(Equal(400))

	client := sts.New(sts.Options{
		Region: testRegion, BaseEndpoint: &f.endpoint, Retryer: aws.NopRetryer{}, Credentials: credentialsOf("test"), HTTPClient: steadyClient{},
	})
	_, err = client.GetSessionToken(f.ctx, &sts.GetSessionTokenInput{})
	f.Expect(refusal(err)).To(Equal("InvalidAction"))

	f.Expect(f.server.Requests(RequestFilter{Outcome: OutcomeError})).To(HaveLen(3))
}

func TestRequestsWithoutTheSDK(t *testing.T) {
	f := newEC2Fixture(t)
	f.launch(1, "token")
	credential := url.QueryEscape("test/20261123/" + testRegion + "/ec2/aws4_request")
	for name, c := range map[string]struct {
		query, body string
		status      int
		want        string
	}{
		"presigned":   {"?Action=DescribeInstances&X-Amz-Credential=" + credential, "", 200, "<clientToken>token</clientToken>"},
		"unsigned":    {"?Action=DescribeInstances", "", 200, "<reservationSet></reservationSet>"},
		"no action":   {"", "", 400, "<Code>MissingAction</Code>"},
		"a bad form":  {"", "a=%zz", 400, "<Code>MalformedQueryString</Code>"},
		"a long body": {"", strings.Repeat("x", maxBody+1), 413, "<Code>RequestEntityTooLarge</Code>"},
	} {
		response, err := http.Post(f.endpoint+"/"+c.query, "application/x-www-form-urlencoded", strings.NewReader(c.body))
		f.Expect(err).NotTo(HaveOccurred(), name)
		body, err := io.ReadAll(response.Body)
		f.Expect(err).NotTo(HaveOccurred(), name)
		f.Expect(response.Body.Close()).To(Succeed())
		f.Expect(response.StatusCode).To(Equal(c.status), name)
		f.Expect(string(body)).To(ContainSubstring(c.want), name)
	}
}

func TestFaultsBeforeTheEffect(t *testing.T) {
	f := newEC2Fixture(t)
	for name, c := range map[string]struct {
		fault  Fault
		code   string
		status int
	}{
		"throttle":      {Fault{Action: ActionThrottle}, "RequestLimitExceeded", 503},
		"error":         {Fault{Action: ActionError, Code: "UnauthorizedOperation", Status: 403}, "UnauthorizedOperation", 403},
		"default error": {Fault{Action: ActionError}, "InternalError", 500},
		"only once":     {Fault{Action: ActionError, Count: 1}, "InternalError", 500},
	} {
		f.server.ClearFaults()
		c.fault.Service, c.fault.Operation, c.fault.Region = "ec2", "Run*", "eu-*"
		_, err := f.server.AddFault(c.fault)
		f.Expect(err).NotTo(HaveOccurred())
		_, err = f.ec2.RunInstances(f.ctx, launchInput(1, name))
		f.Expect(refusal(err)).To(Equal(c.code), name)
		f.Expect(httpStatus(err)).To(Equal(c.status), name)
		f.Expect(f.describe()).To(BeEmpty(), "neither the effect nor another operation is touched")
	}
	f.server.ClearFaults()
	_, err := f.server.AddFault(Fault{Action: ActionError, Count: 1})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.ec2.DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{})
	f.Expect(err).To(HaveOccurred())
	f.Expect(f.describe()).To(BeEmpty(), "the fault is used up")

	_, err = f.server.AddFault(Fault{Action: ActionThrottle, Service: "ecs"})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.ecsClient().ListClusters(f.ctx, &ecs.ListClustersInput{})
	f.Expect(refusal(err)).To(Equal("ThrottlingException"))
	f.Expect(httpStatus(err)).To(Equal(400))
}

func TestAResponseLostAfterTheEffect(t *testing.T) {
	f := newEC2Fixture(t)
	id, err := f.server.AddFault(Fault{Operation: "RunInstances", Phase: PhaseAfter, Action: ActionDrop, Count: 1})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.ec2.RunInstances(f.ctx, launchInput(1, "token"))
	f.Expect(err).To(HaveOccurred())
	f.Expect(httpStatus(err)).To(BeZero(), "there was no answer")
	made := idsOf(f.describe())
	f.Expect(made).To(HaveLen(1))
	f.Expect(idsOf(f.launch(1, "token"))).To(Equal(made))

	logged := f.server.Requests(RequestFilter{Operation: "RunInstances"})
	f.Expect(logged).To(HaveLen(2))
	f.Expect(logged[0].Outcome).To(Equal(OutcomeDropped))
	f.Expect(logged[0].Faults).To(Equal([]string{id}))
	f.Expect(logged[0].ClientToken).To(Equal("token"))
	f.Expect(logged[1].Outcome).To(Equal(OutcomeOK))
}

func TestAnErrorAfterTheEffect(t *testing.T) {
	f := newEC2Fixture(t)
	_, err := f.server.AddFault(Fault{Operation: "RunInstances", Phase: PhaseAfter, Action: ActionError})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.ec2.RunInstances(f.ctx, launchInput(1, "token"))
	f.Expect(refusal(err)).To(Equal("InternalError"))
	f.Expect(f.describe()).To(HaveLen(1))
}

func TestLatencyFollowsTheClock(t *testing.T) {
	f := newEC2Fixture(t)
	_, err := f.server.AddFault(Fault{Action: ActionLatency, Latency: Duration{time.Minute}})
	f.Expect(err).NotTo(HaveOccurred())
	done := make(chan error, 1)
	go func() {
		_, err := f.ec2.DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{})
		done <- err
	}()
	f.Eventually(f.clock.HasWaiters).Should(BeTrue())
	f.Expect(done).NotTo(Receive())
	f.clock.Step(time.Minute)
	f.Eventually(done).Should(Receive(BeNil()))

	ctx, cancel := context.WithCancel(f.ctx)
	go func() {
		_, err := f.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
		done <- err
	}()
	f.Eventually(f.clock.HasWaiters).Should(BeTrue())
	cancel()
	f.Eventually(done).Should(Receive(MatchError(context.Canceled)))
	f.Eventually(f.clock.HasWaiters).Should(BeFalse(), "nothing waits for a caller that left")
}

func TestFaultsThatCannotActAreRefused(t *testing.T) {
	f := newEC2Fixture(t)
	for _, bad := range []Fault{{}, {Action: "explode"}, {Action: ActionDrop, Phase: "during"}, {Action: ActionDrop, Operation: "["}} {
		_, err := f.server.AddFault(bad)
		f.Expect(err).To(HaveOccurred())
	}
	f.Expect(f.server.Faults()).To(BeEmpty())
}

func TestProbabilityIsSeeded(t *testing.T) {
	strikes := func() (pattern string) {
		f := newEC2Fixture(t)
		_, err := f.server.AddFault(Fault{Action: ActionThrottle, Probability: 0.5})
		f.Expect(err).NotTo(HaveOccurred())
		for range 40 {
			_, err := f.ec2.DescribeRegions(f.ctx, &ec2.DescribeRegionsInput{})
			pattern += map[bool]string{true: ".", false: "x"}[err == nil]
		}
		return pattern
	}
	first := strikes()
	g := NewWithT(t)
	g.Expect(strings.Count(first, "x")).To(BeNumerically("~", 20, 12))
	g.Expect(strikes()).To(Equal(first))
}

func TestLimitsArePublishedOnes(t *testing.T) {
	f := newEC2Fixture(t, func(o *Options) { o.Limits.Enabled = true })
	until := func(call func() error) (allowed int, err error) {
		for allowed < 2000 {
			if err = call(); err != nil {
				return allowed, err
			}
			allowed++
		}
		return allowed, nil
	}
	describe := func(in ec2.DescribeInstancesInput) func() error {
		return func() error { _, err := f.ec2.DescribeInstances(f.ctx, &in); return err }
	}
	allowed, err := until(describe(ec2.DescribeInstancesInput{}))
	f.Expect(allowed).To(Equal(50), "neither filtered nor paginated")
	f.Expect(refusal(err)).To(Equal("RequestLimitExceeded"))
	f.Expect(httpStatus(err)).To(Equal(503))
	allowed, _ = until(describe(ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)}))
	f.Expect(allowed).To(Equal(100))
	f.clock.Step(time.Second)
	allowed, _ = until(describe(ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)}))
	f.Expect(allowed).To(Equal(20), "the refill of a second")
	f.Expect(f.server.Requests(RequestFilter{Outcome: OutcomeThrottled})).To(HaveLen(3))

	_, err = f.ec2.DescribeRegions(f.ctx, &ec2.DescribeRegionsInput{})
	f.Expect(err).NotTo(HaveOccurred(), "each operation of EC2 has its own bucket")

	cluster := f.ecsClient()
	listTasks := func() error {
		_, err := cluster.ListContainerInstances(f.ctx, &ecs.ListContainerInstancesInput{})
		if refusal(err) == "ClusterNotFoundException" {
			return nil
		}
		return err
	}
	allowed, err = until(listTasks)
	f.Expect(allowed).To(Equal(100))
	f.Expect(refusal(err)).To(Equal("ThrottlingException"))
	_, err = cluster.ListTasks(f.ctx, &ecs.ListTasksInput{})
	f.Expect(refusal(err)).To(Equal("ThrottlingException"), "operations of ECS share a bucket")
}

func TestLaunchesAreChargedByTheHost(t *testing.T) {
	f := newEC2Fixture(t, func(o *Options) {
		o.Limits = Limits{Enabled: true, Buckets: map[string]Bucket{"ec2-run-instances-resources": {Burst: 10, Refill: 1}}}
	})
	f.launch(8, "a")
	_, err := f.ec2.RunInstances(f.ctx, launchInput(3, "b"))
	f.Expect(refusal(err)).To(Equal("RequestLimitExceeded"))
	f.launch(2, "c")
	f.clock.Step(3 * time.Second)
	f.launch(3, "b")
	f.server.SetLimits(Limits{})
	f.launch(100, "d")
}

func TestTheRequestLogIsARing(t *testing.T) {
	f := newEC2Fixture(t, func(o *Options) { o.RequestLogSize = 3 })
	for _, token := range []string{"a", "b", "c", "d", "e"} {
		f.launch(1, token)
	}
	var tokens []string
	for _, r := range f.server.Requests(RequestFilter{Service: "ec2", Region: testRegion, Account: DefaultAccount, Caller: "aws-sdk-go"}) {
		tokens = append(tokens, r.ClientToken)
	}
	f.Expect(tokens).To(Equal([]string{"c", "d", "e"}))
	f.server.ResetRequests()
	f.Expect(f.server.Requests(RequestFilter{})).To(BeEmpty())
}
