// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tracing tells OpenTelemetry how sessions started and how hosts came up: one
// trace for each, with a span for each step. The steps of one session lie in many
// reconciles, and in the waits between them, so spans are not kept open across them:
// the Follower sees the objects change, and tells the whole story once it has ended.
//
// It knows nothing of controllers, and they know nothing of it.
package tracing

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Variables that say where traces go; without either, there are none.
// See https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
const (
	endpointVariable       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpointVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
)

// NewProvider returns a provider that sends spans by OTLP over HTTP to the endpoint in
// the environment, or nil if there is none. Whoever gets one shuts it down.
func NewProvider(ctx context.Context, version string) (*sdktrace.TracerProvider, error) {
	if os.Getenv(endpointVariable) == "" && os.Getenv(tracesEndpointVariable) == "" {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("preparing to export traces: %w", err)
	}
	// What the environment says of the resource, OTEL_RESOURCE_ATTRIBUTES, wins.
	of, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "mandelbox-operator"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("describing the source of traces: %w", err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of)), nil
}
