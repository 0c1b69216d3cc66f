// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"testing"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	. "github.com/onsi/gomega"
	"golang.org/x/time/rate"
)

// noon is when the tests of paces begin.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

var errThrottled = &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}

func after(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

func TestPace(t *testing.T) {
	for name, tc := range map[string]struct {
		// throttled are the seconds after noon at which attempts were throttled that
		// had been sent at that time.
		throttled []float64
		at        float64
		want      rate.Limit
	}{
		"is unbounded at first":                      {nil, 0, rate.Inf},
		"is the sustained rate once throttled":       {[]float64{0}, 0, 20},
		"is halved by each further throttle":         {[]float64{0, 0, 0}, 0, 5},
		"is never lower than the slowest":            {[]float64{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, slowest},
		"grows back steadily":                        {[]float64{0, 0}, 4, 14},
		"is halved from where it has grown to":       {[]float64{0, 0, 10}, 10, 10},
		"is unbounded again at twice what sustained": {[]float64{0}, 20, rate.Inf},
		"starts anew after that":                     {[]float64{0, 0, 0, 40}, 40, 20},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPace("ECS/ListTasks")
			for _, at := range tc.throttled {
				p.throttled(after(at), after(at), errThrottled)
			}
			NewWithT(t).Expect(float64(p.allowed(after(tc.at)))).To(BeNumerically("~", float64(tc.want), 1e-9))
		})
	}
}

func TestPaceTakesABurstOfThrottlesForOne(t *testing.T) {
	g, p := NewWithT(t), newPace("ECS/RunTask")
	for range 50 {
		p.throttled(after(0.3), after(0.1), errThrottled) // All were on their way before the first answer.
	}
	g.Expect(p.allowed(after(0.3))).To(BeEquivalentTo(40))
	p.throttled(after(0.5), after(0.4), errThrottled)
	g.Expect(float64(p.allowed(after(0.5)))).To(BeNumerically("~", 20.2, 1e-9))
}

func TestPaceSpacesAttempts(t *testing.T) {
	g, p := NewWithT(t), newPace("EC2/RunInstances")
	wait := func(at, chance float64) time.Duration {
		t.Helper()
		d, ok := p.admit(after(at), longestWait, chance)
		g.Expect(ok).To(BeTrue())
		return d
	}
	g.Expect(wait(0, 1)).To(BeZero(), "nothing was throttled yet")
	p.throttled(noon, noon, errThrottled)
	g.Expect(wait(0, 0)).To(Equal(500*time.Millisecond), "two a second")
	g.Expect(wait(0, 0)).To(Equal(time.Second))
	g.Expect(wait(0, 1)).To(Equal(1750*time.Millisecond), "half a turn more by chance")

	for range 7 {
		g.Expect(wait(0, 0)).To(BeNumerically("<=", longestWait))
	}
	_, ok := p.admit(noon, longestWait, 0)
	g.Expect(ok).To(BeFalse(), "its turn would come after the longest wait")
	g.Expect(wait(10, 0)).To(BeZero(), "who did not get a turn takes none from others")
}

func TestRetriesOfOneOperationLeaveThoseOfOthers(t *testing.T) {
	g, r := NewWithT(t), newRetryer(maxAttempts)
	of := func(operation string) context.Context { return awsmiddleware.SetOperationName(t.Context(), operation) }
	var err error
	for range 1000 {
		if _, err = r.GetRetryToken(of("ListTasks"), errThrottled); err != nil {
			break
		}
	}
	g.Expect(err).To(HaveOccurred(), "the quota has an end")
	g.Expect(kindOf(err)).To(BeEquivalentTo("Throttled"))
	_, err = r.GetRetryToken(of("RunTask"), errThrottled)
	g.Expect(err).NotTo(HaveOccurred())
}

func TestWhatIsTriedAgain(t *testing.T) {
	r := newRetryer(maxAttempts)
	for code, want := range map[string]bool{
		"RequestLimitExceeded": true, "ThrottlingException": true, "InternalError": false, "UnauthorizedOperation": false,
		"InsufficientInstanceCapacity": false,
	} {
		NewWithT(t).Expect(r.IsErrorRetryable(&smithy.GenericAPIError{Code: code})).To(Equal(want), code)
	}
	g := NewWithT(t)
	g.Expect(r.IsErrorRetryable(heldBackError{errThrottled})).To(BeFalse(), "an attempt that was held back")
	g.Expect(r.MaxAttempts()).To(Equal(maxAttempts))
	g.Expect(newRetryer(7).MaxAttempts()).To(Equal(7))
	delay, err := r.RetryDelay(10, errors.New("again"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(delay).To(BeNumerically("<=", maxBackoff))
}
