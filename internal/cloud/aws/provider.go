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
	"cmp"
	"context"
	"errors"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
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
	pacing  *pacing
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
	pacing := newPacing()
	metrics, err := newMetrics(opts.Registerer, pacing)
	if err != nil {
		return nil, err
	}
	return &Provider{config: config, metrics: metrics, pacing: pacing}, nil
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
	config.APIOptions = append(config.APIOptions, p.pacing.middleware(account{target.AWSRegion, target.RoleARN}, p.metrics))
	if config.Retryer == nil && config.RetryMode != awssdk.RetryModeAdaptive {
		attempts := cmp.Or(config.RetryMaxAttempts, maxAttempts)
		config.Retryer = func() awssdk.Retryer { return newRetryer(attempts) }
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
