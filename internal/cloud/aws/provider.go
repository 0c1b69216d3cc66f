// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package aws implements internal/cloud with EC2, ECS and SQS. It is where the types
// of the AWS SDK end: batches, pages, tokens and error codes are its business,
// and none of them is seen outside.
//
// Every call goes through the SDK's standard chain of credentials, endpoint and
// retries, so that AWS_ENDPOINT_URL and the like work as they do for the AWS CLI.
package aws

import (
	"context"
	"errors"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// maxAttempts is how often the SDK tries a call: three, as by its default. Each
	// client has a quota of 500 tokens for retries, 5 a retry, which refills only
	// with success; more attempts would empty it during a long throttling, and all
	// calls would then fail at once. Callers try again at their own, slower pace.
	// See https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html.
	maxAttempts = 3
	// maxBackoff is the longest pause between two attempts of one call.
	maxBackoff = 5 * time.Second
)

// Options say how AWS is reached.
type Options struct {
	// Config is what config.LoadDefaultConfig returned. Its region is replaced by
	// each target's.
	Config awssdk.Config
	// UserAgent is added to what the SDK says of itself, e.g. "mandelbox-operator/1.0".
	UserAgent string
	// Registerer takes the metrics of calls; nil for none.
	Registerer prometheus.Registerer
}

// Provider makes clients of EC2, ECS and SQS.
type Provider struct {
	config  awssdk.Config
	metrics *metrics
}

var _ cloud.Provider = (*Provider)(nil)

// New returns a Provider. It makes no call; an error means that the metrics could
// not be registered.
func New(_ context.Context, opts Options) (*Provider, error) {
	config := opts.Config.Copy()
	config.HTTPClient = httpClient(config.HTTPClient)
	if opts.UserAgent != "" {
		name, version, _ := strings.Cut(opts.UserAgent, "/")
		config.APIOptions = append(config.APIOptions, middleware.AddUserAgentKeyValue(name, version))
	}
	metrics, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	return &Provider{config: config, metrics: metrics}, nil
}

// Open returns a client for the target. It makes no call to AWS: a role is
// assumed with the first call that needs it.
func (p *Provider) Open(_ context.Context, target cloud.Target) (cloud.API, error) {
	if target.AWSRegion == "" || target.ECSCluster == "" || target.ClusterID == "" || target.Region == "" {
		return nil, &cloud.Error{Op: "Open", Kind: cloud.KindInvalid,
			Err: errors.New("the target needs a cluster id, a region, an AWS region and an ECS cluster")}
	}
	config := p.config.Copy()
	config.Region = target.AWSRegion
	config.APIOptions = append(config.APIOptions, p.metrics.middleware(target.AWSRegion))
	if config.Retryer == nil && config.RetryMode != awssdk.RetryModeAdaptive {
		attempts := config.RetryMaxAttempts
		// Each service client makes a retryer of its own, and so has a quota of its own.
		config.Retryer = func() awssdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = maxAttempts
				if attempts > 0 {
					o.MaxAttempts = attempts
				}
				o.MaxBackoff = maxBackoff
				o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(noCapacity)}, o.Retryables...)
			})
		}
	}
	if target.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(config), target.RoleARN,
			func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "mandelbox-operator" })
		config.Credentials = awssdk.NewCredentialsCache(role)
	}
	c := newClient(target, ec2.NewFromConfig(config), ecs.NewFromConfig(config))
	if target.EventQueueURL != "" {
		c.queue = &eventQueue{target: target, sqs: sqs.NewFromConfig(config)}
	}
	return c, nil
}

// noCapacity has the SDK not repeat what AWS has no capacity for. It is one of
// EC2's server errors, status 500, which would be tried three times with pauses
// before the next zone or type is.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#api-error-codes-table-server.
func noCapacity(err error) awssdk.Ternary {
	if kindOf(err) == cloud.KindCapacity {
		return awssdk.FalseTernary
	}
	return awssdk.UnknownTernary
}

// client is a region of an account.
type client struct {
	target     cloud.Target
	ec2        *ec2.Client
	ecs        *ecs.Client
	terminator *terminator
	ended      endedTasks
	queue      *eventQueue
}

var _ cloud.API = (*client)(nil)

// EventQueue is the queue that the target names, if it does.
func (c *client) EventQueue() cloud.EventQueue {
	if c.queue == nil {
		return nil
	}
	return c.queue
}

func newClient(target cloud.Target, ec2Client *ec2.Client, ecsClient *ecs.Client) *client {
	return &client{
		target:     target,
		ec2:        ec2Client,
		ecs:        ecsClient,
		terminator: newTerminator(ec2Client),
	}
}
