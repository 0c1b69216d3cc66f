// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// stable returns the calls that each of several undisturbed runs made, in the order
// of the first: how often a status is written is a matter of chance.
func stable(runs [][]Call) []Call {
	times := map[string]int{}
	for _, run := range runs {
		for _, c := range run {
			times[c.String()]++
		}
	}
	return slices.DeleteFunc(slices.Clone(runs[0]), func(c Call) bool { return times[c.String()] < len(runs) })
}

// planner draws plans.
type planner struct {
	calls []Call
	dice  *rand.Rand
}

// plansOf returns so many plans: each call with each way of killing the manager at it,
// and among them by turns pairs of these, refusals, lost answers, troubles of AWS,
// stale reads, missed events and rivals. Where the number allows for it, all kills are
// among them and a quarter at least is something else; of fewer, one half is.
func plansOf(calls []Call, seed uint64, number int) []Plan {
	// Nothing secret is made of these numbers, and a run is to be repeatable.
	p := &planner{calls: calls, dice: rand.New(rand.NewPCG(seed, 0x6372617368))}
	kills := p.kills()
	share := 0.5
	if 4*len(kills) <= 3*number {
		share = max(share, float64(len(kills))/float64(number))
	}
	sorts := []func() Plan{p.refusal, p.pair, p.trouble, p.stale, p.rival, p.pair, p.refusal, p.missedEvents}
	var plans []Plan
	known := map[string]bool{}
	killed, others := 0, 0
	// A story of few calls has no more plans than there are.
	for tries := 0; len(plans) < number && tries < 50*number; tries++ {
		var next Plan
		if killed < len(kills) && float64(killed) < share*float64(len(plans)+1) {
			next, killed = kills[killed], killed+1
		} else {
			next, others = sorts[others%len(sorts)](), others+1
		}
		if name := next.String(); len(next) > 0 && !known[name] {
			known[name] = true
			plans = append(plans, next)
		}
	}
	return plans
}

// kills are all plans that kill the manager once, shuffled.
func (p *planner) kills() []Plan {
	var kills []Plan
	for _, c := range p.calls {
		for _, how := range []How{KillBefore, KillLost, KillAfter} {
			kills = append(kills, Plan{{How: how, At: c.String()}})
		}
	}
	p.dice.Shuffle(len(kills), func(i, j int) { kills[i], kills[j] = kills[j], kills[i] })
	return kills
}

// call is one of the calls that fit.
func (p *planner) call(fits func(Call) bool) (Call, bool) {
	fitting := slices.DeleteFunc(slices.Clone(p.calls), func(c Call) bool { return !fits(c) })
	if len(fitting) == 0 {
		return Call{}, false
	}
	return fitting[p.dice.IntN(len(fitting))], true
}

func (p *planner) any() string {
	c, _ := p.call(func(Call) bool { return true })
	return c.String()
}

func (p *planner) kill() How { return oneOf(p.dice, KillBefore, KillLost, KillAfter) }

func oneOf[T any](dice *rand.Rand, of ...T) T { return of[dice.IntN(len(of))] }

// during is some time, in tenths of a second.
func (p *planner) during(low, high int) time.Duration {
	return time.Duration(low+p.dice.IntN(high-low+1)) * 100 * time.Millisecond
}

// pair kills the manager, and the fresh one at one of its first calls; now and then
// a third time.
func (p *planner) pair() Plan {
	plan := Plan{{How: p.kill(), At: p.any()}, {How: p.kill(), At: fmt.Sprintf("+%d", 1+p.dice.IntN(8))}}
	if p.dice.IntN(4) == 0 {
		plan = append(plan, Strike{How: p.kill(), At: fmt.Sprintf("+%d", 1+p.dice.IntN(8))})
	}
	return plan
}

// refusal has the API server refuse a write, or lose the answer to it.
func (p *planner) refusal() Plan {
	how := oneOf(p.dice, Conflict, Busy, Broken, Timeout, Reset)
	c, ok := p.call(func(c Call) bool { return !c.aws && (how != Conflict || c.locked) })
	if !ok {
		return nil
	}
	return p.perhapsKill(Plan{{How: how, At: c.String()}})
}

// perhapsKill adds to one plan in four that the manager is killed a little later.
func (p *planner) perhapsKill(plan Plan) Plan {
	if p.dice.IntN(4) == 0 {
		plan = append(plan, Strike{How: p.kill(), At: fmt.Sprintf("+%d", 1+p.dice.IntN(6))})
	}
	return plan
}

// trouble is what can be wrong with AWS.
func (p *planner) trouble() Plan {
	how := oneOf(p.dice, Reset, Throttle, Failing, NoCapacity, Partial, Lag)
	c, ok := p.call(func(c Call) bool {
		launches := strings.HasPrefix(c.Name, "aws:RunInstances")
		return c.aws && (launches || how != NoCapacity && how != Partial)
	})
	if !ok {
		return nil
	}
	s := Strike{How: how, At: c.String()}
	if how != Reset {
		s.For = p.during(3, 8)
	}
	return p.perhapsKill(Plan{s})
}

// stale freezes reads at a call, and in half of the plans has a fresh manager begin
// with them.
func (p *planner) stale() Plan {
	at := p.any()
	plan := Plan{{How: Stale, For: p.during(3, 10), At: at}}
	if p.dice.IntN(2) == 0 {
		plan = append(plan, Strike{How: p.kill(), At: at})
	}
	return plan
}

// missedEvents has a kind's events held back or missed from a call on.
func (p *planner) missedEvents() Plan {
	kind := oneOf(p.dice, mandelboxes, instances, instances, "amis", "regions")
	return p.perhapsKill(Plan{{How: oneOf(p.dice, Hold, Hold, Swallow, Cut), Kind: kind, For: p.during(2, 8), At: p.any()}})
}

// rival has a second manager beside the first: both believe that they lead.
func (p *planner) rival() Plan {
	return Plan{{How: Rival, For: p.during(8, 20), At: p.any()}}
}
