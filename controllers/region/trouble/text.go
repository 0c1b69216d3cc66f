// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trouble

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// apiError is how the SDK carries the code and message of AWS.
type apiError interface {
	error
	ErrorCode() string
	ErrorMessage() string
}

// Describe says what was tried and what AWS answered, without what differs from
// one call to the next: request ids, and the encoded details that EC2 appends.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
func Describe(err *cloud.Error) string {
	answer, ok := errors.AsType[apiError](err.Err)
	if !ok {
		if err.Kind == cloud.KindUnknown {
			// The text of a broken connection has port numbers in it.
			return fmt.Sprintf("%s: no answer from AWS; the manager's log has the details.", err.Op)
		}
		return err.Error()
	}
	message, _, _ := strings.Cut(answer.ErrorMessage(), " Encoded authorization failure message")
	return fmt.Sprintf("%s: %s: %s", err.Op, answer.ErrorCode(), message)
}

// Text is Describe for any error: that of the cloud's in it, or else its own text.
func Text(err error) string {
	if answer, ok := errors.AsType[*cloud.Error](err); ok {
		return Describe(answer)
	}
	return err.Error()
}

// listed is how many items a message names before it counts the rest.
const listed = 5

// List joins items for a message, of which it names only the first few.
func List(items []string) string {
	if len(items) <= listed {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:listed], ", "), len(items)-listed)
}

// Count is a number and what it counts, e.g. "1 host" or "3 hosts".
func Count[N int | int32](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
