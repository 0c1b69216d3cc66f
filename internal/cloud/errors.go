// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"errors"
	"fmt"
)

// Kind is what an error of the cloud means for the one who called.
type Kind string

// The kinds of errors. Which AWS codes are of which kind is written down once,
// in internal/cloud/aws.
const (
	// KindUnknown is an error that has no kind of its own; it is tried again.
	KindUnknown Kind = ""
	// KindThrottled asks for fewer calls.
	KindThrottled Kind = "Throttled"
	// KindCapacity has no such host to give: try the next type or zone.
	KindCapacity Kind = "Capacity"
	// KindQuota has reached a quota of the account, which a person can raise.
	KindQuota Kind = "Quota"
	// KindNotFound knows no such thing.
	KindNotFound Kind = "NotFound"
	// KindUnauthorized may not do that: a person must act.
	KindUnauthorized Kind = "Unauthorized"
	// KindInvalid refuses a parameter: a person must act.
	KindInvalid Kind = "Invalid"
	// KindConflict has already done something else under the same token.
	KindConflict Kind = "Conflict"
	// KindTokenSpent launched hosts under the token that are gone again.
	KindTokenSpent Kind = "TokenSpent"
	// KindNoRoom found no room for the task on its host.
	KindNoRoom Kind = "NoRoom"
	// KindHostUnavailable found the task's host gone, or its agent disconnected.
	KindHostUnavailable Kind = "HostUnavailable"
)

// Error is an error of the cloud with its kind and the code that AWS gave it.
type Error struct {
	// Op is what was tried, e.g. "RunInstances".
	Op string
	// Kind is what it means.
	Kind Kind
	// Code is AWS's own, e.g. "InsufficientInstanceCapacity"; may be empty.
	Code string
	// Err is the error itself.
	Err error
}

// Error says what was tried and what AWS answered.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Op, e.Code, e.Err)
}

// Unwrap returns the error itself.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error: KindUnknown if it isn't the cloud's.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindUnknown
}

// Definite says whether the error proves that a launch under the token made
// nothing, so that the next attempt may use a new token.
func (k Kind) Definite() bool {
	switch k {
	case KindCapacity, KindQuota, KindUnauthorized, KindInvalid, KindNotFound, KindTokenSpent:
		return true
	case KindUnknown, KindThrottled, KindConflict, KindNoRoom, KindHostUnavailable:
		return false
	}
	return false
}
