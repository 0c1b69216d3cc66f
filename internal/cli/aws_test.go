// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
)

func TestAWSServesUntilToldToStop(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(context.Background())
	stdout, stderr := gbytes.NewBuffer(), gbytes.NewBuffer()
	cmd := newAWSCommand()
	cmd.SetArgs([]string{"--listen=127.0.0.1:0", "--fast", "--log-requests", "--image=eu-central-1=ami-0123456789abcdef0"})
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()

	g.Eventually(stdout, time.Minute).Should(gbytes.Say(`_admin/`))
	endpoint := regexp.MustCompile(`AWS_ENDPOINT_URL=(\S+)`).FindSubmatch(stdout.Contents())[1]
	client := ec2.New(ec2.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(string(endpoint)),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	out, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{"ami-0123456789abcdef0"}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(out.Images).To(HaveLen(1))
	g.Expect(stderr).To(gbytes.Say("DescribeImages"))

	stop()
	g.Eventually(ended, time.Minute).Should(Receive(BeNil()))
}

func TestAWSRefusesAnImageThatIsNone(t *testing.T) {
	g := NewWithT(t)
	cmd := newAWSCommand()
	cmd.SetArgs([]string{"--image=eu-central-1=i-1"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	g.Expect(cmd.Execute()).To(MatchError(ContainSubstring(`--image "eu-central-1=i-1"`)))
}

func TestAWSHoldsCallersToAPolicy(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(context.Background())
	stdout := gbytes.NewBuffer()
	cmd := newAWSCommand()
	policy := filepath.Join("..", "..", "config", "aws", "iam-policy.json")
	cmd.SetArgs([]string{"--listen=127.0.0.1:0", "--iam-policy=" + policy, "--iam-principal-tag=mandelbox.dev/cluster=c1"})
	cmd.SetOut(stdout)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()

	g.Eventually(stdout, time.Minute).Should(gbytes.Say(`_admin/`))
	endpoint := string(regexp.MustCompile(`AWS_ENDPOINT_URL=(\S+)`).FindSubmatch(stdout.Contents())[1])
	client := ec2.New(ec2.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(endpoint), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	_, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = client.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	g.Expect(err).To(MatchError(ContainSubstring("not authorized to perform: ec2:StopInstances")))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/_admin/denials", nil)
	g.Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	g.Expect(err).NotTo(HaveOccurred())
	body, err := io.ReadAll(response.Body)
	g.Expect(errors.Join(err, response.Body.Close())).To(Succeed())
	g.Expect(string(body)).To(ContainSubstring("instance/i-0123456789abcdef0"))

	stop()
	g.Eventually(ended, time.Minute).Should(Receive(BeNil()))
}

func TestAWSRefusesAPolicyThatIsNone(t *testing.T) {
	g := NewWithT(t)
	cmd := newAWSCommand()
	cmd.SetArgs([]string{"--iam-policy=aws_test.go"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	g.Expect(cmd.Execute()).To(MatchError(ContainSubstring("--iam-policy aws_test.go: reading the policy")))
}
