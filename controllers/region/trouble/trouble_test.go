// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package trouble_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func answer(kind cloud.Kind, code, message string) error {
	return fmt.Errorf("trying something: %w", &cloud.Error{
		Op: "RunInstances", Kind: kind, Code: code,
		Err: fmt.Errorf("RequestID: 1234: %w", &smithy.GenericAPIError{Code: code, Message: message}),
	})
}

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		stalled bool
		reason  string
		message string
		retries bool
		backs   bool
	}{
		"nothing": {},
		"a person's": {
			err:     fmt.Errorf("at: %w", &trouble.Stalled{Reason: v1alpha1.ReasonImageNotFound, Message: "no such image"}),
			stalled: true, reason: v1alpha1.ReasonImageNotFound, message: "no such image", retries: true,
		},
		"waiting": {
			err:    &trouble.Waiting{Reason: v1alpha1.ReasonObserving, Message: "a moment"},
			reason: v1alpha1.ReasonObserving, message: "a moment",
		},
		"throttled": {
			err:    answer(cloud.KindThrottled, "RequestLimitExceeded", "Slow down."),
			reason: v1alpha1.ReasonThrottled, message: "RunInstances: RequestLimitExceeded: Slow down.", retries: true,
		},
		"not allowed, without the part that differs each time": {
			err: answer(cloud.KindUnauthorized, "UnauthorizedOperation",
				"You may not. Encoded authorization failure message: abc"),
			stalled: true, reason: v1alpha1.ReasonUnauthorized,
			message: "RunInstances: UnauthorizedOperation: You may not.", retries: true,
		},
		"refused": {
			err:     answer(cloud.KindInvalid, "InvalidParameterValue", "Not that."),
			stalled: true, reason: v1alpha1.ReasonInvalidParameter,
			message: "RunInstances: InvalidParameterValue: Not that.", retries: true,
		},
		"over the quota": {
			err:     answer(cloud.KindQuota, "VcpuLimitExceeded", "Too many."),
			stalled: true, reason: v1alpha1.ReasonQuotaExceeded,
			message: "RunInstances: VcpuLimitExceeded: Too many.", retries: true,
		},
		"anything else of AWS": {
			err:    answer(cloud.KindUnknown, "InternalError", "Sorry."),
			reason: v1alpha1.ReasonCloudError, message: "RunInstances: InternalError: Sorry.", backs: true,
		},
		"no answer, without the port numbers": {
			err:    &cloud.Error{Op: "RunInstances", Err: errors.New("dial tcp 127.0.0.1:1234")},
			reason: v1alpha1.ReasonCloudError,
			message: "RunInstances: no answer from AWS; " +
				"the manager's log has the details.", backs: true,
		},
		"not AWS's": {err: errors.New("conflict"), backs: true},
	} {
		t.Run(name, func(t *testing.T) {
			v := trouble.Judge(test.err)
			if v.Stalled != test.stalled || v.Reason != test.reason || v.Message != test.message {
				t.Errorf("got %+v, want %+v", v, test)
			}
			if (v.RetryAfter > 0) != test.retries || (v.Err != nil) != test.backs {
				t.Errorf("retries after %s with error %v", v.RetryAfter, v.Err)
			}
		})
	}
}

func TestJudgeAllPutsFirstWhatAPersonMustMend(t *testing.T) {
	plain := errors.New("lost write")
	v := trouble.JudgeAll(
		answer(cloud.KindThrottled, "Throttling", "Slow down."), plain,
		&trouble.Stalled{Reason: v1alpha1.ReasonSubnetsNotFound, Message: "none"},
		answer(cloud.KindUnauthorized, "AccessDenied", "No."),
	)
	if !v.Stalled || v.Reason != v1alpha1.ReasonSubnetsNotFound || v.Message != "none" {
		t.Errorf("got %+v", v)
	}
	if !errors.Is(v.Err, plain) {
		t.Errorf("the error that is not for the status was lost: %v", v.Err)
	}
	if v.RetryAfter <= 0 || v.RetryAfter > time.Minute {
		t.Errorf("retries after %s, not as soon as throttling asks for", v.RetryAfter)
	}
}

func TestWords(t *testing.T) {
	if got := trouble.Count(1, "host") + ", " + trouble.Count(int32(2), "host"); got != "1 host, 2 hosts" {
		t.Error(got)
	}
	if got := trouble.List([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a, b, c, d, e and 2 more" {
		t.Error(got)
	}
}
