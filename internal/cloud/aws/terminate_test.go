// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// refusingEC2 refuses all when one id is refused, as EC2 does.
type refusingEC2 struct {
	refuse map[string]string
	calls  [][]string
}

func (f *refusingEC2) TerminateInstances(_ context.Context, in *ec2.TerminateInstancesInput, _ ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	f.calls = append(f.calls, slices.Clone(in.InstanceIds))
	byCode := map[string][]string{}
	for _, id := range in.InstanceIds {
		if code, ok := f.refuse[id]; ok {
			byCode[code] = append(byCode[code], id)
		}
	}
	for code, ids := range byCode {
		return nil, &smithy.GenericAPIError{Code: code, Message: fmt.Sprintf("The instance IDs '%s' are refused", strings.Join(ids, ", "))}
	}
	if code, ok := f.refuse["*"]; ok {
		return nil, &smithy.GenericAPIError{Code: code, Message: "Request limit exceeded."}
	}
	return &ec2.TerminateInstancesOutput{}, nil
}

func TestTerminateBatch(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		refuse    map[string]string
		wantKinds map[string]cloud.Kind
		wantLast  []string
		wantCalls int
	}{
		"all well": {wantKinds: map[string]cloud.Kind{}, wantLast: []string{"i-1", "i-2", "i-3"}, wantCalls: 1},
		"two unknown, named at once": {
			refuse:    map[string]string{"i-1": "InvalidInstanceID.NotFound", "i-3": "InvalidInstanceID.NotFound"},
			wantKinds: map[string]cloud.Kind{}, wantLast: []string{"i-2"}, wantCalls: 2,
		},
		"one protected": {
			refuse:    map[string]string{"i-2": "OperationNotPermitted"},
			wantKinds: map[string]cloud.Kind{"i-2": cloud.KindUnauthorized}, wantLast: []string{"i-1", "i-3"}, wantCalls: 2,
		},
		"throttled: no storm of single calls": {
			refuse:    map[string]string{"*": "RequestLimitExceeded"},
			wantKinds: map[string]cloud.Kind{"i-1": cloud.KindThrottled, "i-2": cloud.KindThrottled, "i-3": cloud.KindThrottled},
			wantLast:  []string{"i-1", "i-2", "i-3"}, wantCalls: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &refusingEC2{refuse: tc.refuse}
			outcome := newTerminator(api).terminateBatch(t.Context(), []string{"i-1", "i-2", "i-3"})
			kinds := map[string]cloud.Kind{}
			for id, err := range outcome {
				kinds[id] = cloud.KindOf(err)
			}
			if diff := cmp.Diff(tc.wantKinds, kinds); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if len(api.calls) != tc.wantCalls {
				t.Errorf("got %d calls, want %d", len(api.calls), tc.wantCalls)
			}
			if diff := cmp.Diff(tc.wantLast, api.calls[len(api.calls)-1]); diff != "" {
				t.Errorf("ids of the last call (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBatchOutlivesItsCallers(t *testing.T) {
	t.Parallel()
	sent := make(chan []string, 1)
	term := newTerminator(terminateFunc(func(ctx context.Context, ids []string) error {
		sent <- ids
		return ctx.Err()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := term.terminate(ctx, "i-1"); err == nil {
		t.Error("a caller whose context has ended should be told so")
	}
	if got := <-sent; !slices.Equal(got, []string{"i-1"}) {
		t.Errorf("sent %v", got)
	}
}

type terminateFunc func(ctx context.Context, ids []string) error

func (f terminateFunc) TerminateInstances(ctx context.Context, in *ec2.TerminateInstancesInput, _ ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	return &ec2.TerminateInstancesOutput{}, f(ctx, in.InstanceIds)
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	api := func(code, message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }
	for name, tc := range map[string]struct {
		err  error
		want cloud.Kind
	}{
		"EC2's throttling":            {api("RequestLimitExceeded", ""), cloud.KindThrottled},
		"ECS's throttling":            {api("ThrottlingException", "Rate exceeded"), cloud.KindThrottled},
		"a quota":                     {api("VcpuLimitExceeded", ""), cloud.KindQuota},
		"a type that a zone lacks":    {api("Unsupported", ""), cloud.KindCapacity},
		"an unknown image":            {api("InvalidAMIID.NotFound", ""), cloud.KindNotFound},
		"a bad parameter":             {api("InvalidParameterValue", ""), cloud.KindInvalid},
		"an unknown task definition":  {api("ClientException", "Unable to describe task definition."), cloud.KindNotFound},
		"two registrations at once":   {api("ClientException", "Too many concurrent attempts to create a new revision"), cloud.KindThrottled},
		"any other client error":      {api("ClientException", "Invalid setting for container"), cloud.KindInvalid},
		"an empty ECS cluster":        {api("InvalidParameterException", "No Container Instances were found in your cluster."), cloud.KindHostUnavailable},
		"an unknown task":             {api("InvalidParameterException", "The referenced task was not found."), cloud.KindNotFound},
		"a role that can't be made":   {api("AuthFailure.ServiceLinkedRoleCreationNotPermitted", ""), cloud.KindUnauthorized},
		"a spent token":               {api("IdempotentInstanceTerminated", ""), cloud.KindTokenSpent},
		"a server's fault":            {api("InternalError", ""), cloud.KindUnknown},
		"no answer":                   {context.DeadlineExceeded, cloud.KindUnknown},
		"a code wrapped by the SDK":   {fmt.Errorf("operation error: %w", api("AccessDeniedException", "")), cloud.KindUnauthorized},
		"a code nobody has heard of":  {api("FluxCapacitorEmpty", ""), cloud.KindUnknown},
		"a token used otherwise":      {api("IdempotentParameterMismatch", ""), cloud.KindConflict},
		"a resource that isn't there": {api("ResourceNotFoundException", ""), cloud.KindNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := cloud.KindOf(wrap("Op", tc.err)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
