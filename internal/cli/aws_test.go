// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
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

	g.Eventually(stdout, 5*time.Second).Should(gbytes.Say(`_admin/`))
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
	g.Eventually(ended, 5*time.Second).Should(Receive(BeNil()))
}

func TestAWSRefusesAnImageThatIsNone(t *testing.T) {
	g := NewWithT(t)
	cmd := newAWSCommand()
	cmd.SetArgs([]string{"--image=eu-central-1=i-1"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	g.Expect(cmd.Execute()).To(MatchError(ContainSubstring(`--image "eu-central-1=i-1"`)))
}
