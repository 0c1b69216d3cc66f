// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/prometheus/client_golang/prometheus"

// Bounds of the histograms, in seconds.
var (
	// waits go from the moment that assignment takes, to a host that must boot first.
	waits = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}
	// starts go from a cached container image to one that must be pulled.
	starts = []float64{0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 300}
	// boots go from the answer of EC2 to the limit of hostTimeouts.preConnection.
	boots = []float64{1, 2.5, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600, 900}
	// rollouts go from a buffer that is there already, to hours of waiting for capacity.
	rollouts = []float64{1, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200}
)

// Gauges of the Fleet.
var (
	// Slots are the slots of hosts.
	Slots = define(Definition{
		Name: "mandelbox_slots", Type: Gauge, Stability: Stable, Labels: []string{"region", "ami", "state"},
		Help: "Slots by Region, channel and state: free (a Mandelbox can be given it now), idle (unclaimed, of a release that isn't active or in a Region that isn't enabled), claimed, booting (planned on hosts that have yet to connect).",
	})
	// SlotsDesiredFree is how many of them should be free.
	SlotsDesiredFree = define(Definition{
		Name: "mandelbox_slots_desired_free", Type: Gauge, Stability: Stable, Labels: []string{"region", "ami"},
		Help: "Slots that are to be kept free for a channel in a Region; 0 in one that isn't enabled.",
	})
	// Instances are the hosts.
	Instances = define(Definition{
		Name: "mandelbox_instances", Type: Gauge, Stability: Stable, Labels: []string{"region", "ami", "phase"},
		Help: "Hosts by Region, channel and phase: PreConnection, Active, Draining, Unresponsive, Terminating.",
	})
	// InstancesStalled are the hosts that wait for a person.
	InstancesStalled = define(Definition{
		Name: "mandelbox_instances_stalled", Type: Gauge, Stability: Alpha, Labels: []string{"region", "ami", "reason"},
		Help: "Hosts that only a person can help on, by the reason of their condition Stalled, e.g. QuotaExceeded. No series where there is none.",
	})
	// Sessions are the Mandelboxes.
	Sessions = define(Definition{
		Name: "mandelbox_sessions", Type: Gauge, Stability: Stable, Labels: []string{"region", "phase"},
		Help: "Mandelboxes by Region and phase: Pending, Allocated, Running, Dying, Finished. One without a slot counts in the first Region it asks for that exists, \"none\" if there is none.",
	})
	// PendingSessions are those that wait for a slot.
	PendingSessions = define(Definition{
		Name: "mandelbox_pending_sessions", Type: Gauge, Stability: Stable, Labels: []string{"region", "reason"},
		Help: "Mandelboxes that wait for a slot, by Region (as in mandelbox_sessions) and by what they wait for, e.g. NoInstanceAvailable; Queued before it was decided. No series where there is none.",
	})
	// PendingOldestAge is how long the first of them has waited.
	PendingOldestAge = define(Definition{
		Name: "mandelbox_pending_oldest_age_seconds", Type: Gauge, Stability: Stable, Labels: []string{"region"},
		Help: "How long the Mandelbox that has waited longest for a slot has done so, by Region (as in mandelbox_sessions); 0 if none waits.",
	})
	// RegionConditions say how Regions stand.
	RegionConditions = define(Definition{
		Name: "mandelbox_region_condition", Type: Gauge, Stability: Stable, Labels: []string{"region", "condition"},
		Help: "1 if the Region's condition (Ready, Available, Stalled; EventsReceived if it has an event queue) is True, else 0.",
	})
	// RegionEnabled says whether a Region may be used.
	RegionEnabled = define(Definition{
		Name: "mandelbox_region_enabled", Type: Gauge, Stability: Stable, Labels: []string{"region"},
		Help: "1 if hosts are launched and Mandelboxes assigned in the Region, else 0.",
	})
	// RegionMaxInstances is how many hosts a Region may have.
	RegionMaxInstances = define(Definition{
		Name: "mandelbox_region_max_instances", Type: Gauge, Stability: Stable, Labels: []string{"region"},
		Help: "How many hosts the Region may have, its spec.capacity.maxInstances.",
	})
	// AMIConditions say how channels stand.
	AMIConditions = define(Definition{
		Name: "mandelbox_ami_condition", Type: Gauge, Stability: Stable, Labels: []string{"ami", "condition"},
		Help: "1 if the channel's condition (Ready, RolledOut, Stalled) is True, else 0.",
	})
	// AMIRevisions are the releases that a channel keeps.
	AMIRevisions = define(Definition{
		Name: "mandelbox_ami_revisions", Type: Gauge, Stability: Alpha, Labels: []string{"ami", "state"},
		Help: "Revisions that the channel keeps, by state: Warming, Active, Failed, Retiring.",
	})
	// AMIRolloutAge is how long a rollout has been under way.
	AMIRolloutAge = define(Definition{
		Name: "mandelbox_ami_rollout_age_seconds", Type: Gauge, Stability: Alpha, Labels: []string{"ami"},
		Help: "How long the channel's coming release has been warming its buffer; 0 if none is.",
	})
)

