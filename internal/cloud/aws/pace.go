// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// easeOff is what is left of an operation's rate after a throttle.
	easeOff = 0.5
	// recovery is how much of its sustained rate an operation regains each second.
	recovery = 0.05
	// freeAgain is how many times its sustained rate an operation must have regained
	// before it is unbounded again: AWS lets bursts through, and may allow an account
	// more than it publishes.
	freeAgain = 2
	// slowest is the lowest rate, in attempts a second: a single caller never waits
	// longer than longestWait.
	slowest rate.Limit = 0.2
	// longestWait is how long an attempt is held back at most. One that would have to
	// wait longer fails as throttled, so that its caller can say so and do other work.
	longestWait = 5 * time.Second
	// unsteady is how much longer than it must an attempt waits at most, as a part of
	// the time between two of them, so that operators that were throttled together
	// don't come back together.
	unsteady = 0.5
)

// sustained are the rates, in calls a second, at which AWS says that it refills the
// bucket of an operation that the operator calls. Those of EC2 are for each
// operation, those of ECS for a group of operations, which share them.
//
// EC2: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html.
// ECS: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html.
var sustained = map[string]rate.Limit{
	"EC2/CreateTags":                    10,
	"EC2/DescribeImages":                20,
	"EC2/DescribeInstanceStatus":        20,
	"EC2/DescribeInstanceTypes":         20,
	"EC2/DescribeInstanceTypeOfferings": 20,
	"EC2/DescribeInstances":             20,
	"EC2/DescribeSecurityGroups":        20,
	"EC2/DescribeSubnets":               20,
	"EC2/RunInstances":                  2,
	"EC2/TerminateInstances":            5,

	"ECS/CreateCluster":                 1,
	"ECS/DeregisterContainerInstance":   40,
	"ECS/DescribeClusters":              20,
	"ECS/DescribeContainerInstances":    20,
	"ECS/DescribeTaskDefinition":        20,
	"ECS/DescribeTasks":                 20,
	"ECS/ListContainerInstances":        20,
	"ECS/ListTasks":                     20,
	"ECS/RegisterTaskDefinition":        1,
	"ECS/RunTask":                       40,
	"ECS/StopTask":                      40,
	"ECS/UpdateContainerInstancesState": 40,
}

// sustainedElse is the rate of an operation that is not listed: EC2's for one that
// changes something.
const sustainedElse rate.Limit = 5

// pace is how fast an operation may be called: as fast as anybody likes until AWS
// throttles it, then at its sustained rate, and at half the rate after each further
// throttle. The rate grows back steadily with time, as AWS's own bucket refills.
type pace struct {
	sustained rate.Limit

	mu sync.Mutex
	// limiter spaces the attempts; nil while the operation is unbounded.
	limiter *rate.Limiter
	// eased is when the operation was last throttled, and base its rate from then on.
	eased time.Time
	base  rate.Limit
	// answer is what AWS answered to the last attempt that it throttled.
	answer error
}

func newPace(operation string) *pace {
	if limit, ok := sustained[operation]; ok {
		return &pace{sustained: limit}
	}
	return &pace{sustained: sustainedElse}
}

// allowed is the rate at a time; rate.Inf for none.
func (p *pace) allowed(now time.Time) rate.Limit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit(now)
}

// limit lifts the bound once the rate has grown back. The lock is held.
func (p *pace) limit(now time.Time) rate.Limit {
	if p.limiter == nil {
		return rate.Inf
	}
	limit := p.base + p.sustained*recovery*rate.Limit(now.Sub(p.eased).Seconds())
	if limit >= freeAgain*p.sustained {
		p.limiter = nil
		return rate.Inf
	}
	return limit
}

// admit books an attempt, and returns how long it has to wait, up to unsteady of a
// turn longer as chance, from 0 to 1, has it. It books nothing and returns false if
// that would be more than patience.
func (p *pace) admit(now time.Time, patience time.Duration, chance float64) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := p.limit(now)
	if limit == rate.Inf {
		return 0, true
	}
	p.limiter.SetLimitAt(now, limit)
	booked := p.limiter.ReserveN(now, 1)
	wait := booked.DelayFrom(now)
	if wait > patience {
		booked.CancelAt(now)
		return 0, false
	}
	if wait > 0 {
		wait += time.Duration(chance * unsteady * float64(time.Second) / float64(limit))
	}
	return min(wait, patience), true
}

// throttled eases off, because AWS throttled an attempt with that answer. One that
// was sent before the last easing tells nothing new.
func (p *pace) throttled(now, sent time.Time, answer error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
	limit := p.limit(now)
	switch {
	case limit == rate.Inf:
		p.limiter = rate.NewLimiter(p.sustained, 1)
		p.base = p.sustained
	case sent.Before(p.eased):
		return
	default:
		p.base = rate.Limit(math.Max(float64(limit*easeOff), float64(slowest)))
	}
	p.eased = now
	p.limiter.SetLimitAt(now, p.base)
	p.limiter.ReserveN(now, 1) // The next attempt waits for a turn, too.
}

func (p *pace) answered() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer
}
