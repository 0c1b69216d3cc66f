// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package awsemu is a local AWS: one HTTP endpoint that speaks the real wire
// protocols of EC2, STS, ECS and SQS, so that the AWS SDK, boto3 and the AWS CLI work
// against it unmodified once AWS_ENDPOINT_URL names it.
//
// It behaves rather than records: hosts boot, their ECS agents register, tasks
// start slowly the first time and hold what they use. Every account and region
// has its own state, reached through the credential scope of the request's
// signature; signatures themselves are not verified.
//
// Each request takes the same way: it is parsed, charged against the published
// rate limits, may meet a fault before its effect, has its effect under the
// region's lock, may meet a fault after its effect, is rendered and logged. That
// way is in dispatch.go, and the operations are in one table (operations.go).
//
// Time is lazy: a transition is put on the region's timeline and happens, in
// order and at its own time, as soon as anybody looks. With a fake clock a test
// steps the clock and the next request sees everything that fell due.
//
// The package knows nothing of the operator, and only internal/cli and tests
// import it.
package awsemu
