// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/smithy-go"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// kinds says what each code of EC2, ECS, SQS and STS means to the operator. Codes that
// no row names fall under the rules in kindOf.
//
// EC2: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
// ECS: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html.
// SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html.
var kinds = map[string]cloud.Kind{
	"BandwidthLimitExceeded":    cloud.KindThrottled,
	"EC2ThrottledException":     cloud.KindThrottled,
	"KmsThrottled":              cloud.KindThrottled,
	"OverLimit":                 cloud.KindThrottled,
	"PriorRequestNotComplete":   cloud.KindThrottled,
	"RequestLimitExceeded":      cloud.KindThrottled,
	"RequestThrottled":          cloud.KindThrottled,
	"RequestThrottledException": cloud.KindThrottled,
	"SlowDown":                  cloud.KindThrottled,
	"ThrottledException":        cloud.KindThrottled,
	"Throttling":                cloud.KindThrottled,
	"ThrottlingException":       cloud.KindThrottled,
	"TooManyRequestsException":  cloud.KindThrottled,

	"InsufficientAddressCapacity":          cloud.KindCapacity,
	"InsufficientCapacity":                 cloud.KindCapacity,
	"InsufficientFreeAddressesInSubnet":    cloud.KindCapacity,
	"InsufficientHostCapacity":             cloud.KindCapacity,
	"InsufficientInstanceCapacity":         cloud.KindCapacity,
	"InsufficientReservedInstanceCapacity": cloud.KindCapacity,
	"InsufficientVolumeCapacity":           cloud.KindCapacity,
	"SpotMaxPriceTooLow":                   cloud.KindCapacity,
	"UnfulfillableCapacity":                cloud.KindCapacity,
	// A zone that doesn't offer the type answers so; the next one may.
	"Unsupported": cloud.KindCapacity,

	"InstanceLimitExceeded":        cloud.KindQuota,
	"LimitExceededException":       cloud.KindQuota,
	"MaxSpotInstanceCountExceeded": cloud.KindQuota,
	"ResourceCountExceeded":        cloud.KindQuota,
	"ResourceLimitExceeded":        cloud.KindQuota,
	"VcpuLimitExceeded":            cloud.KindQuota,
	"VolumeLimitExceeded":          cloud.KindQuota,

	"ClusterNotFoundException":  cloud.KindNotFound,
	"ResourceNotFoundException": cloud.KindNotFound,
	// The SDK prefers SQS's older name for it, which comes in a header.
	"AWS.SimpleQueueService.NonExistentQueue": cloud.KindNotFound,
	"QueueDoesNotExist":                       cloud.KindNotFound,

	"AccessDenied":          cloud.KindUnauthorized,
	"AccessDeniedException": cloud.KindUnauthorized,
	"AuthFailure":           cloud.KindUnauthorized,
	// It says that the first spot request of an account can't make its role.
	"AuthFailure.ServiceLinkedRoleCreationNotPermitted": cloud.KindUnauthorized,
	"Blocked":                     cloud.KindUnauthorized,
	"BlockedException":            cloud.KindUnauthorized,
	"ExpiredToken":                cloud.KindUnauthorized,
	"ExpiredTokenException":       cloud.KindUnauthorized,
	"IncompleteSignature":         cloud.KindUnauthorized,
	"InvalidClientTokenId":        cloud.KindUnauthorized,
	"KMS.AccessDeniedException":   cloud.KindUnauthorized,
	"KmsAccessDenied":             cloud.KindUnauthorized,
	"MissingAuthenticationToken":  cloud.KindUnauthorized,
	"NotAuthorized":               cloud.KindUnauthorized,
	"OperationNotPermitted":       cloud.KindUnauthorized,
	"OptInRequired":               cloud.KindUnauthorized,
	"PendingVerification":         cloud.KindUnauthorized,
	"SignatureDoesNotMatch":       cloud.KindUnauthorized,
	"UnauthorizedOperation":       cloud.KindUnauthorized,
	"UnrecognizedClientException": cloud.KindUnauthorized,

	"ClientException":             cloud.KindInvalid,
	"MalformedPolicyDocument":     cloud.KindInvalid,
	"MissingParameter":            cloud.KindInvalid,
	"UnknownParameter":            cloud.KindInvalid,
	"UnsupportedFeatureException": cloud.KindInvalid,
	"UnsupportedOperation":        cloud.KindInvalid,
	"ValidationError":             cloud.KindInvalid,
	"ValidationException":         cloud.KindInvalid,

	"ConflictException":            cloud.KindConflict,
	"IdempotentParameterMismatch":  cloud.KindConflict,
	"IdempotentInstanceTerminated": cloud.KindTokenSpent,
}

