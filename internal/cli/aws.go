// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// awsOptions are the flags of the aws subcommand.
type awsOptions struct {
	listen      string
	seed        int64
	fast        bool
	limits      bool
	images      []string
	logRequests bool
	iamPolicy   string
	iamTags     map[string]string
	networkTags map[string]string
}

// newAWSCommand makes the subcommand that serves the local AWS.
func newAWSCommand() *cobra.Command {
	var o awsOptions
	cmd := &cobra.Command{
		Use:   "aws",
		Short: "Serve a local AWS that speaks EC2, ECS and STS",
		Long: `Serve a local AWS: EC2, ECS and STS on one endpoint for all regions and accounts.
The AWS SDK, boto3 and the AWS CLI work against it once AWS_ENDPOINT_URL names it.
An access key of twelve digits names an account; any other leads to ` + awsemu.DefaultAccount + `.
With --iam-policy, every call is evaluated against that policy, but those of the
access key "` + awsemu.RootAccessKey + `"; what it denied is at /_admin/denials.
Nothing outlives the process.`,
		Example: `  mandelbox-operator aws --listen 127.0.0.1:4566 --image eu-central-1=ami-0123456789abcdef0
  AWS_ENDPOINT_URL=http://127.0.0.1:4566 aws ec2 describe-instances --region eu-central-1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveAWS(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:4566", "address to serve on; port 0 takes any free one")
	flags.Int64Var(&o.seed, "seed", 1, "seed of identifiers and of the dice of faults")
	flags.BoolVar(&o.fast, "fast", false, "make lifecycles take milliseconds instead of seconds")
	flags.BoolVar(&o.limits, "limits", false, "throttle requests by the published token buckets")
	flags.StringArrayVar(&o.images, "image", nil,
		"an image that exists, as region=ami-… or, in every region, ami-…; may be repeated")
	flags.StringVar(&o.iamPolicy, "iam-policy", "", "file of an IAM policy that calls are held to; by default all are allowed")
	flags.StringToStringVar(&o.iamTags, "iam-principal-tag", nil,
		"a tag of the role that has the policy, as key=value; may be repeated")
	flags.StringToStringVar(&o.networkTags, "network-tag", nil,
		"a tag of the subnets and security groups that there are, as key=value; may be repeated")
	flags.BoolVar(&o.logRequests, "log-requests", false, "write a line for each request")
	return cmd
}

// serverOptions turns flags into the server's options.
func (o awsOptions) serverOptions(log io.Writer) (awsemu.Options, error) {
	opts := awsemu.Options{Seed: o.seed, Limits: awsemu.Limits{Enabled: o.limits}, NetworkTags: o.networkTags}
	if o.fast {
		delays := awsemu.FastDelays()
		opts.Delays = &delays
	}
	for _, image := range o.images {
		region, id, named := strings.Cut(image, "=")
		if !named {
			region, id = "", image
		}
		if !strings.HasPrefix(id, "ami-") {
			return opts, fmt.Errorf("--image %q: want region=ami-… or ami-…", image)
		}
		opts.Images = append(opts.Images, awsemu.Image{Region: region, ID: id})
	}
	if o.iamPolicy != "" {
		content, err := os.ReadFile(o.iamPolicy)
		if err != nil {
			return opts, fmt.Errorf("--iam-policy: %w", err)
		}
		if opts.IAM, err = awsemu.NewIAM(content, awsemu.IAMPrincipal{Tags: o.iamTags}); err != nil {
			return opts, fmt.Errorf("--iam-policy %s: %w", o.iamPolicy, err)
		}
	}
	if o.logRequests {
		write := func(_, line string) {
			// There is nowhere to tell that the log itself can't be written.
			_, _ = fmt.Fprintln(log, line)
		}
		opts.Logger = funcr.New(write, funcr.Options{LogTimestamp: true, Verbosity: 1})
	}
	return opts, nil
}

// serveAWS serves until the context ends.
func serveAWS(ctx context.Context, o awsOptions, stdout, stderr io.Writer) error {
	opts, err := o.serverOptions(stderr)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", o.listen, err)
	}
	local := awsemu.New(opts)
	server := &http.Server{Handler: local, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	_, err = fmt.Fprintf(stdout, `The local AWS is at http://%[1]s

  export AWS_ENDPOINT_URL=http://%[1]s AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  aws ec2 describe-instances

Images: %[2]s in every region%[3]s. Faults, limits and the request log: http://%[1]s/_admin/
`, listener.Addr(), awsemu.DefaultImageID, listed(o.images))
	if err != nil {
		return errors.Join(fmt.Errorf("announcing the endpoint: %w", err), server.Close())
	}
	select {
	case err := <-ended:
		return fmt.Errorf("serving the local AWS: %w", err)
	case <-ctx.Done():
	}
	local.Close()
	if err := server.Close(); err != nil {
		return fmt.Errorf("closing the local AWS: %w", err)
	}
	return nil
}

func listed(images []string) string {
	if len(images) == 0 {
		return ""
	}
	return ", " + strings.Join(images, ", ")
}
