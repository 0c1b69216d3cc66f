package awsemu

import (
	"slices"
	"strings"
)

// placement decides which host takes a task:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html
type placement struct {
	cluster    *cluster
	members    []hostPredicate
	distinct   bool
	strategies []placementStrategy
	group      string
	demand     demand
}

type placementStrategy struct {
	Type  string `json:"type"`
	Field string `json:"field"`
}

// newPlacement checks the constraints and strategies of a request together with
// those of its task definition.
func newPlacement(cl *cluster, constraints []placementConstraint, strategies []placementStrategy) (*placement, error) {
	if len(constraints) > 10 {
		return nil, invalidParameter("Number of placement constraints must be at most 10.")
	}
	if len(strategies) > 5 {
		return nil, invalidParameter("Number of placement strategies must be at most 5.")
	}
	p := &placement{cluster: cl, strategies: strategies}
	for _, pc := range constraints {
		switch pc.Type {
		case "distinctInstance":
			p.distinct = true
		case "memberOf":
			holds, err := parseExpression(pc.Expression)
			if err != nil {
				return nil, err
			}
			p.members = append(p.members, holds)
		default:
			return nil, invalidParameter("Unknown placement constraint type: " + pc.Type)
		}
	}
	for _, s := range strategies {
		if !s.known() {
			return nil, invalidParameter("Invalid placement strategy: " + s.Type + "(" + s.Field + ")")
		}
	}
	return p, nil
}

func (s placementStrategy) known() bool {
	switch s.Type {
	case "random":
		return true
	case "spread":
		return s.Field == "instanceId" || s.Field == "host" || strings.HasPrefix(s.Field, "attribute:")
	case "binpack":
		return strings.EqualFold(s.Field, "cpu") || strings.EqualFold(s.Field, "memory")
	}
	return false
}

// choose returns the host for the next copy of the task, or why there is none. A
// host that no constraint admits is reported without its name: the answer would
// else grow with the fleet.
func (p *placement) choose(r *region) (*containerInstance, []ecsFailure) {
	var fitting []*containerInstance
	var failures []ecsFailure
	p.cluster.hostsByID.Ascend(func(ci *containerInstance) bool {
		if !ci.registered() || !p.admits(ci) {
			return true
		}
		if reason := p.refusal(ci); reason != "" {
			failures = append(failures, ecsFailure{ARN: ci.arn, Reason: reason})
		} else {
			fitting = append(fitting, ci)
		}
		return true
	})
	if len(fitting) > 0 {
		return p.best(r, fitting), nil
	}
	if len(failures) == 0 {
		failures = []ecsFailure{{Reason: "MemberOf placement constraint unsatisfied."}}
	}
	return nil, failures
}

// admits says whether the constraints hold for a host.
func (p *placement) admits(ci *containerInstance) bool {
	for _, holds := range p.members {
		if !holds(ci) {
			return false
		}
	}
	return true
}

// refusal is why a host that the constraints admit can't take the task, or empty.
func (p *placement) refusal(ci *containerInstance) string {
	switch {
	case ci.status != hostActive:
		return "INACTIVE"
	case !ci.connected:
		return "AGENT"
	case p.distinct && slices.Contains(ci.taskGroups(), p.group):
		return "DistinctInstance placement constraint unsatisfied."
	}
	return ci.free.shortage(p.demand)
}

// best narrows the hosts down by each strategy in turn. What is left over is
// decided by the fewest tasks, then by age.
func (p *placement) best(r *region, hosts []*containerInstance) *containerInstance {
	for _, s := range p.strategies {
		switch {
		case s.Type == "random":
			return hosts[r.srv.dice.intN(len(hosts))]
		case s.Type == "spread":
			hosts = p.leastUsed(hosts, s.Field)
		case strings.EqualFold(s.Field, "cpu"):
			hosts = smallest(hosts, func(ci *containerInstance) int { return ci.free.cpu })
		default:
			hosts = smallest(hosts, func(ci *containerInstance) int { return ci.free.memory })
		}
	}
	return smallest(hosts, func(ci *containerInstance) int { return len(ci.tasks) })[0]
}

// leastUsed keeps the hosts whose value of a field has the fewest tasks of the group.
func (p *placement) leastUsed(hosts []*containerInstance, field string) []*containerInstance {
	value := func(ci *containerInstance) string {
		if name, ok := strings.CutPrefix(field, "attribute:"); ok {
			return ci.attributes[name]
		}
		return ci.id
	}
	used := map[string]int{}
	for _, ci := range p.cluster.hosts {
		for _, t := range ci.tasks {
			if t.group == p.group {
				used[value(ci)]++
			}
		}
	}
	return smallest(hosts, func(ci *containerInstance) int { return used[value(ci)] })
}

// smallest keeps the hosts with the smallest measure, in their order.
func smallest(hosts []*containerInstance, measure func(*containerInstance) int) []*containerInstance {
	var kept []*containerInstance
	least := 0
	for _, ci := range hosts {
		m := measure(ci)
		if len(kept) == 0 || m < least {
			kept, least = kept[:0:0], m
		}
		if m == least {
			kept = append(kept, ci)
		}
	}
	return kept
}