// fleetGauges are what the Fleet sends.
var fleetGauges = []*Definition{
	Slots, SlotsDesiredFree, Instances, InstancesStalled, Sessions, PendingSessions, PendingOldestAge,
	RegionConditions, RegionEnabled, RegionMaxInstances, AMIConditions, AMIRevisions, AMIRolloutAge,
}

// What Changes and Counts measure.
var (
	// AssignmentDuration is how long sessions wait for a slot.
	AssignmentDuration = define(Definition{
		Name: "mandelbox_session_assignment_duration_seconds", Type: Histogram, Stability: Stable, Labels: []string{"region"}, Buckets: waits,
		Help: "How long Mandelboxes waited for a slot, from their creation, or from the failure that they were placed anew for, until they held one; by the Region of the slot.",
	})
	// StartDuration is how long sessions take to start.
	StartDuration = define(Definition{
		Name: "mandelbox_session_start_duration_seconds", Type: Histogram, Stability: Stable, Labels: []string{"region"}, Buckets: starts,
		Help: "How long Mandelboxes took to run once they held a slot.",
	})
	// SessionsFinished counts how sessions end.
	SessionsFinished = define(Definition{
		Name: "mandelbox_sessions_finished_total", Type: Counter, Stability: Stable, Labels: []string{"region", "reason"},
		Help: "Mandelboxes that ended, by the reason of their condition Finished, e.g. Completed, Crashed, HostLost, NoInstanceAvailable; Deleted for those that were deleted before they finished.",
	})
	// SessionsPlacedAnew counts starts that failed.
	SessionsPlacedAnew = define(Definition{
		Name: "mandelbox_sessions_placed_anew_total", Type: Counter, Stability: Alpha, Labels: []string{"region", "reason"},
		Help: "Attempts at a start that failed, after which the Mandelbox was given back to the queue, by the Region of the failure and its reason, e.g. StartTimeout.",
	})
	// LaunchDuration is how long EC2 takes to give hosts.
	LaunchDuration = define(Definition{
		Name: "mandelbox_instance_launch_duration_seconds", Type: Histogram, Stability: Stable, Labels: []string{"region"}, Buckets: boots,
		Help: "How long it took from the creation of Instances until EC2 had their hosts, refused launches included.",
	})
	// BootDuration is how long hosts take to be of use.
	BootDuration = define(Definition{
		Name: "mandelbox_instance_boot_duration_seconds", Type: Histogram, Stability: Stable, Labels: []string{"region"}, Buckets: boots,
		Help: "How long it took from the launch of hosts by EC2 until they took sessions for the first time (Active).",
	})
	// InstancesRemoved counts hosts that are gone.
	InstancesRemoved = define(Definition{
		Name: "mandelbox_instances_removed_total", Type: Counter, Stability: Stable, Labels: []string{"region", "ami"},
		Help: "Instances that are gone, for whatever reason.",
	})
	// InstancesGivenUp counts hosts that did not end in order.
	InstancesGivenUp = define(Definition{
		Name: "mandelbox_instances_given_up_total", Type: Counter, Stability: Stable, Labels: []string{"region", "ami", "reason"},
		Help: "Hosts that the operator gave up, by reason, e.g. RegistrationTimeout, AgentDisconnected, Terminated (outside the operator). Those that leave by a drain, a scale-down or a rollout are not among them.",
	})
	// LaunchesRefused counts hosts that EC2 did not give.
	LaunchesRefused = define(Definition{
		Name: "mandelbox_launches_refused_total", Type: Counter, Stability: Stable, Labels: []string{"region", "reason"},
		Help: "Hosts that were asked for and not given, each time, by reason, e.g. InsufficientCapacity, QuotaExceeded, Throttled; CloudError where the answer proves nothing.",
	})
	// ClaimsReleased counts slots that are given back.
	ClaimsReleased = define(Definition{
		Name: "mandelbox_claims_released_total", Type: Counter, Stability: Alpha, Labels: []string{"region"},
		Help: "Claims on slots that were released.",
	})
	// ClaimsOutdated counts reservations without a commit.
	ClaimsOutdated = define(Definition{
		Name: "mandelbox_claims_outdated_total", Type: Counter, Stability: Alpha,
		Help: "Attempts of Mandelboxes that were outdated because their reservation was never committed, as after the crash of a manager.",
	})
	// ReservationConflicts counts reservations that lost.
	ReservationConflicts = define(Definition{
		Name: "mandelbox_reservation_conflicts_total", Type: Counter, Stability: Alpha, Labels: []string{"region"},
		Help: "Reservations on a host that failed because it had changed; their Mandelboxes went back to the queue. A few are normal, many mean that two managers lead.",
	})
	// RolloutDuration is how long rollouts take.
	RolloutDuration = define(Definition{
		Name: "mandelbox_rollout_duration_seconds", Type: Histogram, Stability: Stable, Labels: []string{"outcome"}, Buckets: rollouts,
		Help: "How long rollouts took, from the first step to their outcome: Succeeded, Failed, Superseded (by a newer release). A channel's first release is not a rollout.",
	})
	// Rollouts counts how rollouts end.
	Rollouts = define(Definition{
		Name: "mandelbox_rollouts_total", Type: Counter, Stability: Stable, Labels: []string{"ami", "outcome"},
		Help: "Rollouts by channel and outcome: Succeeded, Failed, Superseded.",
	})
	// Orphans are what belongs to nobody.
	Orphans = define(Definition{
		Name: "mandelbox_orphans", Type: Gauge, Stability: Stable, Labels: []string{"region", "kind"},
		Help: "What carries the operator's tags in AWS and belongs to no object, by kind (host, task), as of the last pass; most are gone after their grace time.",
	})
	// OrphansRemoved counts what was done about that.
	OrphansRemoved = define(Definition{
		Name: "mandelbox_orphans_removed_total", Type: Counter, Stability: Stable, Labels: []string{"region", "kind"},
		Help: "Orphans that the operator removed, by kind (host, task).",
	})
)

