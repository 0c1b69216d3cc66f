// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"fmt"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics measures the calls to AWS; nil measures nothing.
type metrics struct {
	duration *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	if registerer == nil {
		return nil, nil
	}
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "mandelbox_aws_request_duration_seconds",
		Help:    "How long calls to AWS take, their retries included, by service, operation, AWS region and the code of the error, if any.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 9),
	}, []string{"service", "operation", "region", "code"})
	if err := registerer.Register(duration); err != nil {
		known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
		if !ok {
			return nil, fmt.Errorf("registering the metrics of calls to AWS: %w", err)
		}
		existing, ok := known.ExistingCollector.(*prometheus.HistogramVec)
		if !ok {
			return nil, fmt.Errorf("registering the metrics of calls to AWS: %w", err)
		}
		duration = existing
	}
	return &metrics{duration: duration}, nil
}

// middleware measures each call as its caller sees it.
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
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("MeasureCall", measure), middleware.After)
	}
}
