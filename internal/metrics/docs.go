// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"strings"
)

// Markdown is docs/metrics.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(preface)
	for _, d := range definitions {
		labels := "–"
		if len(d.Labels) > 0 {
			labels = "`" + strings.Join(d.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", d.Name, d.Type, labels, d.Help, d.Stability)
	}
	b.WriteString(alarms)
	return b.String()
}

const preface = `<!-- Generated from internal/metrics by "go generate ./internal/metrics"; do not edit. -->
# Metrics

The manager serves these on ` + "`--metrics-bind-address`" + `, over TLS and to those who may read ` + "`/metrics`" + `, beside the
ones that every [controller-runtime](https://book.kubebuilder.io/reference/metrics-reference) manager has.

- Gauges are computed from the manager's cache when they are scraped. Only the leader reports them, and only the leader
  counts, so that a sum over replicas is right. Counters start at 0 with each leader.
- No label names a user, a session, a host or a namespace: how many series there are depends on the number of Regions
  and channels alone.
- *Stable* metrics keep their name, type and labels; *alpha* ones may change with any version.

| Metric | Type | Labels | Meaning | Stability |
|---|---|---|---|---|
`

const alarms = `
## What to alarm on

| Question | Expression |
|---|---|
| Is a session waiting too long? | ` + "`max by (region) (mandelbox_pending_oldest_age_seconds) > 60`" + ` |
| Has a channel no room left? | ` + "`sum by (region, ami) (mandelbox_slots{state=\"free\"}) == 0 and on (region, ami) mandelbox_slots_desired_free > 0`" + ` |
| Is a Region at its limit? | ` + "`sum by (region) (mandelbox_instances) >= on (region) mandelbox_region_max_instances`" + ` |
| Must a person act? | ` + "`mandelbox_region_condition{condition=\"Stalled\"} == 1 or mandelbox_ami_condition{condition=\"Stalled\"} == 1`" + ` |
| Do sessions end badly? | ` + "`sum by (region, reason) (rate(mandelbox_sessions_finished_total{reason=~\"Crashed|HostLost|TaskFailed|StartTimeout\"}[5m])) > 0`" + ` |
| Do hosts fail to come up? | ` + "`sum by (region, reason) (increase(mandelbox_instances_given_up_total[15m])) > 3`" + ` |
| Does AWS throttle? | ` + "`sum by (region, operation) (rate(mandelbox_aws_throttled_attempts_total[5m])) > 0.1`" + ` |
| Does AWS refuse? | ` + "`sum by (operation, code) (rate(mandelbox_aws_request_duration_seconds_count{code!=\"\"}[5m])) > 0`" + ` |
| Is an event queue not read, or late? | ` + "`mandelbox_region_condition{condition=\"EventsReceived\"} == 0 or mandelbox_event_newest_age_seconds > 30`" + ` |
| Is something left over in AWS? | ` + "`sum by (region, kind) (mandelbox_orphans) > 0`" + ` for longer than ` + "`--orphan-grace`" + ` |
| Does nobody lead? | ` + "`absent(mandelbox_region_enabled)`" + ` |
`
