// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// maxAttempts is how often the SDK tries a call: three, as by its default. Retries
	// have a quota of 500 tokens, 5 a retry, which refills only with success; more
	// attempts would empty it during a long throttling, and all calls would then fail
	// at once. Callers try again at their own, slower pace.
	// See https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html.
	maxAttempts = 3
	// maxBackoff is the longest pause between two attempts of one call.
	maxBackoff = 5 * time.Second
)

// retryer is the SDK's standard one, with a quota for each operation: that of a
// client is emptied by one operation for all others.
type retryer struct {
	// rules say what is retried and when; their quota is not used.
	rules awssdk.RetryerV2

	mu sync.Mutex
	// quotas are by operation; a client has but one service.
	quotas map[string]awssdk.RetryerV2
	fresh  func() awssdk.RetryerV2
}

var _ awssdk.RetryerV2 = (*retryer)(nil)

// newRetryer makes the retryer of a client, which tries calls up to attempts times.
func newRetryer(attempts int) *retryer {
	fresh := func() awssdk.RetryerV2 {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.MaxBackoff = maxBackoff
			o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(inVain)}, o.Retryables...)
		})
	}
	return &retryer{rules: fresh(), quotas: map[string]awssdk.RetryerV2{}, fresh: fresh}
}

// inVain has the SDK not repeat an attempt that was held back for longer than it
// would pause, nor what AWS has no capacity for. That is one of EC2's server errors,
// status 500, which would be tried three times with pauses before the next zone or
// type is.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#api-error-codes-table-server.
func inVain(err error) awssdk.Ternary {
	if heldBack(err) || kindOf(err) == cloud.KindCapacity {
		return awssdk.FalseTernary
	}
	return awssdk.UnknownTernary
}

// IsErrorRetryable says whether an attempt that failed so may be repeated.
func (r *retryer) IsErrorRetryable(err error) bool { return r.rules.IsErrorRetryable(err) }

// MaxAttempts is how often a call is tried.
func (r *retryer) MaxAttempts() int { return r.rules.MaxAttempts() }

// RetryDelay is the pause after so many attempts.
func (r *retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	return r.rules.RetryDelay(attempt, err)
}

// GetRetryToken takes from the quota of the operation that ctx is of.
func (r *retryer) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	return r.quota(ctx).GetRetryToken(ctx, err)
}

// GetAttemptToken returns what an attempt gives back to its operation's quota.
func (r *retryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	return r.quota(ctx).GetAttemptToken(ctx)
}

// GetInitialToken gives nothing back: the SDK calls GetAttemptToken in its place.
func (r *retryer) GetInitialToken() func(error) error { return func(error) error { return nil } }

func (r *retryer) quota(ctx context.Context) awssdk.RetryerV2 {
	operation := awsmiddleware.GetOperationName(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.quotas[operation] == nil {
		r.quotas[operation] = r.fresh()
	}
	return r.quotas[operation]
}
