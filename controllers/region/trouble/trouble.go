// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package trouble maps what went wrong in a reconcile to what its object's
// status says and to when it is tried again, in one place for the Region and the
// AMI controller.
package trouble

import (
	"errors"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// retryThrottled is how long a reconcile that was throttled keeps quiet.
	retryThrottled = 15 * time.Second
	// retryStalled is how long it takes until what a person should mend is tried
	// again, in case the mending shows nowhere else.
	retryStalled = 2 * time.Minute
)

// Stalled is an error that only a person can end.
type Stalled struct {
	// Reason is one of the reasons in api/v1alpha1.
	Reason string
	// Message says what is wrong and what to do.
	Message string
}

// Error is the message.
func (s *Stalled) Error() string { return s.Message }

// Waiting is an error that ends by itself, and whose end wakes the reconcile.
type Waiting struct {
	// Reason is one of the reasons in api/v1alpha1.
	Reason string
	// Message says what is waited for.
	Message string
}

// Error is the message.
func (w *Waiting) Error() string { return w.Message }

// Verdict is what an error means for the object that met it.
type Verdict struct {
	// Stalled says that a person must act.
	Stalled bool
	// Reason and Message are those of the conditions. The message is the same each
	// time the same thing goes wrong, so that it is written once. Both are empty
	// for an error that says nothing about the object, like a lost write.
	Reason, Message string
	// RetryAfter is when to try again; 0 if something else wakes the reconcile.
	RetryAfter time.Duration
	// Err is what the queue must know, so that it backs off.
	Err error
}

// Says tells whether the verdict is one for the object's conditions.
func (v Verdict) Says() bool { return v.Reason != "" }

// Judge maps an error; the zero Verdict is that of nil.
func Judge(err error) Verdict {
	if err == nil {
		return Verdict{}
	}
	if stalled, ok := errors.AsType[*Stalled](err); ok {
		return Verdict{Stalled: true, Reason: stalled.Reason, Message: stalled.Message, RetryAfter: retryStalled}
	}
	if waiting, ok := errors.AsType[*Waiting](err); ok {
		return Verdict{Reason: waiting.Reason, Message: waiting.Message}
	}
	answer, ok := errors.AsType[*cloud.Error](err)
	if !ok {
		return Verdict{Err: err}
	}
	message := Describe(answer)
	switch answer.Kind {
	case cloud.KindThrottled:
		return Verdict{Reason: v1alpha1.ReasonThrottled, Message: message, RetryAfter: retryThrottled}
	case cloud.KindUnauthorized:
		return Verdict{Stalled: true, Reason: v1alpha1.ReasonUnauthorized, Message: message, RetryAfter: retryStalled}
	case cloud.KindInvalid, cloud.KindNotFound:
		return Verdict{Stalled: true, Reason: v1alpha1.ReasonInvalidParameter, Message: message, RetryAfter: retryStalled}
	case cloud.KindQuota:
		return Verdict{Stalled: true, Reason: v1alpha1.ReasonQuotaExceeded, Message: message, RetryAfter: retryStalled}
	case cloud.KindUnknown, cloud.KindCapacity, cloud.KindConflict, cloud.KindTokenSpent, cloud.KindNoRoom,
		cloud.KindHostUnavailable:
	}
	return Verdict{Reason: v1alpha1.ReasonCloudError, Message: message, Err: err}
}

// JudgeAll maps several errors to one verdict: that of what a person must mend
// before all others, then the first. Every error that the queue must know of is
// kept, and so is the shortest time to try again.
func JudgeAll(errs ...error) Verdict {
	var all Verdict
	var failures []error
	for _, err := range errs {
		v := Judge(err)
		if v.Says() && (!all.Says() || v.Stalled && !all.Stalled) {
			all.Stalled, all.Reason, all.Message = v.Stalled, v.Reason, v.Message
		}
		if v.RetryAfter > 0 && (all.RetryAfter == 0 || v.RetryAfter < all.RetryAfter) {
			all.RetryAfter = v.RetryAfter
		}
		failures = append(failures, v.Err)
	}
	all.Err = errors.Join(failures...)
	return all
}
