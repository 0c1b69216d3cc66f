// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/time/rate"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// account is whose buckets a call is charged to: AWS counts for each account, in
// each of its regions.
type account struct {
	region, roleARN string
}

// called is an operation of a service.
type called struct {
	service, operation string
}

// pacing paces each operation in each account by itself, so that one that AWS
// throttles slows no other.
type pacing struct {
	mu    sync.Mutex
	paces map[account]map[called]*pace
}

func newPacing() *pacing {
	return &pacing{paces: map[account]map[called]*pace{}}
}

func (p *pacing) of(where account, what called) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paces[where] == nil {
		p.paces[where] = map[called]*pace{}
	}
	if p.paces[where][what] == nil {
		p.paces[where][what] = newPace(what.service + "/" + what.operation)
	}
	return p.paces[where][what]
}

// report tells the rate of each operation that is bounded now. Of several accounts
// in a region, which metrics don't tell apart, it tells the lowest.
func (p *pacing) report(tell func(value float64, labels ...string)) {
	type series struct {
		called
		region string
	}
	lowest := map[series]rate.Limit{}
	now := time.Now()
	p.mu.Lock()
	for where, paces := range p.paces {
		for what, pace := range paces {
			key, limit := series{what, where.region}, pace.allowed(now)
			if before, ok := lowest[key]; limit != rate.Inf && (!ok || limit < before) {
				lowest[key] = limit
			}
		}
	}
	p.mu.Unlock()
	for key, limit := range lowest {
		tell(float64(limit), key.service, key.operation, key.region)
	}
}

// heldBackError is the error of an attempt that was not made, because AWS has
// throttled others of its operation: with AWS's last answer to those, so that a
// status says the same as if it had been made.
type heldBackError struct{ answer error }

func (e heldBackError) Error() string { return "held back after AWS answered: " + e.answer.Error() }
func (e heldBackError) Unwrap() error { return e.answer }

// heldBack says whether an attempt was not made.
func heldBack(err error) bool {
	_, ok := errors.AsType[heldBackError](err)
	return ok
}

// middleware holds attempts back as long as the pace of their operation asks for.
// It must be added after the metrics', to be outside of what counts attempts.
func (p *pacing) middleware(where account, metrics *metrics) func(*middleware.Stack) error {
	attempt := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		what := called{awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)}
		pace := p.of(where, what)
		if err := pace.hold(ctx, func(d time.Duration) { metrics.waited(what, where.region, d) }); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, err
		}
		sent := time.Now()
		out, metadata, err := next.HandleFinalize(ctx, in)
		if err != nil && kindOf(err) == cloud.KindThrottled {
			pace.throttled(time.Now(), sent, err)
		}
		return out, metadata, err
	}
	return func(stack *middleware.Stack) error {
		// What follows the SDK's retries in the stack is called once for each attempt;
		// signing comes later, so that a signature doesn't age while it waits.
		step := middleware.FinalizeMiddlewareFunc("PaceAttempts", attempt)
		if err := stack.Finalize.Insert(step, (*retry.Attempt)(nil).ID(), middleware.After); err != nil {
			return fmt.Errorf("adding the pace of attempts: %w", err)
		}
		return nil
	}
}

// hold waits for the turn of an attempt. It does not wait for one that comes too
// late for ctx, or for anybody.
func (p *pace) hold(ctx context.Context, waited func(time.Duration)) error {
	now, patience := time.Now(), longestWait
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, deadline.Sub(now))
	}
	wait, ok := p.admit(now, patience, rand.Float64())
	if !ok {
		return heldBackError{p.answered()}
	}
	if wait == 0 {
		return nil
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	defer func() { waited(time.Since(now)) }()
	select {
	case <-turn.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