// messages tell apart what ECS reports under one code and what only its words
// say. The texts are those that ECS has answered with for years; where one
// changes, the code's own kind is what is left.
var messages = []struct {
	code, part string
	kind       cloud.Kind
}{
	{"ClientException", "Unable to describe task definition", cloud.KindNotFound},
	{"ClientException", "Too many concurrent attempts", cloud.KindThrottled},
	{"ClientException", "not found", cloud.KindNotFound},
	{"InvalidParameterException", "No Container Instances were found", cloud.KindHostUnavailable},
	{"InvalidParameterException", "not found", cloud.KindNotFound},
}

// kindOf says what an error of the SDK means.
func kindOf(err error) cloud.Kind {
	if _, ok := errors.AsType[ratelimit.QuotaExceededError](err); ok {
		// The SDK gave up retrying since too many calls had to be retried.
		return cloud.KindThrottled
	}
	apiErr, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return cloud.KindUnknown
	}
	code := apiErr.ErrorCode()
	for _, m := range messages {
		if m.code == code && strings.Contains(apiErr.ErrorMessage(), m.part) {
			return m.kind
		}
	}
	if kind, ok := kinds[code]; ok {
		return kind
	}
	switch {
	case strings.HasSuffix(code, ".NotFound") || strings.HasSuffix(code, ".Unavailable"):
		return cloud.KindNotFound // e.g. InvalidAMIID.NotFound
	case strings.HasPrefix(code, "Invalid"):
		return cloud.KindInvalid // e.g. InvalidParameterValue, InvalidSubnetID.Malformed
	}
	return cloud.KindUnknown
}

// codeOf is AWS's own code of an error: empty for none, and a word of ours for
// what never came from AWS.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	if heldBack(err) {
		return "HeldBack"
	}
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		return apiErr.ErrorCode()
	}
	if errors.Is(err, context.Canceled) {
		return "Canceled"
	}
	return "NoAnswer"
}

// wrap makes the error of an operation one of the cloud's; nil stays nil.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := &cloud.Error{Op: op, Kind: kindOf(err), Err: err}
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		wrapped.Code = apiErr.ErrorCode()
		wrapped.Err = &answer{message: lasting(apiErr.ErrorMessage()), err: err}
	}
	return wrapped
}

// encoded is what EC2 ends the message of a refused call with.
// See https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html.
const encoded = " Encoded authorization failure message: "

// lasting is a message without what is another text each time, which would make each
// failure look like a new one in a status.
func lasting(message string) string {
	message, _, _ = strings.Cut(message, encoded)
	return message
}

// answer is AWS's error with AWS's message alone: the SDK's text repeats the
// operation and the code, and has a request id, which would make each failure
// look like a new one in a status.
type answer struct {
	message string
	err     error
}

func (a *answer) Error() string { return a.message }
func (a *answer) Unwrap() error { return a.err }

// refused makes an error that AWS reported in an answer instead of as an error.
func refused(op string, kind cloud.Kind, code, detail string) error {
	if detail == "" {
		detail = "refused"
	}
	return &cloud.Error{Op: op, Kind: kind, Code: code, Err: errors.New(detail)}
}