// What comes of a region's event queue, told by internal/cloud.
var (
	// EventMessages counts messages by what became of them.
	EventMessages = define(Definition{
		Name: "mandelbox_event_messages_total", Type: Counter, Stability: Alpha, Labels: []string{"region", "kind", "outcome"},
		Help: "Messages received from the event queues of Regions, by what they are about, their kind (Host, ContainerHost, Task, Health, Notice, Other, Unreadable) and outcome: Looked (a look at AWS followed), Noticed (a spot host's notice was taken in), Known (it told nothing new), Ignored (it concerns nothing here), Failed (the look failed; the message comes again).",
	})
	// EventAge says how far behind the queue is.
	EventAge = define(Definition{
		Name: "mandelbox_event_newest_age_seconds", Type: Gauge, Stability: Alpha, Labels: []string{"region"},
		Help: "How old the newest event of the last round was once it had been acted on, by Region; a second or two where the queue keeps up.",
	})
)

// Metrics of calls to AWS, measured in internal/cloud/aws.
var (
	// AWSRequestDuration measures calls as their caller sees them.
	AWSRequestDuration = define(Definition{
		Name: "mandelbox_aws_request_duration_seconds", Type: Histogram, Stability: Stable, Labels: []string{"service", "operation", "region", "code"},
		Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 9),
		Help:    "How long calls to AWS take, their retries included, by service, operation, AWS region and the code of the error, if any.",
	})
	// AWSThrottled counts attempts, since retries hide most throttles from the calls' own outcome.
	AWSThrottled = define(Definition{
		Name: "mandelbox_aws_throttled_attempts_total", Type: Counter, Stability: Stable, Labels: []string{"service", "operation", "region"},
		Help: "Attempts of calls to AWS that were throttled, those included that a retry made good, by service, operation and AWS region.",
	})
	// AWSAllowedRate tells what the operator does about throttles.
	AWSAllowedRate = define(Definition{
		Name: "mandelbox_aws_allowed_rate", Type: Gauge, Stability: Alpha, Labels: []string{"service", "operation", "region"},
		Help: "Attempts a second that the operator allows itself of an operation that AWS has throttled, by service, operation and AWS region; absent while the operation is unbounded.",
	})
	// AWSWait is what that costs.
	AWSWait = define(Definition{
		Name: "mandelbox_aws_wait_seconds_total", Type: Counter, Stability: Alpha, Labels: []string{"service", "operation", "region"},
		Help: "How long attempts of calls to AWS were held back after throttles, in seconds, by service, operation and AWS region.",
	})
)

// BuildInfo says which version a manager is.
var BuildInfo = define(Definition{
	Name: "mandelbox_build_info", Type: Gauge, Stability: Stable, Labels: []string{"version", "goversion"},
	Help: "1, with the version of the manager and of the Go it was built with. Every replica reports it, whether it leads or not.",
})
