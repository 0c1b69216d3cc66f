// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

const (
	launchCallsBar = 20
	launchTimeBar  = 1.2
	// pendingTime and agentTime are the boot: from the launch until EC2 calls the
	// host running, and until its ECS agent has registered.
	pendingTime, agentTime = 20 * time.Second, 40 * time.Second
	// hostsPerCall is as many as the operator launches in one call.
	hostsPerCall = 100
)

// benchLaunch has one region, prepared and empty, want a thousand hosts at once,
// under the published limits of AWS.
func benchLaunch(ctx context.Context, r *run) (err error) {
	hosts, scale := r.size(1000, 20), time.Duration(r.size(1, 20))
	w, err := newWorld(ctx, r, worldOptions{
		regions: regionNames[:1],
		delays:  map[string]string{"instancePending": (pendingTime / scale).String(), "agentBoot": (agentTime / scale).String()},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if err := w.aws.limit(ctx, true); err != nil {
		return err
	}
	m, _, err := w.warmFleet(ctx, 0)
	if err != nil {
		return err
	}
	if err := w.awaitOffer(ctx); err != nil {
		return err
	}
	prepared, err := w.aws.requests(ctx)
	if err != nil {
		return err
	}
	if err := w.aws.forget(ctx); err != nil {
		return err
	}
	r.say("the region is prepared; %d hosts are wanted now", hosts)
	began := time.Now()
	if err := w.resize(ctx, hosts); err != nil {
		return err
	}
	if _, err := w.awaitHosts(ctx, m, hosts); err != nil {
		return err
	}
	took := time.Since(began)
	requests, err := w.aws.requests(ctx)
	if err != nil {
		return err
	}
	r.say("to prepare the region: %s", describe(operations(prepared)))
	r.say("to launch the hosts:   %s", describe(operations(requests)))
	r.reportLaunch(hosts, took, (pendingTime+agentTime)/scale, requests)
	return nil
}

// operations counts requests by operation; those that were not carried out by how
// they ended, too.
func operations(requests []awsRequest) map[string]int {
	counts := map[string]int{}
	for _, r := range requests {
		name := r.Operation
		if r.Outcome != awsemu.OutcomeOK {
			name += "(" + r.Outcome + ")"
		}
		counts[name]++
	}
	return counts
}

// reads says whether an operation changes nothing.
func reads(operation string) bool {
	return slices.ContainsFunc([]string{"Describe", "List", "Get"}, func(verb string) bool { return strings.HasPrefix(operation, verb) })
}

// launchMinimum is the least time in which AWS's limits let so many hosts be
// launched: each call takes a token, and each host one.
func launchMinimum(hosts int) time.Duration {
	limits := awsemu.PublishedLimits()
	wait := func(bucket string, n int) float64 {
		b := limits[bucket]
		return math.Max(0, (float64(n)-b.Burst)/b.Refill)
	}
	calls := (hosts + hostsPerCall - 1) / hostsPerCall
	seconds := math.Max(wait("ec2-run-instances", calls), wait("ec2-run-instances-resources", hosts))
	return time.Duration(seconds * float64(time.Second))
}

func (r *run) reportLaunch(hosts int, took, boot time.Duration, requests []awsRequest) {
	mutating, throttled, all := 0, 0, len(requests)
	for _, request := range requests {
		if !reads(request.Operation) {
			mutating++
		}
		if request.Outcome == awsemu.OutcomeThrottled {
			throttled++
		}
	}
	least := boot + launchMinimum(hosts)
	slower := ratio(float64(took), float64(least))
	r.table.add(fmt.Sprintf("%d hosts at once, mutating AWS calls", hosts), fmt.Sprint(mutating),
		fmt.Sprint((hosts+hostsPerCall-1)/hostsPerCall), "", met(mutating <= launchCallsBar, fmt.Sprintf("≤ %d", launchCallsBar)))
	r.table.add("  all AWS calls, throttled ones", fmt.Sprintf("%d, %d", all, throttled), "", "", "")
	r.table.add("  until all are Active, s", fmt.Sprintf("%.1f", took.Seconds()), fmt.Sprintf("%.1f", least.Seconds()),
		fmt.Sprintf("%.2f", slower), met(slower <= launchTimeBar, fmt.Sprintf("≤ %.1f", launchTimeBar)))
	r.result.set("hosts", "%d", hosts)
	r.result.set("mutating_calls", "%d", mutating)
	r.result.set("calls", "%d", all)
	r.result.set("throttled", "%d", throttled)
	r.result.set("active_s", "%.1f", took.Seconds())
	r.result.set("minimum_s", "%.1f", least.Seconds())
	r.result.set("time_ratio", "%.3f", slower)
}
