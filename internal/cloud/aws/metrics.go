// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"fmt"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	telemetry "github.com/mandelbox/mandelbox-operator/internal/metrics"
)

// metrics measures the calls to AWS; nil measures nothing.
type metrics struct {
	duration  *prometheus.HistogramVec
	throttled *prometheus.CounterVec
	wait      *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, pacing *pacing) (*metrics, error) {
	if registerer == nil {
		return nil, nil
	}
	duration, err := telemetry.Register(registerer, telemetry.AWSRequestDuration.NewHistogram())
	if err != nil {
		return nil, err
	}
	throttled, err := telemetry.Register(registerer, telemetry.AWSThrottled.NewCounter())
	if err != nil {
		return nil, err
	}
	wait, err := telemetry.Register(registerer, telemetry.AWSWait.NewCounter())
	if err != nil {
		return nil, err
	}
	if _, err := telemetry.Register(registerer, telemetry.AWSAllowedRate.NewScraped(pacing.report)); err != nil {
		return nil, err
	}
	return &metrics{duration: duration, throttled: throttled, wait: wait}, nil
}

// waited counts how long an attempt was held back.
func (m *metrics) waited(what called, region string, d time.Duration) {
	if m != nil {
		m.wait.WithLabelValues(what.service, what.operation, region).Add(d.Seconds())
	}
}

// middleware measures each call as its caller sees it, and counts the attempts of
// it that were throttled.
func (m *metrics) middleware(region string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		if m == nil {
			return nil
		}
		measure := func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
			middleware.InitializeOutput, middleware.Metadata, error,
		) {
			began := time.Now()
			out, metadata, err := next.HandleInitialize(ctx, in)
			m.duration.WithLabelValues(awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx), region, codeOf(err)).
				Observe(time.Since(began).Seconds())
			return out, metadata, err
		}
		// After the SDK's own first step, which says what operation it is.
		if err := stack.Initialize.Add(middleware.InitializeMiddlewareFunc("MeasureCall", measure), middleware.After); err != nil {
			return fmt.Errorf("adding the measurement of calls: %w", err)
		}
		attempt := middleware.FinalizeMiddlewareFunc("CountThrottled", m.countThrottled(region))
		if err := stack.Finalize.Insert(attempt, (*retry.Attempt)(nil).ID(), middleware.After); err != nil {
			return fmt.Errorf("adding the count of throttled attempts: %w", err)
		}
		return nil
	}
}

// countThrottled sees each attempt by itself: what follows the SDK's retries in
// the stack is called once for each.
func (m *metrics) countThrottled(region string) func(context.Context, middleware.FinalizeInput, middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	return func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleFinalize(ctx, in)
		if err != nil && kindOf(err) == cloud.KindThrottled {
			m.throttled.WithLabelValues(awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx), region).Inc()
		}
		return out, metadata, err
	}
}
